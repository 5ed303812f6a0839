//! Several commands on one data directory at the same time.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::support::{Running, Workshop, texts};

fn documents(builds: Vec<Running>) -> Vec<Value> {
    builds.into_iter().map(|build| build.wait().done().document()).collect()
}

#[test]
fn two_builds_of_one_template_at_once_build_the_base_once() {
    let workshop = Workshop::new();
    let build = || {
        workshop.spawn(&[
            "build",
            "mock.tdl",
            "--target",
            "mock",
            "--parameter",
            "delay_ms=700",
            "--format",
            "json",
        ])
    };
    let documents = documents(vec![build(), build()]);
    assert_eq!(documents[0]["images"][0]["id"], documents[1]["images"][0]["id"]);
    assert_eq!(workshop.images_of("base").len(), 1);
    let base = &documents[0]["images"][0]["id"];
    for target in workshop.images_of("target") {
        assert_eq!(target["base_image_id"], *base);
    }
    workshop.assert_tidy();
}

#[test]
fn ten_builds_at_once_all_succeed() {
    let workshop = Workshop::new();
    let builds = (0..10)
        .map(|number| {
            let size = format!("size_bytes={}", 4096 * (1 + number % 5));
            workshop.spawn(&[
                "build",
                "mock.tdl",
                "--target",
                "mock",
                "--parameter",
                &size,
                "--format",
                "json",
            ])
        })
        .collect();
    for document in documents(builds) {
        let images = document["images"].as_array().unwrap();
        assert_eq!(texts(images, "status"), ["COMPLETE"; 2]);
    }
    assert_eq!(workshop.images_of("base").len(), 5);
    assert_eq!(workshop.images_of("target").len(), 10);
    workshop.run(&["images", "check"]).done();
    workshop.assert_tidy();
}

#[test]
fn the_store_may_be_read_labelled_and_emptied_while_others_build() {
    let workshop = Workshop::new();
    let endless = workshop.spawn_endless(&["--name", "endless"]);
    let old = workshop.build(&["--name", "old"]).remove(0);
    let commands = [
        ["images", "list"].as_slice(),
        &["images", "show", "old"],
        &["images", "log", "endless"],
        &["images", "check"],
        &["plugins", "list"],
        &["targets"],
        &["images", "export", "old", "old.raw", "--force"],
        &["build", "mock.tdl", "--name", "new", "--rebuild"],
    ];
    let running: Vec<Running> = commands.iter().map(|command| workshop.spawn(command)).collect();
    for command in running {
        command.wait().done();
    }
    let old = old["id"].as_str().unwrap();
    workshop.run(&["images", "delete", old]).done();
    let names: BTreeSet<String> = texts(&workshop.images(), "name").into_iter().collect();
    assert_eq!(names, BTreeSet::from(["endless".into(), "new".into()]));
    drop(endless);
    workshop.assert_tidy();
}

#[test]
fn an_image_that_is_being_built_cannot_be_deleted() {
    let workshop = Workshop::new();
    let _endless = workshop.spawn_endless(&["--name", "endless"]);
    workshop.run(&["images", "delete", "endless"]).ended(6);
    assert_eq!(workshop.images()[0]["status"], "BUILDING");
}

#[test]
fn a_build_that_is_under_way_is_seen_live() {
    let workshop = Workshop::new();
    let build = workshop.spawn(&[
        "build",
        "mock.tdl",
        "--name",
        "live",
        "--parameter",
        "delay_ms=800",
        "--parameter",
        "log_lines=3",
    ]);
    crate::support::wait_for("the image", || (!workshop.images().is_empty()).then_some(()));
    let followed = workshop.spawn(&["images", "log", "live", "--follow"]);
    build.wait().done();
    let log = followed.wait().done();
    log.prints("== BUILDING")
        .prints("a line of the build log")
        .prints("-- writing the image")
        .prints("== COMPLETE");
}

#[test]
fn first_use_by_several_processes_at_once_makes_one_store() {
    let workshop = Workshop::new();
    let builds = (0..6)
        .map(|number| {
            let name = format!("n{number}");
            workshop.spawn(&["build", "mock.tdl", "--rebuild", "--name", &name, "--format", "json"])
        })
        .collect();
    documents(builds);
    assert_eq!(workshop.images().len(), 6);
    workshop.assert_tidy();
}

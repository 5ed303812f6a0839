//! Several targets and providers of one build, side by side from one base image.

use serde_json::{Value, json};

use crate::support::{Workshop, texts, wait_for};

const GOOD: &str = r#"@{"username": "ada", "password": "hunter2-and-more"}"#;
const WRONG: &str = r#"@{"username": "ada", "password": "wrong"}"#;

fn workshop() -> Workshop {
    let workshop = Workshop::new();
    for cloud in ["cloud-a", "cloud-b", "cloud-c"] {
        fs_err::create_dir(workshop.path(cloud)).unwrap();
    }
    workshop
}

/// A provider that shows what it is told to: it has no room, or takes its time.
fn provider(directory: &str, key: &str, value: u64) -> String {
    format!("@{}", json!({ "directory": directory, key: value }))
}

fn at(workshop: &Workshop, cloud: &str) -> usize {
    fs_err::read_dir(workshop.path(cloud)).unwrap().count()
}

/// The record of the image for this provider.
fn of<'i>(images: &'i [Value], provider: &str) -> &'i Value {
    let is_it = |image: &&Value| image["provider"].as_str().is_some_and(|it| it.contains(provider));
    images.iter().find(is_it).unwrap()
}

#[test]
fn one_base_is_delivered_for_several_targets_to_several_providers() {
    let workshop = workshop();
    let to = [
        "--target",
        "mock",
        "--target",
        "mockstack",
        "--provider",
        "mock=cloud-a",
        "--provider",
        "mockstack=cloud-c",
        "--provider",
        "mock=cloud-b",
    ];
    let credentials = ["--credentials", &format!("mock={GOOD}")];
    let plan = workshop.run(&[&["build", "mock.tdl", "--dry-run"], &to[..]].concat()).done();
    plan.prints("push mock at cloud-b with").prints("push mockstack at cloud-c with");
    let images = workshop.build(&[&to[..], &credentials].concat());
    assert_eq!(
        texts(&images, "tier"),
        ["base", "target", "target", "provider", "provider", "provider"]
    );
    assert_eq!(texts(&images, "status"), ["COMPLETE"; 6]);
    assert_eq!(texts(&images[3..], "provider"), ["cloud-a", "cloud-b", "cloud-c"]);
    for (image, target) in [(3, 1), (4, 1), (5, 2)] {
        assert_eq!(images[image]["target_image_id"], images[target]["id"]);
    }
    // The one text of credentials is for both providers of its target, and for nobody else.
    let accounts = images[3..].iter().map(|image| image["provider_account_identifier"].clone());
    assert_eq!(accounts.collect::<Vec<_>>(), [json!("ada"), json!("ada"), Value::Null]);
    for cloud in ["cloud-a", "cloud-b", "cloud-c"] {
        assert_eq!(at(&workshop, cloud), 1, "{cloud}");
    }
    workshop.assert_tidy();
}

#[test]
fn a_delivery_that_fails_leaves_the_others_alone_and_all_outcomes_are_told() {
    let workshop = workshop();
    let full = provider("cloud-a", "capacity", 1);
    let build = [
        "build",
        "mock.tdl",
        "--target",
        "mock",
        "--provider",
        &full,
        "--provider",
        "cloud-b",
        "--output",
        "copy.raw",
    ];
    let ran = workshop.run(&build);
    let failed = ran.code;
    let ran = ran.says("error: mock at {\"directory\":\"cloud-a\",\"capacity\":1} image failed");
    ran.prints("mock at cloud-b").prints("COMPLETE").prints("FAILED");
    let images = workshop.images_of("provider");
    assert_eq!(of(&images, "cloud-a")["status"], "FAILED");
    assert_eq!(of(&images, "cloud-a")["status_detail"]["kind"], "unavailable");
    assert_eq!(of(&images, "cloud-b")["status"], "COMPLETE");
    assert_eq!((at(&workshop, "cloud-a"), at(&workshop, "cloud-b")), (0, 1));
    assert!(workshop.path("copy.raw").exists());
    let json = workshop.run(&[&build[..8], &["--format", "json"]].concat());
    assert_eq!(json.code, failed);
    let document = json.document();
    assert_eq!(texts(document["images"].as_array().unwrap(), "tier").len(), 4);
    assert_eq!(document["errors"].as_array().unwrap().len(), 1, "{document:#}");
    workshop.assert_tidy();
}

#[test]
fn a_delivery_that_is_cancelled_leaves_the_others_alone() {
    let workshop = workshop();
    let slow = provider("cloud-a", "delay_ms", 600_000);
    let build =
        ["build", "mock.tdl", "--target", "mock", "--provider", &slow, "--provider", "cloud-b"];
    let running = workshop.spawn(&build);
    // The second is complete while the first goes on.
    let images = wait_for("both", || {
        let images = workshop.images_of("provider");
        let (slow, other) =
            (images.len() == 2).then(|| (of(&images, "cloud-a"), of(&images, "cloud-b")))?;
        (slow["status"] == "BUILDING" && other["status"] == "COMPLETE").then_some(images)
    });
    let id = of(&images, "cloud-a")["id"].as_str().unwrap();
    workshop.run(&["images", "cancel", id]).done();
    running.wait().ended(8).says("mock at {").prints("mock at cloud-b");
    let images = workshop.images_of("provider");
    assert_eq!(of(&images, "cloud-a")["status"], "CANCELLED");
    assert_eq!(of(&images, "cloud-b")["status"], "COMPLETE");
    workshop.assert_tidy();
}

#[test]
fn a_target_that_fails_takes_only_its_own_deliveries_along() {
    let workshop = workshop();
    workshop.link_misbehaving("clouds");
    let images = workshop.run(&[
        "build",
        "mock.tdl",
        "--target",
        "mock",
        "--target",
        "misbehaving",
        "--provider",
        "mock=cloud-a",
        "--provider",
        "misbehaving=somewhere",
        "--parameter",
        "when=finish_target_image",
        "--parameter",
        "how=panic",
        "--format",
        "json",
    ]);
    let document = images.document();
    let images = document["images"].as_array().unwrap();
    let status = |tier: &str, target: &str| {
        let is_it = |image: &&Value| image["tier"] == tier && image["target"] == target;
        images.iter().find(is_it).unwrap()["status"].clone()
    };
    assert_eq!(
        (status("target", "mock"), status("provider", "mock")),
        (json!("COMPLETE"), json!("COMPLETE"))
    );
    assert_eq!(status("target", "misbehaving"), "FAILED");
    assert_eq!(status("provider", "misbehaving"), "FAILED");
    assert_eq!(at(&workshop, "cloud-a"), 1);
    workshop.assert_tidy();
}

#[test]
fn every_pair_is_checked_before_anything_is_built_and_every_reason_is_told() {
    let workshop = workshop();
    let (wrong, good) = (format!("mock={WRONG}"), format!("mock={GOOD}"));
    let ran = workshop.run(&[
        "build",
        "mock.tdl",
        "--target",
        "mock",
        "--target",
        "mockstack",
        "--provider",
        "mock=cloud-a",
        "--credentials",
        &wrong,
        "--provider",
        "mock=cloud-b",
        "--credentials",
        &good,
        "--provider",
        "mockstack=nowhere",
    ]);
    let errors = ran.stderr.lines().filter(|line| line.starts_with("error: ")).count();
    assert_eq!(errors, 2, "{ran:#?}");
    let ran = ran.ended(7).says("mock at cloud-a: ").says("refuses the password");
    ran.says("mockstack at nowhere: ").says("cannot be reached").never_says("mock at cloud-b");
    assert!(workshop.images().is_empty());
}

#[test]
fn what_can_be_read_in_two_ways_is_usage() {
    let workshop = workshop();
    let both = ["build", "mock.tdl", "--target", "mock", "--target", "mockstack"];
    for (more, says) in [
        (&["--provider", "cloud-a"][..], "`--provider TARGET=…`"),
        (&["--provider", "mock=cloud-a", "--credentials", GOOD], "`--credentials TARGET=…`"),
        (&["--provider", "mock=cloud-a", "--provider", "mock=cloud-a"], "named twice"),
    ] {
        let ran = workshop.run(&[&both[..], more].concat());
        ran.refused(2).says(says).never_says("hunter2");
    }
    assert!(workshop.images().is_empty());
}

#[test]
fn snapshots_and_pushes_of_one_image_go_side_by_side_too() {
    let workshop = workshop();
    let base = workshop.build(&[]);
    let to = ["--provider", "cloud-a", "--provider", "cloud-b", "--snapshot"];
    let images = workshop.build(&[&["--target", "mock"], &to[..]].concat());
    assert_eq!(texts(&images, "tier"), ["provider", "provider"], "{base:?}");
    assert_eq!(texts(&images, "status"), ["COMPLETE"; 2]);
    assert_eq!(images[0]["target_image_id"], Value::Null);
}

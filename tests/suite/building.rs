//! From a template to images: what is built, what is built once, what is decided against.

use serde_json::{Value, json};

use crate::support::{Workshop, texts};

fn body(image: &Value) -> String {
    fs_err::read_to_string(image["path"].as_str().unwrap()).unwrap()
}

#[test]
fn one_base_serves_several_targets() {
    let workshop = Workshop::new();
    let images = workshop.build(&["--target", "mock", "--target", "mockstack", "-t", "ecmock"]);
    assert_eq!(texts(&images, "status"), ["COMPLETE"; 4]);
    assert_eq!(texts(&images, "tier"), ["base", "target", "target", "target"]);
    for target in &images[1..] {
        assert_eq!(target["base_image_id"], images[0]["id"]);
        assert_eq!(body(target), body(&images[0]));
    }
    assert_eq!(workshop.images_of("base").len(), 1);
    workshop.assert_tidy();
}

#[test]
fn the_same_build_again_uses_the_base_image_that_is_there() {
    let workshop = Workshop::new();
    let first = workshop.build(&[]);
    let document = workshop.json(&["build", "mock.tdl", "--target", "mock"]);
    assert_eq!(document["reused"], json!([first[0]["id"]]));
    workshop.run(&["build", "mock.tdl"]).done().prints("reused");
    assert_eq!(workshop.images_of("base").len(), 1);
}

#[test]
fn rebuild_builds_anew() {
    let workshop = Workshop::new();
    let first = workshop.build(&[]);
    let second = workshop.build(&["--rebuild"]);
    assert_ne!(first[0]["id"], second[0]["id"]);
    assert_eq!(first[0]["sha256"], second[0]["sha256"]);
}

#[test]
fn a_changed_template_or_parameter_builds_anew() {
    let workshop = Workshop::new();
    workshop.build(&[]);
    workshop.build(&["--parameter", "size_bytes=4096"]);
    workshop.template_for("mock.tdl", "MockOS_A");
    workshop.build(&[]);
    assert_eq!(workshop.images_of("base").len(), 3);
}

#[test]
fn layout_of_the_template_does_not_matter_for_reuse() {
    let workshop = Workshop::new();
    let first = workshop.build(&[]);
    let text = fs_err::read_to_string(workshop.path("mock.tdl")).unwrap();
    workshop.write("mock.tdl", format!("<!-- said again -->\n\n{text}\n"));
    let second = workshop.build(&[]);
    assert_eq!(first[0]["id"], second[0]["id"]);
}

#[test]
fn a_base_image_whose_body_is_gone_is_not_used_again() {
    let workshop = Workshop::new();
    let first = workshop.build(&[]);
    fs_err::remove_file(first[0]["path"].as_str().unwrap()).unwrap();
    let second = workshop.build(&["--target", "mock"]);
    assert_eq!(texts(&second, "status"), ["COMPLETE"; 2]);
    assert_ne!(first[0]["id"], second[0]["id"]);
}

#[test]
fn a_dry_run_shows_the_plan_and_leaves_no_record() {
    let workshop = Workshop::new();
    let dry = ["build", "mock.tdl", "--target", "mock", "--dry-run"];
    let plan = workshop.run(&dry).done();
    plan.prints("build with plugin `mock-os`").prints("mock with plugin `mock-cloud`");
    let plan = workshop.json(&dry);
    assert_eq!(plan["targets"][0]["target"], "mock");
    assert_eq!(workshop.images(), Vec::<Value>::new());

    workshop.build(&[]);
    workshop.run(&dry).done().prints("base image      reuse ");
    workshop.assert_tidy();
}

#[test]
fn later_sources_of_parameters_win() {
    let workshop = Workshop::new();
    workshop.write("p.json", r#"{"size_bytes": 100, "log_lines": 1, "delay_ms": 1}"#);
    workshop.write("lines", "3");
    let images = workshop.build(&[
        "--file-parameter",
        "log_lines=lines",
        "--parameter",
        "log_lines=2",
        "--parameter",
        "size_bytes=200",
        "--parameters",
        "p.json",
    ]);
    let expected = json!({"size_bytes": "200", "log_lines": "3", "delay_ms": 1});
    assert_eq!(images[0]["parameters"], expected);
    assert_eq!(images[0]["size_bytes"], 200);
}

#[test]
fn upstreams_spelling_is_understood() {
    let workshop = Workshop::new();
    workshop.run(&["base_image", "mock.tdl", "--parameter", "size_bytes", "512"]).done();
    let base = workshop.images_of("base").remove(0);
    assert_eq!(base["size_bytes"], 512);
    let id = base["id"].as_str().unwrap();
    workshop.run(&["target_image", "mock", "--id", id]).done();
    let target = workshop.images_of("target").remove(0);
    let id = target["id"].as_str().unwrap();
    workshop.run(&["provider_image", "mock", "tmp", "@{}", "--id", id]).done();
    assert_eq!(texts(&workshop.images_of("provider"), "status"), ["COMPLETE"]);
}

#[test]
fn a_target_image_is_made_from_a_base_image_by_id_or_from_a_template() {
    let workshop = Workshop::new();
    let base = workshop.build(&[]).remove(0);
    let id = base["id"].as_str().unwrap();
    let made = workshop.json(&["target-image", "mock", "--id", &id[..13]]);
    assert_eq!(made["images"][1]["base_image_id"], base["id"]);
    let made = workshop.json(&["target-image", "mock", "--template", "mock.tdl"]);
    assert_eq!(made["images"][1]["base_image_id"], base["id"]);

    let target = made["images"][1]["id"].as_str().unwrap();
    let ran = workshop.run(&["target-image", "mock", "--id", target]);
    let origin = format!("`{}`", base["id"].as_str().unwrap());
    ran.ended(3).says("is a target image, not a base image").says("hint: ").says(&origin);
    let ran = workshop.run(&["provider-image", "mock", "cloud", "@", "--id", id]);
    let instead = format!("`imageforge target-image TARGET --id {id}`");
    ran.ended(3).says("is a base image, not a target image").says(&instead);
}

#[test]
fn what_a_target_asks_for_is_in_its_image_and_not_in_the_base() {
    let workshop = Workshop::new();
    let images = workshop.build(&["--target", "mock", "--parameter", "add_file=hello"]);
    assert!(body(&images[1]).contains("target file: /etc/mock-cloud"));
    assert!(!body(&images[0]).contains("mock-cloud"));
}

#[test]
fn a_skipped_tier_tells_why_and_takes_those_above_along() {
    let workshop = Workshop::new();
    let images = workshop.build(&["--target", "mock", "--parameter", "skip=not today"]);
    assert_eq!(texts(&images, "status"), ["SKIPPED"; 2]);
    assert_eq!(images[0]["status_detail"]["error"], "not today");
    let skipped = ["build", "mock.tdl", "--parameter", "skip=not today"];
    workshop.run(&skipped).done().prints("SKIPPED").prints("not today");

    let images = workshop.build(&["--target", "mock", "--parameter", "skip_target=no space"]);
    assert_eq!(texts(&images, "status"), ["COMPLETE", "SKIPPED"]);
    assert_eq!(images[1]["status_detail"]["error"], "no space");
    workshop.assert_tidy();
}

#[test]
fn a_failing_delegate_fails_the_image_and_is_named() {
    let workshop = Workshop::new();
    let failing = ["build", "mock.tdl", "--target", "mock", "--parameter", "fail_with=failed"];
    let ran = workshop.run(&failing).ended(1);
    ran.says("plugin `mock-os`, `create_base_image`: parameter `fail_with`")
        .says("hint: leave the parameter out")
        .says("images log");
    let images = workshop.images();
    assert_eq!(texts(&images, "status"), ["FAILED"; 2]);
    assert_eq!(images[1]["status_detail"]["kind"], "failed");
    assert_eq!(workshop.run(&["images", "check"]).done().stdout.trim(), "");
    workshop.assert_tidy();
}

#[test]
fn a_failed_base_image_is_not_used_again() {
    let workshop = Workshop::new();
    let failing = ["build", "mock.tdl", "--parameter", "fail_with=failed"];
    workshop.run(&failing).ended(1);
    workshop.run(&failing).ended(1);
    assert_eq!(workshop.images_of("base").len(), 2);
}

#[test]
fn whose_fault_it_was_shows_in_the_exit_code() {
    let workshop = Workshop::new();
    for (kind, code) in [
        ("invalid-input", 1),
        ("not-found", 1),
        ("unsupported", 1),
        ("bug-in-plugin", 1),
        ("missing-requirement", 1),
        ("unavailable", 7),
        ("credentials", 7),
        ("cancelled", 8),
    ] {
        let parameter = format!("fail_with={kind}");
        let ran = workshop.run(&["build", "mock.tdl", "--parameter", &parameter]);
        ran.ended(code).says("hint: leave the parameter out");
    }
    workshop.assert_tidy();
}

#[test]
fn a_panic_in_a_plugin_fails_the_image_and_not_the_host() {
    let workshop = Workshop::new();
    let ran = workshop.run(&["build", "mock.tdl", "--parameter", "fail_with=panic"]);
    ran.ended(1).says("`mock-os`").says("panicked at").says("lib.rs:");
    assert_eq!(workshop.images()[0]["status_detail"]["kind"], "bug-in-plugin");
    workshop.build(&[]);
    workshop.assert_tidy();
}

#[test]
fn everything_that_stands_against_a_build_is_said_at_once() {
    let workshop = Workshop::new();
    let ran = workshop.run(&[
        "build",
        "mock.tdl",
        "--target",
        "mok",
        "--parameter",
        "delay_ms=soon",
        "--parameter",
        "dely=3",
    ]);
    ran.ended(4)
        .says("no plugin serves `mok`")
        .says("parameter `delay_ms`: `soon` is not of type `integer`")
        .says("no plugin of this build reads parameter `dely`")
        .says("did you mean `delay_ms`?");
    assert_eq!(workshop.images(), Vec::<Value>::new());
}

#[test]
fn finished_images_are_copied_where_the_user_wants_them() {
    let workshop = Workshop::new();
    let one = ["build", "mock.tdl", "--target", "mock", "--output", "one.img"];
    let document = workshop.json(&one);
    let copied = fs_err::read_to_string(workshop.path("one.img")).unwrap();
    assert_eq!(copied, body(&document["images"][1]));

    let several = ["--target", "mock", "--target", "ecmock", "--output", "many"];
    workshop.build(&several);
    let mut names: Vec<_> = fs_err::read_dir(workshop.path("many"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    names.sort();
    assert_eq!(names, ["mock.ecmock", "mock.mock"]);
}

#[test]
fn an_output_that_cannot_be_written_is_refused_before_building() {
    let workshop = Workshop::new();
    let ran = workshop.run(&["build", "mock.tdl", "--output", "gone/one.img"]);
    ran.refused(5).says("gone");
    assert!(!workshop.path("gone").exists());
    assert_eq!(workshop.images(), Vec::<Value>::new());
    workshop.assert_tidy();
}

#[test]
fn a_detached_build_goes_on_alone() {
    let workshop = Workshop::new();
    let ran = workshop.run(&["build", "mock.tdl", "--detach", "--parameter", "delay_ms=300"]);
    let id = ran.done().stdout.trim().to_owned();
    let log = workshop.run(&["images", "log", "--follow", &id]).done();
    log.prints("== COMPLETE");
    assert_eq!(workshop.images()[0]["status"], "COMPLETE");
    workshop.assert_tidy();
    let refused = workshop.run(&["build", "gone.tdl", "--detach"]);
    refused.refused(5).says("gone.tdl");
}

#[test]
fn quiet_says_nothing_but_data_and_verbose_shows_the_log() {
    let workshop = Workshop::new();
    let quiet = workshop.run(&["build", "mock.tdl", "--quiet"]).done();
    assert_eq!(quiet.stderr, "");
    assert!(quiet.stdout.contains("COMPLETE"));
    let lines = ["build", "mock.tdl", "--parameter", "log_lines=2"];
    let talkative = workshop.run(&[&lines[..], &["-v"]].concat());
    talkative.done().says("a line of the build log");
    let normal = workshop.run(&[&lines[..], &["--rebuild"]].concat());
    normal.done().never_says("a line of the build log");
}

#[test]
fn a_number_is_the_same_parameter_as_its_text() {
    let workshop = Workshop::new();
    workshop.write("p.json", r#"{"size_bytes": 300}"#);
    let number = workshop.build(&["--parameters", "p.json"]);
    let text = workshop.build(&["--parameter", "size_bytes=300"]);
    assert_eq!(number[0]["id"], text[0]["id"]);
}

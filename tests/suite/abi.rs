//! Plugins that were built against another version of the plugin API, in the real program.

use serde_json::Value;

use crate::fixtures_abi::build_fixture;
use crate::support::{Workshop, texts};

/// A workshop with a plugin `fixture` whose library was built against the API called `api`.
fn workshop(api: &str) -> Workshop {
    let workshop = Workshop::new();
    let library = fs_err::read(build_fixture(api)).unwrap();
    workshop.library("fixture", &library);
    workshop.info(
        "fixture",
        &format!(r#"{{"type":"os","targets":[["Fixture"]],"delegate":"abi-{api}"}}"#),
    );
    workshop.template_for("fixture.tdl", "Fixture");
    workshop
}

#[track_caller]
fn assert_builds(api: &str) {
    let workshop = workshop(api);
    let shown = workshop.json(&["plugins", "show", "fixture"]);
    assert_eq!(shown["status"]["state"], "ready", "{shown:#}");
    let built =
        workshop.json(&["build", "fixture.tdl", "--target", "mock", "--parameter", "do=write"]);
    assert_eq!(texts(built["images"].as_array().unwrap(), "status"), ["COMPLETE"; 2]);
    workshop.assert_tidy();
}

/// Refused in one line that names the plugin and both versions; answers that line.
#[track_caller]
fn refusal(api: &str) -> String {
    let workshop = workshop(api);
    let shown = workshop.json(&["plugins", "show", "fixture"]);
    assert_eq!(shown["status"]["state"], "incompatible", "{shown:#}");
    let ran = workshop.run(&["build", "fixture.tdl"]);
    let ran = ran.refused(4).says("`fixture`").says(env!("CARGO_PKG_VERSION"));
    assert_eq!(workshop.images(), Vec::<Value>::new());
    let error = ran.stderr.lines().next().unwrap().to_owned();
    assert!(error.len() < 600, "one readable line: {error}");
    workshop.build(&[]);
    error
}

#[test]
fn a_plugin_of_an_older_minor_version_builds() {
    assert_builds("older");
}

#[test]
fn a_plugin_of_a_newer_minor_version_builds() {
    assert_builds("newer");
}

#[test]
fn a_plugin_with_a_changed_layout_is_refused_with_the_first_differing_path() {
    let error = refusal("changed");
    assert!(error.contains("progress"), "{error}");
}

#[test]
fn a_plugin_of_another_major_version_is_refused() {
    let error = refusal("major");
    assert!(error.contains("0.2.0"), "{error}");
}

#[test]
fn a_panic_in_an_older_plugin_fails_the_image_and_not_the_host() {
    let workshop = workshop("older");
    for action in ["do=panic", "do=panic with a number", "do=panic with a bomb"] {
        let ran = workshop.run(&["build", "fixture.tdl", "--parameter", action]);
        ran.ended(1).says("`fixture`").says("panicked");
        assert_eq!(workshop.images()[0]["status_detail"]["kind"], "bug-in-plugin");
    }
    workshop.assert_tidy();
}

#[test]
fn what_a_newer_plugin_traces_is_in_the_build_log() {
    let workshop = workshop("newer");
    // It logs and leaves no image: what counts is the log.
    let log = ["build", "fixture.tdl", "--name", "traced", "--parameter", "do=log"];
    workshop.run(&log).ended(1);
    let log = workshop.run(&["images", "log", "traced"]).done();
    log.prints("from the library answer=42");
}

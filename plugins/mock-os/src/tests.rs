//! What the plugin promises, without a host.

use plugin_api::host::LogLevel;
use plugin_api::template::File;
use plugin_api::testing::{Built, DelegateHarness, HarnessedDelegate};
use plugin_api::{Template, Tier};

use super::*;

fn harness() -> DelegateHarness {
    DelegateHarness::os(MockOs).operating_system("MockOS_B", "1", "x86_64")
}

fn body(delegate: &HarnessedDelegate) -> String {
    let path = delegate.build().unwrap().into_body().unwrap();
    fs_err::read_to_string(path).unwrap()
}

#[test]
fn the_same_template_gives_the_same_bytes() {
    let one = harness().open().unwrap();
    let other = harness().open().unwrap();
    let text = body(&one);
    assert_eq!(text, body(&other));
    assert_eq!(text, "mock os\nname: harness\nos: MockOS_B 1 x86_64\n");
}

#[test]
fn files_of_the_template_are_in_the_image() {
    let mut template = Template::default();
    template.files = vec![File::new("/etc/motd", Source::Raw("hello".to_owned()))];
    let delegate = harness().template(template).open().unwrap();
    assert!(body(&delegate).contains("file: /etc/motd (5 bytes)"));
}

#[test]
fn a_large_body_is_a_hole() {
    let delegate = harness().parameter("size_bytes", 1_u64 << 30).open().unwrap();
    let path = delegate.build().unwrap().into_body().unwrap();
    let metadata = fs_err::metadata(path).unwrap();
    assert_eq!(metadata.len(), 1 << 30);
    assert!(std::os::unix::fs::MetadataExt::blocks(&metadata) < 64);
}

#[test]
fn skipping_tells_the_reason() {
    let delegate = harness().parameter("skip", "not today").open().unwrap();
    assert_eq!(delegate.build().unwrap(), Built::Skipped("not today".to_owned()));
}

#[test]
fn every_kind_of_failure_can_be_asked_for() {
    for kind in ["invalid-input", "not-found", "unavailable", "missing-requirement", "failed"] {
        let delegate = harness().parameter("fail_with", kind).open().unwrap();
        let error = delegate.build().unwrap_err();
        assert_eq!(serde_json::to_value(error.kind()).unwrap(), kind);
    }
}

#[test]
fn a_panic_becomes_a_bug_of_the_plugin_with_its_place() {
    let delegate = harness().parameter("fail_with", "panic").open().unwrap();
    let error = delegate.build().unwrap_err();
    assert_eq!(error.kind(), DelegateErrorKind::BugInPlugin);
    assert!(error.message().contains("asked for a panic"), "{error}");
    assert!(error.message().contains("lib.rs:"), "{error}");
}

#[test]
fn an_unknown_kind_of_failure_is_refused_before_the_build() {
    let delegate = harness().parameter("fail_with", "sloth").open().unwrap();
    let problems = delegate.check();
    assert!(problems[0].message().contains("`sloth`"), "{problems:?}");
}

#[test]
fn every_unreadable_parameter_is_named_at_once() {
    let delegate =
        harness().parameter("delay_ms", "soon").parameter("size_bytes", "large").open().unwrap();
    assert_eq!(delegate.check().len(), 2);
}

#[test]
fn a_cancelled_build_ends_early() {
    let delegate = harness().parameter("delay_ms", 3_600_000).open().unwrap();
    delegate.cancel();
    let error = delegate.build().unwrap_err();
    assert_eq!(error.kind(), DelegateErrorKind::Cancelled);
}

#[test]
fn log_lines_arrive_with_fields_and_span() {
    let delegate = harness().parameter("log_lines", 2).open().unwrap();
    delegate.build().unwrap();
    let lines: Vec<_> = delegate
        .logs()
        .into_iter()
        .filter(|record| record.message == "a line of the build log")
        .collect();
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[1].level, LogLevel::Info);
    assert_eq!(lines[1].fields["line"], 2);
    assert_eq!(lines[1].spans, ["mock_os{name=MockOS_B version=1}"]);
}

#[test]
fn progress_grows_to_a_hundred() {
    let delegate = harness().parameter("delay_ms", 60).open().unwrap();
    delegate.build().unwrap();
    let progress = delegate.progress();
    assert!(progress.is_sorted());
    assert_eq!(progress.last(), Some(&100));
}

#[test]
fn content_of_the_cloud_is_added_to_a_copy() {
    let mut content = Content::default();
    content.files = vec![File::new("/etc/cloud", Source::Raw("mock".to_owned()))];
    let delegate = harness()
        .tier(Tier::Target)
        .target("MockCloud")
        .base_image("base\n")
        .content(content)
        .open()
        .unwrap();
    assert_eq!(body(&delegate), "base\ntarget file: /etc/cloud (4 bytes)\n");
    let base = &delegate.context().base_image.as_ref().unwrap().path;
    assert_eq!(fs_err::read_to_string(base).unwrap(), "base\n");
    let [note] = &delegate.artifacts()[..] else { unreachable!("there is one note") };
    let note = fs_err::read_to_string(&note.path).unwrap();
    assert!(note.ends_with("x86_64\ntarget file: /etc/cloud (4 bytes)\n"), "{note}");
}

#[test]
fn the_note_is_an_artifact() {
    let delegate = harness().open().unwrap();
    delegate.build().unwrap();
    assert_eq!(delegate.artifacts()[0].name, "mock-os.txt");
}

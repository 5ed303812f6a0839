//! What the plugin promises, without a host.

use camino::Utf8Path;
use plugin_api::DelegateErrorKind;
use plugin_api::testing::{Built, DelegateHarness, HarnessedDelegate};

use super::*;

const GOOD: &str = r#"{"username": "ada", "password": "secret"}"#;
const WRONG: &str = r#"{"username": "ada", "password": "wrong"}"#;

fn target() -> DelegateHarness {
    DelegateHarness::cloud(MockCloud).target("MockCloud").base_image("a disk")
}

fn push_to(directory: &Utf8Path, credentials: &str) -> HarnessedDelegate {
    target().target_image("a body").provider(directory.as_str(), credentials).open().unwrap()
}

/// A directory for one test, inside the folder of a harness that is kept.
fn directory() -> (HarnessedDelegate, Utf8PathBuf) {
    let keeper = target().open().unwrap();
    let directory = keeper.context().work_dir.clone();
    (keeper, directory)
}

fn entries(directory: &Utf8Path) -> usize {
    fs_err::read_dir(directory).unwrap().count()
}

#[test]
fn the_target_image_is_the_disk() {
    let delegate = target().open().unwrap();
    let body = delegate.build().unwrap().into_body().unwrap();
    assert_eq!(fs_err::read_to_string(body).unwrap(), "a disk");
    assert_eq!(delegate.properties()["mock-cloud"], "MockCloud");
}

#[test]
fn what_tells_about_the_disk_is_told_in_both_tiers() {
    let about = || target().disk_artifact("packages.txt", "text/plain", "none\n");
    let (_keeper, directory) = directory();
    let push = about().target_image("a body").provider(directory.as_str(), GOOD);
    for harness in [about(), push] {
        let delegate = harness.open().unwrap();
        delegate.build().unwrap();
        assert_eq!(delegate.properties()["told"], serde_json::json!({ "packages.txt": 5 }));
    }
}

#[test]
fn the_agent_is_named_as_the_operating_system_names_it() {
    let asked = |os| {
        let target = target().operating_system(os, "1", "x86_64").parameter("agent", true);
        target.open().unwrap().target_content()
    };
    assert_eq!(asked("MockOS_B").unwrap().packages[0].name, "mock-agent-b");
    assert_eq!(asked("Debian").unwrap().packages[0].name, "mock-agent");
    assert_eq!(asked("MockOS_A").unwrap_err().kind(), DelegateErrorKind::Unsupported);
    assert!(target().open().unwrap().target_content().unwrap().is_empty());
}

#[test]
fn a_file_is_asked_for_by_parameter() {
    let delegate = target().parameter("add_file", "hello").open().unwrap();
    delegate.build().unwrap();
    assert_eq!(delegate.content().files[0].name, "/etc/mock-cloud");
}

#[test]
fn each_tier_is_skipped_for_its_own_reason() {
    let delegate = target()
        .parameter("skip_target", "no target")
        .parameter("skip_provider", "no provider")
        .open()
        .unwrap();
    assert_eq!(delegate.build().unwrap(), Built::Skipped("no target".to_owned()));
}

#[test]
fn a_push_copies_the_body_and_names_the_account() {
    let (_keeper, directory) = directory();
    let delegate = push_to(&directory, GOOD);
    let Built::OnProvider(identity) = delegate.build().unwrap() else {
        unreachable!("a provider image has no body");
    };
    let pushed = directory.join(&identity.identifier_on_provider);
    assert_eq!(fs_err::read_to_string(pushed).unwrap(), "a body");
    assert_eq!(identity.provider_account_identifier.as_deref(), Some("ada"));
    assert_eq!(entries(&directory), 1);
}

#[test]
fn a_provider_may_be_json() {
    let (_keeper, directory) = directory();
    let json = serde_json::json!({ "directory": directory }).to_string();
    let delegate = push_to(json.as_str().into(), "");
    assert_eq!(delegate.check_provider(), Ok(()));
}

#[test]
fn a_provider_without_room_is_told_when_the_image_is_there() {
    let (_keeper, directory) = directory();
    let json = serde_json::json!({ "directory": directory, "capacity": 3 }).to_string();
    let delegate = push_to(json.as_str().into(), "");
    assert_eq!(delegate.check_provider(), Ok(()));
    assert_eq!(delegate.build().unwrap_err().kind(), DelegateErrorKind::Unavailable);
    assert_eq!(entries(&directory), 0);
}

#[test]
fn a_wrong_password_is_refused_before_the_build() {
    let (_keeper, directory) = directory();
    let error = push_to(&directory, WRONG).check_provider().unwrap_err();
    assert_eq!(error.kind(), DelegateErrorKind::Credentials);
}

#[test]
fn unreadable_credentials_are_not_repeated() {
    let (_keeper, directory) = directory();
    let error = push_to(&directory, "hunter2").check_provider().unwrap_err();
    assert_eq!(error.kind(), DelegateErrorKind::InvalidInput);
    assert!(!format!("{error:?}").contains("hunter2"));
}

#[test]
fn a_missing_provider_is_unavailable() {
    let (_keeper, directory) = directory();
    let error = push_to(&directory.join("gone"), GOOD).check_provider().unwrap_err();
    assert_eq!(error.kind(), DelegateErrorKind::Unavailable);
}

#[test]
fn a_provider_without_directory_is_refused() {
    let delegate = push_to("".into(), GOOD);
    assert_eq!(delegate.check()[0].kind(), DelegateErrorKind::InvalidInput);
}

#[test]
fn a_cancelled_push_leaves_nothing_behind() {
    let (_keeper, directory) = directory();
    let delegate = push_to(&directory, GOOD);
    delegate.cancel();
    let error = delegate.build().unwrap_err();
    assert_eq!(error.kind(), DelegateErrorKind::Cancelled);
    assert_eq!(entries(&directory), 0);
}

#[test]
fn abort_takes_back_a_half_made_upload() {
    let (_keeper, directory) = directory();
    let delegate = push_to(&directory, GOOD);
    let partial = directory.join(format!(".{}.partial", delegate.context().id));
    fs_err::write(&partial, "half").unwrap();
    delegate.abort().unwrap();
    assert_eq!(entries(&directory), 0);
}

#[test]
fn a_snapshot_is_made_and_deleted_twice() {
    let (_keeper, directory) = directory();
    let identity = push_to(&directory, GOOD).snapshot_image_on_provider().unwrap();
    assert_eq!(entries(&directory), 1);
    let delegate = target()
        .provider(directory.as_str(), GOOD)
        .identifier_on_provider(identity.identifier_on_provider)
        .open()
        .unwrap();
    delegate.delete_from_provider().unwrap();
    assert_eq!(entries(&directory), 0);
    delegate.delete_from_provider().unwrap();
}

#[test]
fn deleting_stays_inside_the_directory() {
    let (_keeper, directory) = directory();
    let delegate = target()
        .provider(directory.as_str(), GOOD)
        .identifier_on_provider("../base.body")
        .open()
        .unwrap();
    let error = delegate.delete_from_provider().unwrap_err();
    assert_eq!(error.kind(), DelegateErrorKind::InvalidInput);
}

//! Delivering to registries, good and bad.

use std::time::{Duration, Instant};

use plugin_api::DelegateErrorKind;
use plugin_api::testing::Built;
use serde_json::Value;

use super::fake_registry::{FakeRegistry, Habits};
use super::*;

const ADA: &str = r#"{"username": "ada", "password": "secret"}"#;

/// A push of an image of `target`, in chunks of one MiB.
fn pushing(target: &str, provider: &str, credentials: &str) -> HarnessedDelegate {
    // Nearly two MiB: two chunks.
    let parameters = [("oci_compression", "none")];
    let (_delegate, body) = built(target, &parameters);
    let body = fs_err::read(body).unwrap();
    let harness = harness(target, &parameters).target_image(body).configuration("chunk_mib", 1);
    let harness = harness.configuration("retries", 2);
    harness.provider(provider, credentials).open().unwrap()
}

fn identity(delegate: &HarnessedDelegate) -> ProviderIdentity {
    match delegate.build().unwrap() {
        Built::OnProvider(identity) => identity,
        other => unreachable!("{other:?}"),
    }
}

fn pushed(registry: &FakeRegistry) -> ProviderIdentity {
    identity(&pushing("oci", &registry.provider(), ADA))
}

fn deleting(registry: &FakeRegistry, identity: &ProviderIdentity) -> HarnessedDelegate {
    let identifier = identity.identifier_on_provider.as_str();
    let harness = harness("oci", &[]).provider(registry.provider(), ADA);
    harness.identifier_on_provider(identifier).open().unwrap()
}

/// Everything is there, and nothing is half there.
fn assert_whole(registry: &FakeRegistry) {
    let state = registry.state();
    let manifest: Value = serde_json::from_slice(&state.manifests["v1"]).unwrap();
    let parts = manifest["layers"].as_array().unwrap().iter().chain([&manifest["config"]]);
    for part in parts {
        assert!(state.blobs.contains_key(part["digest"].as_str().unwrap()), "{part}");
    }
    assert!(state.uploads.is_empty(), "{:?}", state.uploads.keys());
}

fn wait_for_chunks(registry: &FakeRegistry, count: usize) {
    let end = Instant::now() + Duration::from_secs(30);
    while registry.asked("PATCH") < count {
        assert!(Instant::now() < end, "{:?}", registry.server.seen());
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn an_image_is_pushed_tagged_and_told_about() {
    for (target, lists_referrers) in [("oci", true), ("oci", false), ("docker", false)] {
        let registry = FakeRegistry::start(Habits { lists_referrers, ..Habits::default() });
        let delegate = pushing(target, &registry.provider(), "");
        assert_eq!(delegate.check_provider(), Ok(()));
        assert!(registry.state().uploads.is_empty());
        let identity = identity(&delegate);
        assert_whole(&registry);
        let (place, digest) = identity.identifier_on_provider.split_once('@').unwrap();
        assert_eq!(format!("{place}:v1"), registry.provider());
        assert_eq!(documents::digest(&registry.state().manifests["v1"]), digest);
        let fallback = registry.state().manifests.contains_key(&digest.replace(':', "-"));
        assert_eq!(fallback, !lists_referrers);
        let progress = delegate.progress();
        assert_eq!(progress.last(), Some(&100));
        assert!(progress.is_sorted(), "{progress:?}");

        for _ in 0..2 {
            deleting(&registry, &identity).delete_from_provider().unwrap();
            assert!(registry.state().manifests.is_empty());
        }
    }
}

#[test]
fn what_is_there_already_is_not_sent_again() {
    let registry = FakeRegistry::start(Habits::default());
    let first = pushed(&registry);
    let sent = registry.asked("PATCH");
    assert_eq!(pushed(&registry), first);
    assert_eq!(registry.asked("PATCH"), sent);
}

#[test]
fn a_token_is_asked_for_and_again_when_it_has_run_out() {
    let habits = Habits { wants_token: true, token_lasts: Some(3), ..Habits::default() };
    let registry = FakeRegistry::start(habits);
    let identity = pushed(&registry);
    assert_whole(&registry);
    assert_eq!(identity.provider_account_identifier.as_deref(), Some("ada"));
    assert!(registry.state().tokens > 2, "{}", registry.state().tokens);
}

#[test]
fn a_wrong_password_costs_no_build_and_is_not_shown() {
    let registry = FakeRegistry::start(Habits { wants_token: true, ..Habits::default() });
    for credentials in
        ["", r#"{"username": "ada", "password": "swordfish"}"#, r#"{"token": "swordfish"}"#]
    {
        let delegate =
            harness("oci", &[]).provider(registry.provider(), credentials).open().unwrap();
        let error = delegate.check_provider().unwrap_err();
        assert_eq!(error.kind(), DelegateErrorKind::Credentials, "{error:?}");
        assert!(!format!("{error:?}{:?}", delegate.logs()).contains("swordfish"));
    }
    assert_eq!(registry.asked("POST"), 0);
}

#[test]
fn a_cut_upload_goes_on_where_the_registry_is() {
    let cuts = vec![300_000, 0, 500_000];
    let registry = FakeRegistry::start(Habits { cuts, ..Habits::default() });
    pushed(&registry);
    assert_whole(&registry);
    // Not one byte twice: the second chunk begins where the first was cut.
    let ranges = registry.state().ranges.clone();
    assert_eq!(ranges[0], "-");
    assert!(ranges[1].starts_with("300000-") && ranges[2].starts_with("300000-"), "{ranges:?}");
    assert!(ranges[3].starts_with("800000-"), "{ranges:?}");
}

#[test]
fn a_registry_that_wants_lengths_or_no_chunks_gets_what_it_wants() {
    for (habits, last) in [
        (Habits { wants_length: true, ..Habits::default() }, "0-1048575"),
        (Habits { takes_no_chunks: true, ..Habits::default() }, "0-1048575"),
    ] {
        let whole = habits.takes_no_chunks;
        let registry = FakeRegistry::start(habits);
        pushed(&registry);
        assert_whole(&registry);
        let ranges = registry.state().ranges.clone();
        assert_eq!(ranges[..2], ["-", last]);
        assert_eq!(ranges.len() > 2, !whole, "{ranges:?}");
    }
}

#[test]
fn a_cancelled_push_closes_its_upload() {
    let registry = FakeRegistry::start(Habits { silent_at: Some(0), ..Habits::default() });
    let delegate = pushing("oci", &registry.provider(), "");
    let ended = std::thread::scope(|scope| {
        let pushing = scope.spawn(|| delegate.build());
        wait_for_chunks(&registry, 1);
        delegate.cancel();
        delegate.abort().unwrap();
        pushing.join().unwrap()
    });
    assert_eq!(ended.unwrap_err().kind(), DelegateErrorKind::Cancelled);
    let state = registry.state();
    assert!(state.uploads.is_empty() && state.manifests.is_empty());
}

/// A registry in which a push was killed in its second chunk, and the next push, which remembers what that one did.
/// The registry keeps the upload, as it does when nobody is left to close it.
fn after_a_killed_push() -> (FakeRegistry, HarnessedDelegate) {
    let habits = Habits { silent_at: Some(1 << 20), deletes_nothing: true, ..Habits::default() };
    let registry = FakeRegistry::start(habits);
    let killed = pushing("oci", &registry.provider(), "");
    let next = pushing("oci", &registry.provider(), "");
    std::thread::scope(|scope| {
        let pushing = scope.spawn(|| killed.build());
        wait_for_chunks(&registry, 2);
        fs_err::create_dir_all(remembered(&next)).unwrap();
        for entry in remembered(&killed).read_dir_utf8().unwrap() {
            let entry = entry.unwrap();
            fs_err::copy(entry.path(), remembered(&next).join(entry.file_name())).unwrap();
        }
        killed.cancel();
        pushing.join().unwrap().unwrap_err();
    });
    (registry, next)
}

fn remembered(delegate: &HarnessedDelegate) -> Utf8PathBuf {
    delegate.context().work_dir.with_file_name("cache").join("oci-uploads")
}

#[test]
fn an_upload_whose_worker_was_killed_goes_on() {
    let (registry, next) = after_a_killed_push();
    let before = registry.state().ranges.len();
    identity(&next);
    assert!(!registry.state().ranges[before..].contains(&"-".to_owned()));
    assert!(registry.state().manifests.contains_key("v1"));
}

#[test]
fn an_upload_that_is_not_to_be_had_any_more_is_begun_anew() {
    let (registry, next) = after_a_killed_push();
    for entry in remembered(&next).read_dir_utf8().unwrap() {
        fs_err::write(entry.unwrap().path(), "http://127.0.0.1:1/elsewhere").unwrap();
    }
    let before = registry.state().ranges.len();
    identity(&next);
    assert_eq!(registry.state().ranges[before], "-");
    assert!(registry.state().manifests.contains_key("v1"));
}

#[test]
fn a_registry_that_makes_another_manifest_of_it_is_not_believed() {
    let registry = FakeRegistry::start(Habits { mixes_up: true, ..Habits::default() });
    let error = pushing("oci", &registry.provider(), "").build().unwrap_err();
    assert_eq!(error.kind(), DelegateErrorKind::Failed);
    assert!(!registry.state().manifests.contains_key("v1"));
}

#[test]
fn what_may_not_be_deleted_is_explained() {
    let registry = FakeRegistry::start(Habits { deletes_nothing: true, ..Habits::default() });
    let identity = pushed(&registry);
    let error = deleting(&registry, &identity).delete_from_provider().unwrap_err();
    assert_eq!(error.kind(), DelegateErrorKind::Unsupported);
    assert!(error.hints()[0].contains("storage.delete.enabled"), "{error:?}");
    for other in ["other.example/team/web", "", "127.0.0.1:1/x@sha256:00"] {
        let identity = ProviderIdentity::new(other);
        let error = deleting(&registry, &identity).delete_from_provider().unwrap_err();
        assert_eq!(error.kind(), DelegateErrorKind::InvalidInput);
    }
}

#[test]
fn deleting_is_tried_three_times_whatever_the_settings_say() {
    let busy = plugin_kit::transfer::testing::Server::start(|exchange| {
        exchange.answer(503, &[("retry-after", "0")], b"")
    })
    .unwrap();
    let place = format!("{}/team/web", busy.url().trim_start_matches("http://"));
    let delegate = harness("oci", &[])
        .configuration("retries", 6)
        .identifier_on_provider(format!("{place}@{}", documents::digest(b"")))
        .provider(place, "");
    delegate.open().unwrap().delete_from_provider().unwrap_err();
    assert_eq!(busy.seen().len(), 3, "{:?}", busy.seen());
}

#[test]
fn an_image_of_which_some_tags_arrived_can_be_deleted() {
    let registry = FakeRegistry::start(Habits { refuses: Some("v2"), ..Habits::default() });
    let address = registry.provider();
    let address = address.strip_suffix(":v1").unwrap();
    let provider = serde_json::json!({ "registry": address, "tags": ["v1", "v2"] }).to_string();
    let delegate = pushing("oci", &provider, ADA);
    let error = delegate.build().unwrap_err();
    let left = delegate.left_behind();
    assert_eq!(left.len(), 1, "{error:?}");
    let place = format!("`{}` stays there", left[0].identifier_on_provider);
    assert!(error.causes().contains(&place), "{error:?}");
    assert!(error.hints().iter().any(|hint| hint.contains("images delete")), "{error:?}");
    deleting(&registry, &left[0]).delete_from_provider().unwrap();
    assert!(registry.state().manifests.is_empty());
}

#[test]
fn a_server_that_is_no_registry_is_told_before_the_build() {
    let other = plugin_kit::transfer::testing::Server::start(|exchange| {
        exchange.answer(404, &[], b"<html>nothing here</html>")
    })
    .unwrap();
    let provider = format!("{}/team/web", other.url());
    let delegate = harness("oci", &[]).provider(provider, "").open().unwrap();
    let error = delegate.check_provider().unwrap_err();
    assert_eq!(error.kind(), DelegateErrorKind::NotFound);
}

//! Snapshots of servers, by the fake Nova.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use plugin_api::template::{Command, Source, Template};
use plugin_api::testing::{DelegateHarness, HarnessedDelegate};
use plugin_api::{DelegateError, DelegateErrorKind};
use serde_json::json;

use super::super::OpenStack;
use super::super::script::SUCCESS;
use super::fake::Fake;

fn harness(fake: &Fake) -> DelegateHarness {
    let provider = json!({
        "image_endpoint": fake.url(), "compute_endpoint": format!("{}/v2.1", fake.url()),
        "auth_type": "none", "visibility": "shared", "min_ram": 256,
    });
    DelegateHarness::cloud(OpenStack::default())
        .target("openstack-kvm")
        .configuration("retries", 2)
        .provider(provider.to_string(), "")
        .snapshot()
}

/// A snapshot of an image, after a command of the template; the server ends as `fate` says.
fn customised(fake: &Fake, fate: &'static str, console: &str) -> HarnessedDelegate {
    *fake.state.fate.lock().unwrap() = (fate, console.to_owned());
    let base = json!({"id": "b1", "name": "debian", "status": "active"});
    fake.state.images().insert("b1".to_owned(), base);
    let mut template = Template::default();
    "web".clone_into(&mut template.name);
    template.commands.push(Command::new("greet", Source::Raw("echo hello".to_owned())));
    harness(fake)
        .template(template)
        .parameter("openstack_source_image", "debian")
        .parameter("flavor", "f1")
        .parameter("openstack_network", "n1")
        .open()
        .unwrap()
}

fn images(fake: &Fake) -> Vec<String> {
    fake.state.images().keys().cloned().collect()
}

#[test]
fn a_server_that_is_there_is_found_by_name_and_left_as_it_is() {
    let fake = Fake::start();
    fake.state.servers.lock().unwrap().insert("s7".into(), json!({"id": "s7", "name": "db"}));
    let delegate = harness(&fake).parameter("openstack_server", "db").open().unwrap();
    let identity = delegate.snapshot_image_on_provider().unwrap();
    assert_eq!(identity.identifier_on_provider, "i1");
    let image = fake.image();
    assert_eq!((&image["visibility"], &image["min_ram"]), (&json!("shared"), &json!(256)));
    assert_eq!(fake.times("DELETE"), 0);
}

#[test]
fn what_is_not_there_is_told_before_anything_is_made() {
    let fake = Fake::start();
    customised(&fake, "ACTIVE", "").check_provider().unwrap();
    // No image is registered on trial: a snapshot is not pushed.
    assert_eq!(fake.times("POST"), 0);
    for (parameter, value) in
        [("openstack_server", "bd"), ("openstack_source_image", "debain"), ("flavor", "f0")]
    {
        let delegate = match parameter {
            "openstack_server" => harness(&fake),
            _ => harness(&fake)
                .parameter("openstack_source_image", "debian")
                .parameter("flavor", "f1"),
        };
        let delegate = delegate.parameter(parameter, value).open().unwrap();
        let told = delegate.check_provider().unwrap_err();
        assert_eq!(told.kind(), DelegateErrorKind::NotFound, "{told:?}");
        assert!(told.message().contains(value), "{told:?}");
        assert_eq!(delegate.snapshot_image_on_provider().unwrap_err(), told);
    }
    assert_eq!(images(&fake), ["b1"]);
}

#[test]
fn an_image_of_a_volume_is_told() {
    let fake = Fake::with(|state, exchange| {
        if let Some(image) = state.images().get_mut("i1") {
            image["block_device_mapping"] = "[]".into();
        }
        Err(exchange)
    });
    fake.state.servers.lock().unwrap().insert("s7".into(), json!({"id": "s7", "name": "db"}));
    let delegate = harness(&fake).parameter("openstack_server", "s7").open().unwrap();
    delegate.snapshot_image_on_provider().unwrap();
    let logs = delegate.logs();
    assert!(logs.iter().any(|record| record.message.contains("is a volume")), "{logs:?}");
}

#[test]
fn a_server_that_is_started_does_what_the_template_says_and_is_deleted() {
    let fake = Fake::with(|state, exchange| {
        if exchange.path.ends_with("/action") {
            let servers = state.servers.lock().unwrap();
            let server = &servers["s1"];
            assert_eq!((&server["imageRef"], &server["flavorRef"]), (&json!("b1"), &json!("f1")));
            assert_eq!(server["networks"], json!([{"uuid": "n1"}]));
            let script = STANDARD.decode(server["user_data"].as_str().unwrap()).unwrap();
            let command = STANDARD.encode("echo hello");
            assert!(String::from_utf8(script).unwrap().contains(&command));
        }
        Err(exchange)
    });
    let delegate = customised(&fake, "SHUTOFF", &format!("boot\n{SUCCESS}\n"));
    let left = json!({"id": "s0", "name": "imageforge-of-somebody-else"});
    fake.state.servers.lock().unwrap().insert("s0".to_owned(), left);
    let identity = delegate.snapshot_image_on_provider().unwrap();
    assert_eq!(identity.identifier_on_provider, "i1");
    assert_eq!(images(&fake), ["b1", "i1"]);
    let servers = fake.state.servers.lock().unwrap();
    assert_eq!(servers.keys().collect::<Vec<_>>(), ["s0"]);
}

#[test]
fn a_server_that_a_killed_worker_left_is_deleted_by_the_next_snapshot() {
    let fake = Fake::with(|state, exchange| {
        if exchange.method == "POST" && exchange.path.ends_with("/action") {
            let mut servers = state.servers.lock().unwrap();
            let mut left = servers["s1"].clone();
            left["id"] = "s0".into();
            servers.insert("s0".to_owned(), left);
        }
        Err(exchange)
    });
    let delegate = customised(&fake, "SHUTOFF", SUCCESS);
    delegate.snapshot_image_on_provider().unwrap();
    assert_eq!(fake.state.servers.lock().unwrap().len(), 1, "left by the fake");
    *fake.state.fate.lock().unwrap() = ("ERROR", String::new());
    delegate.snapshot_image_on_provider().unwrap_err();
    assert!(fake.state.servers.lock().unwrap().is_empty());
}

fn failed(fate: &'static str, console: &str) -> (DelegateError, Vec<String>) {
    let fake = Fake::start();
    let delegate = customised(&fake, fate, console);
    let error = delegate.snapshot_image_on_provider().unwrap_err();
    assert!(fake.state.servers.lock().unwrap().is_empty(), "{error:?}");
    assert_eq!(images(&fake), ["b1"]);
    (error, delegate.logs().into_iter().map(|record| record.message).collect())
}

#[test]
fn a_command_that_failed_makes_no_image_and_its_console_is_in_the_log() {
    let (error, logs) = failed("SHUTOFF", "boot\nsh: hello: not found\n");
    assert_eq!(error.kind(), DelegateErrorKind::Failed);
    assert!(logs.iter().any(|line| line.contains("sh: hello: not found")), "{logs:?}");
}

#[test]
fn a_server_that_cannot_be_deleted_is_told_with_what_deletes_it() {
    let fake = Fake::with(|_, exchange| match exchange.method.as_str() {
        "DELETE" => Ok(exchange.answer(403, &[], b"")),
        _ => Err(exchange),
    });
    let delegate = customised(&fake, "ERROR", "");
    let error = delegate.snapshot_image_on_provider().unwrap_err();
    let place = format!("server `s1` may be left at `{}/v2.1/servers/s1`", fake.url());
    assert!(error.causes().contains(&place), "{error:?}");
    assert!(error.hints().iter().any(|hint| hint.contains("openstack server delete s1")));
    // It is no image, which deleting the record would delete.
    assert_eq!(delegate.left_behind(), []);
}

#[test]
fn a_server_that_does_not_start_is_told_and_deleted() {
    let (error, _) = failed("ERROR", "");
    assert!(error.message().contains("is `ERROR`"), "{error:?}");
}

#[test]
fn a_cancelled_snapshot_deletes_its_server() {
    let fake = Fake::start();
    let delegate = customised(&fake, "ACTIVE", "");
    let error = std::thread::scope(|scope| {
        let making = scope.spawn(|| delegate.snapshot_image_on_provider());
        while fake.state.servers.lock().unwrap().is_empty() {
            std::thread::sleep(Duration::from_millis(5));
        }
        delegate.cancel();
        making.join().unwrap().unwrap_err()
    });
    assert_eq!(error.kind(), DelegateErrorKind::Cancelled);
    assert!(fake.state.servers.lock().unwrap().is_empty());
}

#[test]
fn a_server_whose_start_was_not_answered_is_deleted() {
    let fake = Fake::with(|state, mut exchange| {
        if exchange.method != "POST" || !exchange.path.ends_with("/servers") {
            return Err(exchange);
        }
        let mut server = exchange.document().unwrap()["server"].take();
        server["id"] = "s9".into();
        state.servers.lock().unwrap().insert("s9".to_owned(), server);
        Ok(Ok(()))
    });
    let error = customised(&fake, "ACTIVE", "").snapshot_image_on_provider().unwrap_err();
    assert_eq!(error.kind(), DelegateErrorKind::Unavailable);
    assert!(fake.state.servers.lock().unwrap().is_empty());
}

#[test]
fn a_snapshot_without_an_origin_is_refused() {
    let fake = Fake::start();
    for parameters in [
        &[("openstack_source_image", "a")][..],
        &[("openstack_source_image", "a"), ("openstack_server", "b"), ("flavor", "f1")],
        &[],
    ] {
        let harness =
            parameters.iter().fold(harness(&fake), |h, (name, value)| h.parameter(*name, *value));
        let delegate = harness.open().unwrap();
        let error = delegate.snapshot_image_on_provider().unwrap_err();
        assert_eq!(error.kind(), DelegateErrorKind::InvalidInput);
        assert_eq!(delegate.check(), [error]);
    }
}

#[test]
fn parameters_of_snapshots_are_refused_for_a_push() {
    for name in ["openstack_server", "openstack_source_image", "openstack_network"] {
        let provider = r#"{"image_endpoint": "http://127.0.0.1:9", "auth_type": "none"}"#;
        let delegate =
            super::harness().provider(provider, "").parameter(name, "db").open().unwrap();
        let problems = delegate.check();
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert_eq!(problems[0].kind(), DelegateErrorKind::InvalidInput);
        assert!(problems[0].message().contains(&format!("parameter `{name}`")), "{problems:?}");
        assert!(problems[0].hints()[0].contains("--snapshot"), "{problems:?}");
    }
}

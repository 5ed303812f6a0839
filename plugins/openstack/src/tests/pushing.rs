//! Pushes, and what may go wrong with them.

use std::time::Duration;

use plugin_api::testing::{Built, DelegateHarness};
use plugin_api::{DelegateErrorKind, ProviderIdentity};
use plugin_kit::transfer::testing::Exchange;
use serde_json::{Value, json};

use super::super::OpenStack;
use super::fake::{Fake, State};
use super::{anonymous, harness};

pub(super) fn pushed(delegate: &plugin_api::testing::HarnessedDelegate) -> ProviderIdentity {
    match delegate.build().unwrap() {
        Built::OnProvider(identity) => identity,
        other => unreachable!("{other:?}"),
    }
}

pub(super) fn is_upload(exchange: &Exchange) -> bool {
    exchange.method == "PUT"
}

#[test]
fn an_image_arrives_as_the_provider_and_the_parameters_describe_it() {
    let fake = Fake::start();
    let provider = json!({
        "image_endpoint": fake.url(), "auth_type": "none",
        "visibility": "shared", "min_ram": 512, "tags": ["a"], "protected": true,
        "properties": {"hw_disk_bus": "scsi", "os_version": "twelve"},
    });
    let delegate = harness()
        .provider(provider.to_string(), "")
        .parameter("openstack_name", "web")
        .parameter("openstack_min_disk", 5)
        .parameter(
            "openstack_properties",
            json!({"hw_disk_bus": "virtio", "hw_qemu_guest_agent": true}),
        )
        .open()
        .unwrap();
    assert_eq!(delegate.check(), []);
    delegate.check_provider().unwrap();
    let identity = pushed(&delegate);
    let image = fake.image();
    for (name, value) in [
        ("id", json!(identity.identifier_on_provider)),
        ("name", json!("web")),
        ("status", json!("active")),
        ("disk_format", json!("qcow2")),
        ("container_format", json!("bare")),
        ("visibility", json!("shared")),
        ("min_disk", json!(5)),
        ("min_ram", json!(512)),
        ("tags", json!(["a"])),
        ("protected", json!(true)),
        ("hw_disk_bus", json!("virtio")),
        ("hw_qemu_guest_agent", json!("True")),
        ("os_distro", json!("debian")),
        ("os_version", json!("twelve")),
        ("imageforge_image_id", json!("target-image")),
    ] {
        assert_eq!(image[name], value, "{name}");
    }
    assert_eq!(delegate.progress().last(), Some(&100));
}

#[test]
fn what_passes_is_tried_again_with_a_new_image() {
    let troubles: [fn(Exchange) -> std::io::Result<()>; 5] = [
        |exchange| exchange.answer(503, &[], b""),
        |mut exchange| exchange.take(700_000).map(drop),
        |mut exchange| exchange.take(2_376_000).map(drop),
        |mut exchange| {
            exchange.take(900_000)?;
            exchange.answer(500, &[("retry-after", "0")], b"")
        },
        |exchange| exchange.answer(429, &[("retry-after", "0")], b""),
    ];
    for trouble in troubles {
        let fake = Fake::with(move |state, exchange| {
            if is_upload(&exchange) && state.count() == 1 {
                Ok(trouble(exchange))
            } else {
                Err(exchange)
            }
        });
        let identity = pushed(&anonymous(&fake.url(), &json!({})));
        assert_eq!(fake.image()["id"], identity.identifier_on_provider);
        assert_eq!(fake.image()["status"], "active");
    }
}

/// Takes an upload as a Glance does that keeps no digest.
pub(super) fn take(state: &State, exchange: &mut Exchange) -> String {
    let id = exchange.path.split('/').nth(3).unwrap().to_owned();
    let bytes = exchange.body().unwrap();
    let mut images = state.images();
    let image = images.get_mut(&id).unwrap();
    image["size"] = bytes.len().into();
    image["status"] = "active".into();
    id
}

#[test]
fn an_image_whose_answer_was_lost_is_not_sent_twice() {
    let fake = Fake::with(|state, mut exchange| {
        if !is_upload(&exchange) {
            return Err(exchange);
        }
        take(state, &mut exchange);
        Ok(Ok(()))
    });
    pushed(&anonymous(&fake.url(), &json!({})));
    assert_eq!((fake.times("PUT"), fake.times("POST")), (1, 1));
}

#[test]
fn a_create_whose_answer_was_lost_makes_one_image() {
    let fake = Fake::with(|state, mut exchange| {
        if exchange.method != "POST" || state.count() > 1 {
            return Err(exchange);
        }
        let mut image = exchange.document().unwrap();
        image["status"] = "queued".into();
        state.images().insert(image["id"].as_str().unwrap().to_owned(), image);
        Ok(Ok(()))
    });
    pushed(&anonymous(&fake.url(), &json!({})));
    assert_eq!((fake.times("PUT"), fake.times("POST")), (1, 2));
    assert_eq!(fake.image()["status"], "active");
}

/// A push that a trouble ends, and what it leaves.
fn failed(
    trouble: impl Fn(&State, Exchange) -> Result<std::io::Result<()>, Exchange> + Send + Sync + 'static,
) -> (plugin_api::DelegateError, Fake) {
    let fake = Fake::with(trouble);
    let error = anonymous(&fake.url(), &json!({})).build().unwrap_err();
    assert_eq!(*fake.state.images(), std::collections::BTreeMap::new(), "{error:?}");
    (error, fake)
}

#[test]
fn a_full_server_is_told_with_what_helps_and_leaves_nothing() {
    let (error, fake) = failed(|_, mut exchange| {
        if !is_upload(&exchange) {
            return Err(exchange);
        }
        exchange.take(300_000).unwrap();
        Ok(exchange.answer(413, &[], b"<html><body>Image storage media is full</body></html>"))
    });
    assert_eq!(error.kind(), DelegateErrorKind::Unavailable);
    assert_eq!(error.causes(), ["the server says: Image storage media is full"]);
    assert!(error.hints()[0].contains("free space"));
    assert_eq!(fake.times("PUT"), 1);
}

#[test]
fn a_server_that_stays_bad_is_given_up_and_nothing_is_left() {
    let (error, fake) = failed(|_, exchange| {
        if is_upload(&exchange) {
            Ok(exchange.answer(503, &[("retry-after", "0")], b""))
        } else {
            Err(exchange)
        }
    });
    assert_eq!(error.kind(), DelegateErrorKind::Unavailable);
    assert_eq!(fake.times("PUT"), 3);
    // Nothing of it was taken, and the image that is there is offered again.
    let (_, fake) = failed(|_, exchange| {
        if is_upload(&exchange) {
            Ok(exchange.answer(429, &[("retry-after", "0")], b""))
        } else {
            Err(exchange)
        }
    });
    assert_eq!((fake.times("PUT"), fake.times("POST")), (3, 1));
    let (_, fake) = failed(|_, exchange| match exchange.method.as_str() {
        "POST" => Ok(exchange.answer(503, &[("retry-after", "0")], b"")),
        _ => Err(exchange),
    });
    assert_eq!(fake.times("POST"), 3);
}

#[test]
fn a_server_that_is_also_slow_to_delete_is_asked_again() {
    let (_, fake) = failed(|state, exchange| {
        if is_upload(&exchange) {
            return Ok(exchange.answer(413, &[], b""));
        }
        if exchange.method == "DELETE" && state.count() < 3 {
            return Ok(exchange.answer(503, &[("retry-after", "0")], b""));
        }
        Err(exchange)
    });
    assert_eq!(fake.times("DELETE"), 3);
}

#[test]
fn damage_on_the_way_is_noticed() {
    let (error, _) = failed(|state, mut exchange| {
        if !is_upload(&exchange) {
            return Err(exchange);
        }
        let id = take(state, &mut exchange);
        state.images().get_mut(&id).unwrap()["checksum"] = "0".repeat(32).into();
        Ok(exchange.answer(204, &[], b""))
    });
    assert_eq!(error.message(), "the image arrived damaged");
    assert!(error.causes()[0].contains("MD5"), "{error:?}");
}

#[test]
fn an_image_that_the_service_gives_up_is_told() {
    let (error, _) = failed(|state, mut exchange| {
        if !is_upload(&exchange) {
            return Err(exchange);
        }
        exchange.body().unwrap();
        state.images().values_mut().for_each(|image| image["status"] = "killed".into());
        Ok(exchange.answer(204, &[], b""))
    });
    assert!(error.message().contains("`killed`"), "{error:?}");
}

#[test]
fn a_cancelled_push_ends_at_once_and_leaves_nothing() {
    let fake = Fake::with(|_, mut exchange| {
        if !is_upload(&exchange) {
            return Err(exchange);
        }
        exchange.take(1_200_000).unwrap();
        std::thread::sleep(Duration::from_secs(15));
        Ok(Ok(()))
    });
    let delegate = anonymous(&fake.url(), &json!({}));
    let error = std::thread::scope(|scope| {
        let pushing = scope.spawn(|| delegate.build());
        while fake.times("PUT") == 0 {
            std::thread::sleep(Duration::from_millis(5));
        }
        delegate.cancel();
        pushing.join().unwrap().unwrap_err()
    });
    assert_eq!(error.kind(), DelegateErrorKind::Cancelled);
    assert!(fake.state.images().is_empty());
    assert_eq!(fake.times("DELETE"), 1);
    delegate.abort().unwrap();
    assert_eq!(fake.times("DELETE"), 1);
}

#[test]
fn abort_removes_what_a_push_that_hangs_does_not() {
    let fake = Fake::with(|state, exchange| {
        if !is_upload(&exchange) {
            return Err(exchange);
        }
        while !state.images().is_empty() {
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(exchange.answer(410, &[], b""))
    });
    let delegate = anonymous(&fake.url(), &json!({}));
    std::thread::scope(|scope| {
        let pushing = scope.spawn(|| delegate.build());
        while fake.times("PUT") == 0 {
            std::thread::sleep(Duration::from_millis(5));
        }
        delegate.abort().unwrap();
        assert!(fake.state.images().is_empty());
        pushing.join().unwrap().unwrap_err();
    });
}

#[test]
fn what_a_killed_worker_left_of_the_same_image_is_removed() {
    let fake = Fake::start();
    let left = |id: &str, of: &str, status: &str| {
        let image = json!({"id": id, "imageforge_image_id": of, "status": status});
        fake.state.images().insert(id.to_owned(), image);
    };
    left("a", "target-image", "queued");
    left("b", "target-image", "saving");
    left("c", "target-image", "active");
    left("d", "another-image", "queued");
    let identity = pushed(&anonymous(&fake.url(), &json!({})));
    let images: Vec<String> = fake.state.images().keys().cloned().collect();
    let mut expected = vec!["c".to_owned(), "d".to_owned(), identity.identifier_on_provider];
    expected.sort();
    assert_eq!(images, expected);
}

#[test]
fn a_right_that_is_missing_costs_no_build() {
    let fake = Fake::start();
    let delegate = anonymous(&fake.url(), &json!({"visibility": "public"}));
    assert_eq!(delegate.check(), []);
    let error = delegate.check_provider().unwrap_err();
    assert_eq!(error.kind(), DelegateErrorKind::Credentials);
    assert!(error.causes()[0].contains("publicize_image"), "{error:?}");
    let left =
        json!({"id": "a", "name": "harness (imageforge looks whether it may)", "status": "queued"});
    fake.state.images().insert("a".to_owned(), left);
    anonymous(&fake.url(), &json!({})).check_provider().unwrap();
    assert!(fake.state.images().is_empty());
}

#[test]
fn what_is_tried_before_a_build_is_what_will_be_delivered() {
    for (name, format) in [("web", "raw"), (&*"é".repeat(255), "qcow2")] {
        let (sent, seen) = std::sync::mpsc::channel();
        let sent = std::sync::Mutex::new(sent);
        let fake = Fake::with(move |_, mut exchange| {
            if exchange.method != "POST" {
                return Err(exchange);
            }
            sent.lock().unwrap().send(exchange.document().unwrap()).unwrap();
            Ok(exchange.json(201, &json!({})))
        });
        let provider = json!({ "image_endpoint": fake.url(), "auth_type": "none", "name": name });
        let before_a_build = DelegateHarness::cloud(OpenStack::default())
            .target("openstack-kvm")
            .parameter("openstack_image_format", format)
            .provider(provider.to_string(), "");
        before_a_build.open().unwrap().check_provider().unwrap();
        let tried = seen.recv().unwrap();
        assert_eq!(tried["disk_format"], format);
        let tried = tried["name"].as_str().unwrap();
        assert!(
            tried.starts_with(name.chars().next().unwrap()) && tried.ends_with(" may)"),
            "{tried}"
        );
        assert!(tried.chars().count() <= 255, "{tried}");
    }
}

#[test]
fn an_image_that_comes_late_is_removed_too() {
    let (error, fake) = failed(|state, mut exchange| {
        let first = exchange.method == "DELETE" && state.count() == 1;
        if first {
            let late = json!({"id": exchange.path.split('/').nth(3), "status": "queued"});
            state.images().insert(late["id"].as_str().unwrap().to_owned(), late);
            return Ok(exchange.answer(404, &[], b""));
        }
        if exchange.method == "POST" {
            exchange.body().unwrap();
            return Ok(exchange.answer(400, &[], b""));
        }
        Err(exchange)
    });
    assert_eq!(error.kind(), DelegateErrorKind::InvalidInput);
    assert_eq!(fake.times("DELETE"), 2);
}

#[test]
fn another_service_is_told_apart() {
    let fake = Fake::with(|_, exchange| Ok(exchange.json(200, &json!({"hello": "world"}))));
    let error = anonymous(&fake.url(), &json!({})).check_provider().unwrap_err();
    assert_eq!(error.kind(), DelegateErrorKind::Unavailable);
    assert!(error.message().contains("makes no sense"), "{error:?}");
    let fake = Fake::with(|_, exchange| Ok(exchange.json(404, &json!({}))));
    let error = anonymous(&fake.url(), &json!({})).check_provider().unwrap_err();
    assert!(error.hints()[0].contains("the URL of the image service"), "{error:?}");
}

#[test]
fn deleting_takes_what_is_gone_for_deleted_and_respects_protection() {
    let fake = Fake::start();
    let image = |protected: bool| json!({"id": "a", "status": "active", "protected": protected});
    let delete = |id: &str| {
        let provider: Value = json!({"image_endpoint": fake.url(), "auth_type": "none"});
        let delegate = harness().provider(provider.to_string(), "").identifier_on_provider(id);
        delegate.open().unwrap().delete_from_provider()
    };
    fake.state.images().insert("a".to_owned(), image(true));
    let error = delete("a").unwrap_err();
    assert_eq!(error.kind(), DelegateErrorKind::Conflict);
    assert!(error.hints()[0].contains("--unprotected a"), "{error:?}");
    fake.state.images().insert("a".to_owned(), image(false));
    delete("a").unwrap();
    delete("a").unwrap();
    let busy = Fake::with(|_, exchange| Ok(exchange.answer(503, &[("retry-after", "0")], b"")));
    let provider = json!({"image_endpoint": busy.url(), "auth_type": "none"}).to_string();
    let patient = harness().configuration("retries", 6).provider(provider, "");
    patient.identifier_on_provider("a").open().unwrap().delete_from_provider().unwrap_err();
    assert_eq!(busy.times("DELETE"), 3);
    for id in ["", "../a", "a?b"] {
        assert_eq!(delete(id).unwrap_err().kind(), DelegateErrorKind::InvalidInput);
    }
}

//! Images that are made from others which are not finished yet.

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::{Daemon, Workshop};

const SLOTS: &str = "slots = { build = 1, convert = 1, push = 1 }\n[limits]\nreserve_mib = 16";

/// Accepts a target image of `base`, whatever its state.
fn target_of(daemon: &Daemon<'_>, base: &Value) -> Value {
    let answer =
        daemon.post("/v1/builds", &json!({ "base_image": base["id"], "targets": ["mock"] }));
    assert_eq!(answer.status, 202, "{answer:?}");
    let images = answer.json()["images"].as_array().unwrap().clone();
    let target = images.last().unwrap().clone();
    assert_eq!((&target["status"], &target["base_image_id"]), (&json!("PENDING"), &base["id"]));
    target
}

#[test]
fn an_image_of_an_unfinished_one_is_accepted_and_built_when_that_is_complete() {
    let workshop = Workshop::new();
    let daemon = Daemon::start(&workshop, SLOTS);
    let base = daemon.build(&[], &json!({ "run": workshop.hold() })).remove(0);
    // More than there are places for running jobs: none may stand in the way of another base image.
    let targets: Vec<_> = (0..10).map(|_| target_of(&daemon, &base)).collect();
    let other = daemon.build(&[], &json!({ "delay_ms": 1 })).remove(0);
    let cloud = workshop.path("cloud");
    fs_err::create_dir(&cloud).unwrap();
    let push = json!({
        "target_image": targets[0]["id"], "targets": ["mock"],
        "provider": cloud, "credentials": "{\"username\": \"ada\"}",
    });
    let answer = daemon.post("/v1/builds", &push);
    assert_eq!(answer.status, 202, "{answer:?}");
    workshop.let_go();
    for image in targets.iter().chain([&other, &answer.json()["images"][0]]) {
        let record = daemon.ended(image);
        assert_eq!(record["status"], "COMPLETE", "{record:#}");
    }
}

#[test]
fn an_image_of_one_that_fails_or_is_cancelled_ends_as_that_one_did() {
    let workshop = Workshop::new();
    let daemon = Daemon::start(&workshop, SLOTS);
    let failing = json!({ "run": workshop.hold(), "fail_with": "unavailable" });
    let fails = daemon.build(&[], &failing).remove(0);
    let target = target_of(&daemon, &fails);
    workshop.let_go();
    let target = daemon.ended(&target);
    assert_eq!(
        (&target["status"], &target["status_detail"]["kind"]),
        (&json!("FAILED"), &json!("unavailable")),
        "{target:#}"
    );

    let endless = daemon.build(&[], &json!({ "delay_ms": 600_000 })).remove(0);
    let target = target_of(&daemon, &endless);
    let cancel = format!("/v1/images/{}/cancel", endless["id"].as_str().unwrap());
    assert_eq!(daemon.post(&cancel, &json!({})).status, 202);
    assert_eq!(daemon.ended(&target)["status"], "CANCELLED");
}

#[test]
fn what_waits_for_an_image_still_does_so_after_the_daemon_was_killed() {
    let workshop = Workshop::new();
    let daemon = Daemon::start(&workshop, SLOTS);
    let endless = daemon.build(&[], &json!({ "delay_ms": 600_000 })).remove(0);
    let queued = daemon.build(&[], &json!({ "delay_ms": 700 })).remove(0);
    let [of_endless, of_queued] = [&endless, &queued].map(|base| target_of(&daemon, base));
    assert_eq!(daemon.stop(Signal::KILL), None);

    let daemon = Daemon::start(&workshop, SLOTS);
    assert_eq!(daemon.ended(&of_endless)["status"], "FAILED");
    let image = daemon.ended(&of_queued);
    assert_eq!(image["status"], "COMPLETE", "{image:#}");
    assert_eq!(daemon.ended(&queued)["status"], "COMPLETE");
}

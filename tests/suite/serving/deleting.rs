//! Deleting what a provider holds, while the daemon goes on or stops.

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::{Answer, Daemon, Workshop, wait_for};

/// An image at a provider whose plugin does what the credentials say when it is to delete it.
fn delivered(workshop: &Workshop, daemon: &Daemon<'_>) -> Value {
    let request = json!({
        "template": fs_err::read_to_string(workshop.path("mock.tdl")).unwrap(),
        "targets": ["misbehaving"], "provider": "somewhere", "credentials": "do: nothing",
    });
    let answer = daemon.post("/v1/builds", &request);
    assert_eq!(answer.status, 202, "{}", answer.text());
    let image = answer.json()["images"][2].clone();
    let image = daemon.ended(&image);
    assert_eq!(image["status"], "COMPLETE", "{image:#}");
    image
}

fn delete(daemon: &Daemon<'_>, image: &Value, credentials: &str) -> Answer {
    delete_with(daemon, image, &json!({ "credentials": credentials }))
}

fn delete_with(daemon: &Daemon<'_>, image: &Value, access: &Value) -> Answer {
    let path = format!("/v1/images/{}", image["id"].as_str().unwrap());
    let request = daemon.request("DELETE", &path).header("content-type", "application/json");
    Daemon::send(request.body(access.to_string().into_bytes()).unwrap())
}

fn status(daemon: &Daemon<'_>, image: &Value) -> String {
    let path = format!("/v1/images/{}", image["id"].as_str().unwrap());
    daemon.get(&path).json()["status"].as_str().unwrap_or("gone").to_owned()
}

#[test]
fn a_daemon_that_stops_ends_a_deletion_that_takes_too_long_and_says_so() {
    let workshop = Workshop::new();
    workshop.link_misbehaving("clouds");
    let daemon = Daemon::start(&workshop, "stop_seconds = 1");
    let image = delivered(&workshop, &daemon);
    assert_eq!(delete(&daemon, &image, "do: loop").status, 204);
    assert_eq!(status(&daemon, &image), "DELETING");
    assert_eq!(delete(&daemon, &image, "do: nothing").status, 409, "it is being deleted");
    assert_eq!(daemon.stop(Signal::TERM), Some(0));
    let [record] = &workshop.images_of("provider")[..] else { panic!("there is one") };
    assert_eq!(record["status"], "DELETEFAILED", "{record:#}");
    workshop.assert_quiet();

    let daemon = Daemon::start(&workshop, "");
    assert_eq!(delete(&daemon, &image, "do: nothing").status, 204);
    wait_for("the image to be gone", || (status(&daemon, &image) == "gone").then_some(()));
}

#[test]
fn what_a_plugin_does_while_it_deletes_harms_nobody_and_is_told() {
    let workshop = Workshop::new();
    workshop.link_misbehaving("clouds");
    let daemon = Daemon::start(&workshop, "");
    let image = delivered(&workshop, &daemon);
    assert_eq!(delete(&daemon, &image, "do: segfault").status, 204);
    wait_for("the deletion to fail", || (status(&daemon, &image) == "DELETEFAILED").then_some(()));
    let record = daemon.get(&format!("/v1/images/{}", image["id"].as_str().unwrap())).json();
    assert!(record["status_detail"].to_string().contains("SIGSEGV"), "{record:#}");
}

#[test]
fn what_nobody_asks_a_provider_for_is_gone_at_once() {
    let workshop = Workshop::new();
    workshop.link_misbehaving("clouds");
    let daemon = Daemon::start(&workshop, "");
    let image = delivered(&workshop, &daemon);
    workshop.unlink("clouds");
    wait_for("the target to be gone", || {
        let targets = daemon.get("/v1/targets").text();
        (!targets.contains("misbehaving")).then_some(())
    });
    assert_eq!(delete(&daemon, &image, "do: nothing").status, 204);
    wait_for("the deletion to fail", || (status(&daemon, &image) == "DELETEFAILED").then_some(()));
    assert_eq!(delete_with(&daemon, &image, &json!({ "leave_at_provider": true })).status, 204);
    assert_eq!(status(&daemon, &image), "gone");
}

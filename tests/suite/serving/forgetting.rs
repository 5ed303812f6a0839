//! What the daemon forgets of jobs that are done, and what it must not.

use rusqlite::Connection;
use rustix::process::Signal;
use serde_json::{Value, json};

use super::operations::figure;
use crate::support::{Daemon, Receiver, Reply, Told, Workshop, texts, wait_for};

/// Sends a request for `targets` with an idempotency key; the answer once all images have reached their end.
#[track_caller]
fn built(daemon: &Daemon<'_>, workshop: &Workshop, targets: &[&str], more: &Value) -> Value {
    let template = fs_err::read_to_string(workshop.path("mock.tdl")).unwrap();
    let mut request = json!({ "template": template, "targets": targets });
    request.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let sent = daemon
        .request("POST", "/v1/builds")
        .header("content-type", "application/json")
        .header("idempotency-key", format!("{targets:?}"))
        .body(request.to_string().into_bytes());
    let answer = Daemon::send(sent.unwrap());
    assert_eq!(answer.status, 202, "{answer:?}");
    let answer = answer.json();
    for image in answer["images"].as_array().unwrap() {
        assert_eq!(daemon.ended(image)["status"], "COMPLETE");
    }
    answer
}

/// The status of the answer to a look at the job.
fn look(daemon: &Daemon<'_>, answer: &Value) -> u16 {
    daemon.get(&format!("/v1/jobs/{}", answer["job"].as_str().unwrap())).status
}

#[track_caller]
fn delete(daemon: &Daemon<'_>, image: &Value) {
    let path = format!("/v1/images/{}?cascade=true", image["id"].as_str().unwrap());
    let answer = Daemon::send(daemon.request("DELETE", &path).body(Vec::new()).unwrap());
    assert_eq!(answer.status, 204, "{answer:?}");
}

/// Waits until so many messages have been delivered since the store was made.
#[track_caller]
fn told(daemon: &Daemon<'_>, messages: u64) {
    let delivered = "imageforge_callback_messages_total{result=\"delivered\"}";
    wait_for("messages", || {
        (figure(&daemon.get("/metrics").text(), delivered) == messages).then_some(())
    });
}

/// Stops the daemon, and has all jobs be as old as this.
fn stop(daemon: Daemon<'_>, workshop: &Workshop, days: u32) {
    assert_eq!(daemon.stop(Signal::TERM), Some(0));
    let store = Connection::open(workshop.data_dir().join("store.db")).unwrap();
    let then = "UPDATE jobs SET created = strftime('%Y-%m-%dT%H:%M:%SZ', 'now', ?1)";
    assert!(store.execute(then, [format!("-{days} days")]).unwrap() > 0);
}

/// Starts the daemon again `days` after all jobs were accepted.
fn restart<'w>(daemon: Daemon<'w>, workshop: &'w Workshop, days: u32) -> Daemon<'w> {
    stop(daemon, workshop, days);
    Daemon::start(workshop, "")
}

#[test]
fn a_job_is_forgotten_when_it_is_old_and_what_it_made_is_deleted() {
    let workshop = Workshop::new();
    let daemon = Daemon::start(&workshop, "");
    let gone = built(&daemon, &workshop, &["mock"], &json!({ "rebuild": true }));
    let there = built(&daemon, &workshop, &["mockstack"], &json!({ "rebuild": true }));
    delete(&daemon, &gone["images"][0]);

    // It is young.
    let daemon = restart(daemon, &workshop, 29);
    assert_eq!((look(&daemon, &gone), look(&daemon, &there)), (200, 200));
    let daemon = restart(daemon, &workshop, 31);
    assert_eq!((look(&daemon, &gone), look(&daemon, &there)), (404, 200));
    // A key is as good as its job.
    let again = built(&daemon, &workshop, &["mockstack"], &json!({ "rebuild": true }));
    assert_eq!(again["job"], there["job"]);
    let anew = built(&daemon, &workshop, &["mock"], &json!({ "rebuild": true }));
    assert_ne!(anew["job"], gone["job"]);
}

#[test]
fn a_job_is_kept_until_its_receivers_were_told_of_everything_and_is_counted_ever_after() {
    let workshop = Workshop::new();
    let daemon = Daemon::start(&workshop, "");
    let base = built(&daemon, &workshop, &[], &json!({}))["images"][0].clone();
    let receiver = Receiver::new(|_| Reply::Status(503));
    let callbacks = json!({ "callbacks": [receiver.url("", "/")] });
    let job = built(&daemon, &workshop, &["mock"], &callbacks);
    assert_eq!(job["images"][0]["id"], base["id"]);
    delete(&daemon, &job["images"][1]);

    // Nobody was told; at the next start the receiver is there.
    stop(daemon, &workshop, 31);
    receiver.behave(|_| Reply::Status(200));
    let daemon = Daemon::start(&workshop, "");
    assert_eq!(look(&daemon, &job), 200);
    told(&daemon, 5);
    // The base image, which was there before, is still to be told of.
    let daemon = restart(daemon, &workshop, 31);
    assert_eq!(look(&daemon, &job), 200);
    delete(&daemon, &base);
    told(&daemon, 7);
    let heard: Vec<Value> = receiver.acknowledged(7).iter().map(Told::image).collect();
    let states = ["PENDING", "BUILDING", "COMPLETE", "DELETING", "DELETED", "DELETING", "DELETED"];
    assert_eq!(texts(&heard, "status"), states);
    assert_eq!(heard[6]["id"], base["id"]);

    let daemon = restart(daemon, &workshop, 31);
    assert_eq!(look(&daemon, &job), 404);
    told(&daemon, 7);
    drop(daemon);
    let store = Connection::open(workshop.data_dir().join("store.db")).unwrap();
    for table in ["jobs", "callbacks", "callback_images", "callback_messages"] {
        let count = format!("SELECT count(*) FROM {table}");
        let left: i64 = store.query_row(&count, [], |row| row.get(0)).unwrap();
        assert_eq!(left, 0, "{table}");
    }
}

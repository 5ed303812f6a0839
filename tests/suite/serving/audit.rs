//! Who did what: the audit log.

use std::io::Write;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::{Value, json};

use crate::support::{Daemon, Workshop, wait_for};

/// The lines of a log.
#[track_caller]
fn lines(path: &Path) -> Vec<Value> {
    let text = fs_err::read_to_string(path).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[track_caller]
fn requests(workshop: &Workshop) -> Vec<Value> {
    let mut lines = lines(&workshop.data_dir().join("audit.log"));
    lines.retain(|line| line["request_id"].is_string());
    lines
}

fn send(daemon: &Daemon<'_>, token: &str, method: &str, path: &str) -> u16 {
    Daemon::send(daemon.request_of(token, method, path).body(Vec::new()).unwrap()).status
}

#[test]
fn every_change_and_every_refusal_is_written_down_with_who_what_and_how_it_ended() {
    let workshop = Workshop::new();
    let daemon = Daemon::start(&workshop, "");
    let reader = workshop.run(&["tokens", "create", "reader", "--scope", "images:read"]).done();
    let reader = reader.stdout.trim();
    let images = daemon.build(&["mock"], &json!({}));
    let ids: Vec<&str> = images.iter().map(|image| image["id"].as_str().unwrap()).collect();
    daemon.ended(&images[1]);
    let path = format!("/v1/images/{}", ids[1]);
    assert_eq!(send(&daemon, reader, "GET", &path), 200);
    assert_eq!(send(&daemon, reader, "DELETE", &path), 403);
    assert_eq!(send(&daemon, "imageforge_guess", "GET", "/v1/images"), 401);
    let delete = daemon.request("DELETE", &path).header("x-request-id", "ci-4711");
    assert_eq!(Daemon::send(delete.body(Vec::new()).unwrap()).status, 204);

    let audit = workshop.data_dir().join("audit.log");
    assert_eq!(fs_err::metadata(audit).unwrap().permissions().mode() & 0o777, 0o600);
    let lines = requests(&workshop);
    let short: Vec<Value> = lines
        .iter()
        .map(|line| {
            json!([line["user"], line["credential"], line["method"], line["route"], line["status"]])
        })
        .collect();
    assert_eq!(
        short,
        [
            json!(["suite", "token", "POST", "/v1/builds", 202]),
            json!(["reader", "token", "DELETE", "/v1/images/{id}", 403]),
            json!([null, "none", "GET", "/v1/images", 401]),
            json!(["suite", "token", "DELETE", "/v1/images/{id}", 204]),
        ]
    );
    assert_eq!(lines[0]["images"], json!(ids));
    assert_eq!(lines[0]["jobs"].as_array().unwrap().len(), 1);
    assert_eq!(lines[1]["reason"], "`reader` lacks the scope `images:write`");
    assert_eq!((&lines[3]["images"], &lines[3]["path"]), (&json!([ids[1]]), &json!(path)));
    assert_eq!(lines[3]["request_id"], "ci-4711");
    for line in &lines {
        assert_eq!(line["address"], "127.0.0.1");
        assert!(line["time"].as_str().unwrap().ends_with('Z'), "{line}");
    }
}

#[test]
fn commands_that_change_something_are_written_down_too() {
    let workshop = Workshop::new();
    workshop.run(&["tokens", "create", "ci", "--scope", "admin"]).done();
    workshop.run(&["tokens", "revoke", "ci"]).done();
    workshop.run(&["tokens", "revoke", "ci"]).refused(5);
    let image = workshop.build(&[])[0]["id"].as_str().unwrap().to_owned();
    workshop.run(&["images", "delete", &image]).done();
    workshop.run(&["images", "list"]).done();
    let lines = lines(&workshop.data_dir().join("audit.log"));
    let short: Vec<Value> = lines
        .iter()
        .map(|line| json!([line["command"], line["exit_code"], line["tokens"], line["images"]]))
        .collect();
    assert_eq!(
        short,
        [
            json!(["tokens create", 0, ["ci"], null]),
            json!(["tokens revoke", 0, ["ci"], null]),
            json!(["tokens revoke", 5, ["ci"], null]),
            json!(["images delete", 0, null, [image]]),
        ]
    );
    for line in &lines {
        assert!(line["user"].as_str().unwrap().starts_with("local:"), "{line}");
        assert_eq!(line["credential"], "command-line");
    }
}

#[test]
fn a_log_that_somebody_puts_aside_is_begun_anew() {
    let workshop = Workshop::new();
    let daemon = Daemon::start(&workshop, "audit_log = \"who-did-what\"");
    let log = workshop.path("who-did-what");
    assert_eq!(send(&daemon, "imageforge_guess", "GET", "/v1/images"), 401);
    assert_eq!(lines(&log).len(), 1);
    fs_err::rename(&log, workshop.path("who-did-what.1")).unwrap();
    assert_eq!(send(&daemon, "imageforge_guess", "POST", "/v1/builds"), 401);
    assert_eq!(lines(&log)[0]["method"], "POST");
    assert_eq!(lines(&workshop.path("who-did-what.1")).len(), 1);
    assert!(requests(&workshop).is_empty());
}

#[test]
fn a_log_that_cannot_be_written_stops_nobody_and_is_told_until_it_can() {
    let workshop = Workshop::new();
    let daemon = Daemon::start(&workshop, "audit_log = \"gone/audit\"");
    daemon.build(&[], &json!({}));
    let ready = daemon.get("/v1/health/ready");
    assert_eq!(ready.status, 503);
    let conditions = ready.json()["conditions"].as_array().unwrap().clone();
    let audit = conditions.iter().find(|condition| condition["name"] == "audit-log").unwrap();
    let problem = audit["problem"].as_str().unwrap();
    assert!(problem.contains("the audit log is not written") && problem.contains("gone/audit"));
    fs_err::create_dir(workshop.path("gone")).unwrap();
    assert_eq!(daemon.get("/v1/health/ready").status, 200);
    let lines = lines(&workshop.path("gone/audit"));
    assert_eq!((lines.len(), &lines[0]["omitted"]), (1, &json!(1)), "{lines:#?}");
}

#[test]
fn who_is_refused_again_and_again_does_not_push_out_what_others_did() {
    let workshop = Workshop::new();
    let daemon = Daemon::start(&workshop, "rates = { failures_per_minute = 0 }");
    for _ in 0..400 {
        assert_eq!(send(&daemon, "imageforge_guess", "GET", "/v1/images"), 401);
    }
    daemon.build(&[], &json!({}));
    let lines = requests(&workshop);
    assert!((100..300).contains(&lines.len()), "{}", lines.len());
    let omitted: u64 = lines.iter().filter_map(|line| line["omitted"].as_u64()).sum();
    assert_eq!(lines.len() as u64 + omitted, 401);
    assert_eq!(lines.last().unwrap()["user"], "suite");
}

#[test]
fn a_request_whose_client_is_gone_is_written_down_too() {
    let workshop = Workshop::new();
    let daemon = Daemon::start(&workshop, "");
    let head = daemon.request("POST", "/v1/builds").body(()).unwrap();
    let address = head.uri().authority().unwrap().as_str();
    let token = head.headers()["authorization"].to_str().unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    let text = format!(
        "POST /v1/builds HTTP/1.1\r\nHost: {address}\r\nAuthorization: {token}\r\n\
         Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n{{"
    );
    stream.write_all(text.as_bytes()).unwrap();
    wait_for("the request to be looked at", || {
        let tokens = workshop.json(&["tokens", "list"]);
        tokens[0]["last_used"].is_string().then_some(())
    });
    drop(stream);
    let line = wait_for("its line", || {
        let log = workshop.data_dir().join("audit.log");
        let is_written = log.exists() && !requests(&workshop).is_empty();
        is_written.then(|| requests(&workshop).remove(0))
    });
    assert_eq!((&line["user"], &line["path"]), (&json!("suite"), &json!("/v1/builds")));
    assert_ne!(line["status"], 202);
}

//! Who may ask for what.

use rustix::process::Signal;
use serde_json::json;

use crate::support::{Daemon, Workshop, kill, wait_for};

/// Makes a token and answers it.
fn token(workshop: &Workshop, name: &str, scopes: &[&str]) -> String {
    let mut create = vec!["tokens", "create", name];
    create.extend(scopes.iter().flat_map(|scope| ["--scope", scope]));
    workshop.run(&create).done().stdout.trim().to_owned()
}

fn status(request: ureq::http::request::Builder) -> u16 {
    Daemon::send(request.body(Vec::new()).unwrap()).status
}

/// What a request at the daemon's own socket is answered.
fn at_socket(workshop: &Workshop, request: &str) -> String {
    use std::io::{Read, Write};

    let path = workshop.data_dir().join("serve.sock");
    let mut stream = std::os::unix::net::UnixStream::connect(path).unwrap();
    let request = format!("{request} HTTP/1.1\r\nHost: local\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn without_credentials_only_name_and_liveness_are_answered() {
    let workshop = Workshop::new();
    let daemon = Daemon::start(&workshop, "");
    let health = Daemon::send(daemon.anonymous("GET", "/v1/health").body(Vec::new()).unwrap());
    assert_eq!((health.status, health.json()), (200, json!({ "status": "ready" })));
    assert!(daemon.get("/v1/health").json()["slots"].is_object());
    assert_eq!(status(daemon.anonymous("GET", "/v1")), 200);
    for (method, path) in [
        ("GET", "/v1/images"),
        ("GET", "/v1/images/x/log"),
        ("GET", "/v1/events"),
        ("GET", "/v1/targets"),
        ("GET", "/v1/plugins"),
        ("POST", "/v1/builds"),
        ("DELETE", "/v1/images/x"),
        ("POST", "/v1/health"),
        ("GET", "/v1/nothing"),
        ("GET", "/"),
    ] {
        let answer = Daemon::send(daemon.anonymous(method, path).body(Vec::new()).unwrap());
        assert_eq!(answer.status, 401, "{method} {path}");
        assert_eq!(answer.headers["www-authenticate"], "Bearer realm=\"imageforge\"");
        assert_eq!(answer.headers["content-type"], "application/problem+json");
        assert_eq!(answer.json()["code"], "unauthenticated");
    }
}

#[test]
fn a_scope_that_is_missing_is_named() {
    let workshop = Workshop::new();
    let daemon = Daemon::start(&workshop, "");
    let reader = token(&workshop, "reader", &["images:read"]);
    assert_eq!(status(daemon.request_of(&reader, "GET", "/v1/images")), 200);
    for (method, path, scope) in [
        ("POST", "/v1/builds", "images:write"),
        ("DELETE", "/v1/images/x", "images:write"),
        ("GET", "/v1/plugins", "plugins:read"),
    ] {
        let request = daemon.request_of(&reader, method, path).body(Vec::new()).unwrap();
        let answer = Daemon::send(request);
        assert_eq!((answer.status, &answer.json()["code"]), (403, &json!("forbidden")));
        let detail = answer.json()["detail"].to_string();
        assert!(detail.contains(&format!("`reader` lacks the scope `{scope}`")), "{detail}");
    }
}

#[test]
fn a_token_is_in_force_at_once_and_revoked_at_once() {
    let workshop = Workshop::new();
    let daemon = Daemon::start(&workshop, "");
    let ci = token(&workshop, "ci", &["images:write", "plugins:read"]);
    assert_eq!(status(daemon.request_of(&ci, "GET", "/v1/plugins")), 200);
    let tokens = workshop.json(&["tokens", "list"]);
    let listed = tokens.as_array().unwrap().iter().find(|token| token["name"] == "ci").unwrap();
    assert_eq!(listed["scopes"], json!(["images:write", "plugins:read"]));
    assert!(listed["last_used"].is_string(), "{listed}");
    workshop.run(&["tokens", "revoke", "ci"]).done();
    assert_eq!(status(daemon.request_of(&ci, "GET", "/v1/plugins")), 401);
    workshop.run(&["tokens", "revoke", "ci"]).refused(5).says("there is no token `ci`");
}

#[test]
fn a_token_is_shown_once_and_never_again() {
    let workshop = Workshop::new();
    let secret = token(&workshop, "ci", &["admin"]);
    assert!(secret.starts_with("imageforge_") && secret.len() == 75, "{secret}");
    workshop.run(&["tokens", "list"]).done().prints("ci").never_says(&secret);
    let list = workshop.run(&["tokens", "list", "--format", "json"]).done();
    list.never_says(&secret);
}

#[test]
fn a_token_that_could_not_be_meant_is_refused() {
    let workshop = Workshop::new();
    let refused = |arguments: &[&str], code, text| {
        workshop.run(&[&["tokens", "create"], arguments].concat()).refused(code).says(text);
    };
    refused(&["ci", "--scope", "images:reed"], 2, "did you mean `images:read`?");
    refused(&["local:root", "--scope", "admin"], 2, "cannot be the name");
    token(&workshop, "ci", &["admin"]);
    refused(&["ci", "--scope", "admin"], 6, "there is a token `ci` already");
}

#[test]
fn the_socket_of_the_daemon_knows_its_own_user() {
    use std::os::unix::fs::PermissionsExt;

    let workshop = Workshop::new();
    let _daemon = Daemon::start(&workshop, "");
    let path = workshop.data_dir().join("serve.sock");
    assert_eq!(fs_err::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let answer = at_socket(&workshop, "GET /v1/plugins");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[test]
fn nobody_is_listened_to_in_the_clear_but_this_machine() {
    let workshop = Workshop::new();
    workshop.write("serve.toml", "[serve]\nlisten = \"0.0.0.0:0\"\n");
    let refused = workshop.run(&["--config", "serve.toml", "serve"]).refused(3);
    refused.says("refusing to listen at `0.0.0.0:0` without TLS");
}

#[test]
fn who_calls_too_often_waits_and_nobody_else_does() {
    let workshop = Workshop::new();
    let rates = "rates = { requests_per_second = 1, burst = 5 }";
    let daemon = Daemon::start(&workshop, rates);
    let (busy, quiet) =
        (token(&workshop, "busy", &["images:read"]), token(&workshop, "quiet", &["images:read"]));
    let ask = |token: &str| {
        Daemon::send(daemon.request_of(token, "GET", "/v1/images").body(Vec::new()).unwrap())
    };
    let limited = (0..100).map(|_| ask(&busy)).find(|answer| answer.status != 200).unwrap();
    assert_eq!(limited.status, 429, "{limited:?}");
    let problem = limited.json();
    assert_eq!((&problem["code"], &problem["exit_code"]), (&json!("rate-limited"), &json!(7)));
    let wait: u64 = limited.headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=2).contains(&wait), "{wait}");
    assert_eq!(ask(&quiet).status, 200);
    assert_eq!(status(daemon.anonymous("GET", "/v1")), 200);

    for _ in 0..50 {
        assert!(at_socket(&workshop, "GET /v1/images").starts_with("HTTP/1.1 200"));
    }
    workshop.write("serve.toml", "[serve]\nrates = { requests_per_second = 0 }\n");
    kill(daemon.id(), Signal::HUP);
    wait_for("the settings to be read", || (ask(&busy).status == 200).then_some(()));
    assert!((0..50).all(|_| ask(&busy).status == 200));
}

#[test]
fn an_address_that_guesses_is_not_listened_to_for_a_while() {
    let workshop = Workshop::new();
    let daemon = Daemon::start(&workshop, "rates = { failures_per_minute = 3 }");
    let reader = token(&workshop, "reader", &["images:read"]);
    let guess = || {
        let request = daemon.request_of("imageforge_guess", "GET", "/v1/images");
        Daemon::send(request.body(Vec::new()).unwrap())
    };
    let answers: Vec<u16> = (0..4).map(|_| guess().status).collect();
    assert_eq!(answers, [401, 401, 401, 429]);
    let wait: u64 = guess().headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!(wait <= 21, "{wait}");
    // Also the right one is not listened to, or guessing would go on.
    assert_eq!(status(daemon.request_of(&reader, "GET", "/v1/images")), 429);
    assert_eq!(status(daemon.anonymous("GET", "/v1/health")), 200);
    assert!(at_socket(&workshop, "GET /v1/images").starts_with("HTTP/1.1 200"));
}

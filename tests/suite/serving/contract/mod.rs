//! The contract: `docs/openapi.json`, which the daemon makes of its own routes.
//!
//! `UPDATE_GOLDEN=1` writes it anew.

use crate::support::{Daemon, Workshop, checkout};

#[test]
fn the_document_is_the_one_that_the_daemon_tells_everybody() {
    let workshop = Workshop::without_plugins();
    let daemon = Daemon::start(&workshop, "");
    let request = daemon.anonymous("GET", "/v1/openapi.json");
    let answer = Daemon::send(request.body(Vec::new()).unwrap());
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.headers["content-type"], "application/json");
    let document = answer.json();
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1."), "{}", document["openapi"]);
    let path = checkout().join("docs/openapi.json");
    let made = format!("{document:#}\n");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs_err::write(&path, &made).unwrap();
    }
    assert!(fs_err::read_to_string(&path).unwrap() == made, "set UPDATE_GOLDEN=1");
}

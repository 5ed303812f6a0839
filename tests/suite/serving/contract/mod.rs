//! The contract: `docs/openapi.json`, which the daemon makes of its own routes, and which schemathesis
//! holds it to with requests made of the document: none is answered 5xx, or what is not documented.
//!
//! `UPDATE_GOLDEN=1` writes the document anew. `make contract` tries for longer: `IMAGEFORGE_EXAMPLES` is
//! the number of requests for each route and kind of test, `IMAGEFORGE_SEED` says which.

use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};

use crate::support::{Daemon, Workshop, checkout};

/// Requests for each route and kind of test, when nobody says otherwise.
const EXAMPLES: &str = "5";
const SEED: &str = "7";

/// A program of the environment that `.ci/setup` makes.
fn program(name: &str) -> Command {
    let path = checkout().join("target/schemathesis/bin").join(name);
    assert!(path.is_file(), "`make setup` brings `{name}`");
    Command::new(path)
}

fn document() -> PathBuf {
    checkout().join("docs/openapi.json")
}

/// Requests made of the document to routes whose paths match get documented answers.
#[track_caller]
fn assert_kept(paths: &str) {
    let workshop = Workshop::new();
    let daemon =
        Daemon::start(&workshop, "[serve.rates]\nrequests_per_second = 0\nfailures_per_minute = 0");
    let template = fs_err::read_to_string(workshop.path("mock.tdl")).unwrap();
    let cloud = workshop.path("cloud");
    fs_err::create_dir(&cloud).unwrap();
    let request = json!({
        "template": template, "targets": ["mock"],
        "provider": cloud, "credentials": "{\"username\": \"ada\"}",
    });
    let accepted = daemon.post("/v1/builds", &request).json();
    for image in accepted["images"].as_array().unwrap() {
        assert_eq!(daemon.ended(image)["status"], "COMPLETE");
    }
    let variable = |name, otherwise: &str| std::env::var(name).unwrap_or(otherwise.to_owned());
    let here = checkout().join("tests/suite/serving/contract");
    let ran = program("schemathesis")
        .current_dir(workshop.path("tmp"))
        .arg("--config-file")
        .arg(here.join("schemathesis.toml"))
        .arg("run")
        .arg(document())
        .args(["--url", daemon.address(), "--include-path-regex", paths])
        .args(["--header", &format!("Authorization: Bearer {}", daemon.token())])
        .args(["--max-examples", &variable("IMAGEFORGE_EXAMPLES", EXAMPLES)])
        // How hard it finds it to make examples says nothing of the daemon.
        .args(["--suppress-health-check", "all"])
        .args(["--seed", &variable("IMAGEFORGE_SEED", SEED)])
        .env("SCHEMATHESIS_HOOKS", here.join("hooks.py"))
        .env("CONTRACT_ORIGIN", daemon.address())
        .env("CONTRACT_TOKEN", daemon.token())
        .env("CONTRACT_CLOUD", &cloud)
        .env("CONTRACT_TEMPLATE", workshop.path("mock.tdl"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&ran.stdout);
    assert!(ran.status.success(), "{said}{}", String::from_utf8_lossy(&ran.stderr));
    assert_eq!(daemon.get("/v1/health").status, 200);
}

#[test]
fn the_document_is_the_one_that_the_daemon_tells_everybody() {
    let workshop = Workshop::without_plugins();
    let daemon = Daemon::start(&workshop, "");
    let request = daemon.anonymous("GET", "/v1/openapi.json");
    let answer = Daemon::send(request.body(Vec::new()).unwrap());
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.headers["content-type"], "application/json");
    let told = answer.json();
    assert!(told["openapi"].as_str().unwrap().starts_with("3.1."), "{}", told["openapi"]);
    let made = format!("{told:#}\n");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs_err::write(document(), &made).unwrap();
    }
    assert!(fs_err::read_to_string(document()).unwrap() == made, "set UPDATE_GOLDEN=1");
}

#[test]
fn the_codes_of_problems_are_those_of_the_table() {
    let table = fs_err::read_to_string(checkout().join("docs/rest-api.md")).unwrap();
    let rows = table.lines().skip_while(|line| !line.starts_with("| `code` |")).skip(2);
    let rows = rows.map_while(|row| row.strip_prefix("| `")?.split('`').next());
    let text = fs_err::read_to_string(document()).unwrap();
    let document: Value = serde_json::from_str(&text).unwrap();
    let codes = &document["components"]["schemas"]["Problem"]["properties"]["code"]["enum"];
    let codes: Vec<&str> = codes.as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert_eq!(rows.collect::<Vec<_>>(), codes);
}

#[test]
fn the_document_is_openapi() {
    let ran = program("openapi-spec-validator").arg(document()).output().unwrap();
    assert!(ran.status.success(), "{ran:?}");
}

#[test]
fn every_request_to_v1_gets_a_documented_answer() {
    assert_kept("^/(v1|metrics)");
}

#[test]
fn every_request_to_imagefactory_gets_a_documented_answer() {
    assert_kept("^/imagefactory");
}

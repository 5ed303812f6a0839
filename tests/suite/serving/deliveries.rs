//! Several deliveries of one request at a daemon, over restarts and cancellations.

use std::os::unix::fs::PermissionsExt as _;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::{Daemon, Ran, Workshop, texts, wait_for};

const ONE_SLOT: &str = "slots = { build = 1, convert = 1, push = 1 }";

fn workshop() -> Workshop {
    let workshop = Workshop::new();
    for cloud in ["cloud-a", "cloud-b", "cloud-c"] {
        fs_err::create_dir(workshop.path(cloud)).unwrap();
    }
    workshop
}

fn request(workshop: &Workshop, targets: &[&str], deliveries: &Value) -> Value {
    let template = fs_err::read_to_string(workshop.path("mock.tdl")).unwrap();
    json!({ "template": template, "targets": targets, "deliveries": deliveries })
}

fn submit(daemon: &Daemon<'_>, request: &Value) -> Vec<Value> {
    let answer = daemon.post("/v1/builds", request);
    assert_eq!(answer.status, 202, "{}", answer.text());
    answer.json()["images"].as_array().unwrap().clone()
}

fn slow(workshop: &Workshop, cloud: &str) -> String {
    json!({ "directory": workshop.path(cloud), "delay_ms": 600_000 }).to_string()
}

fn state(daemon: &Daemon<'_>, image: &Value) -> Value {
    let path = format!("/v1/images/{}", image["id"].as_str().unwrap());
    daemon.get(&path).json()["status"].clone()
}

fn under_way(daemon: &Daemon<'_>, image: &Value) {
    wait_for("the push", || (state(daemon, image) == "BUILDING").then_some(()));
}

#[test]
fn a_list_of_deliveries_is_planned_accepted_and_delivered() {
    let workshop = workshop();
    let daemon = Daemon::start(&workshop, "");
    let [a, b, c] = ["cloud-a", "cloud-b", "cloud-c"].map(|cloud| workshop.path(cloud));
    let deliveries = json!([
        { "target": "mock", "provider": a, "credentials": r#"{"username": "ada"}"# },
        { "target": "mockstack", "provider": b },
        { "target": "mock", "provider": c, "snapshot": true },
    ]);
    let request = request(&workshop, &["mock", "mockstack"], &deliveries);
    let plan = daemon.post("/v1/builds?dry_run=true", &request).json();
    assert_eq!(
        texts(plan["providers"].as_array().unwrap(), "target"),
        ["mock", "mockstack", "mock"]
    );
    let images = submit(&daemon, &request);
    let ended: Vec<Value> = images.iter().map(|image| daemon.ended(image)).collect();
    assert_eq!(texts(&ended, "status"), ["COMPLETE"; 6]);
    assert_eq!(ended[3]["provider_account_identifier"], "ada");
    assert_eq!(
        (&ended[3]["target_image_id"], &ended[4]["target_image_id"]),
        (&ended[1]["id"], &ended[2]["id"])
    );
    assert_eq!(ended[5]["target_image_id"], Value::Null);
}

#[test]
fn a_request_says_in_one_way_what_is_delivered_where() {
    let workshop = workshop();
    let daemon = Daemon::start(&workshop, "");
    let cloud = workshop.path("cloud-a");
    let refused = |request: &Value, status: u16, says: &str| {
        let answer = daemon.post("/v1/builds", request);
        assert_eq!(answer.status, status, "{}", answer.text());
        assert!(answer.text().contains(says), "{}", answer.text());
    };
    let mut both = request(&workshop, &["mock"], &json!([{ "provider": cloud }]));
    both["provider"] = json!(cloud);
    refused(&both, 400, "either");
    let undirected = request(&workshop, &["mock", "mockstack"], &json!([{ "provider": cloud }]));
    refused(&undirected, 400, "names no target");
    let elsewhere = json!([{ "target": "mockstack", "provider": cloud }]);
    refused(&request(&workshop, &["mock"], &elsewhere), 400, "not built");
    let unknown = json!([{ "tarjet": "mock", "provider": cloud }]);
    refused(&request(&workshop, &["mock"], &unknown), 400, "tarjet");
    let many: Vec<Value> =
        (0..65).map(|number| json!({ "provider": format!("/{number}") })).collect();
    refused(&request(&workshop, &["mock"], &json!(many)), 400, "more than 64");
    let long = json!([{ "provider": cloud, "credentials": "x".repeat(200 << 10) }]);
    refused(&request(&workshop, &["mock"], &long), 400, "longer than 128 KiB");
    let gone = json!([{ "provider": "/nonexistent-a" }, { "provider": "/nonexistent-b" }]);
    let answer = daemon.post("/v1/builds", &request(&workshop, &["mock"], &gone));
    assert_eq!(answer.status, 503);
    assert_eq!(answer.json()["errors"].as_array().unwrap().len(), 2, "{}", answer.text());
    assert!(workshop.images().is_empty());
}

#[test]
fn deliveries_outlive_the_daemon_and_each_ends_for_itself() {
    let workshop = workshop();
    let daemon = Daemon::start(&workshop, ONE_SLOT);
    let deliveries = json!([
        { "target": "mock", "provider": slow(&workshop, "cloud-a") },
        { "target": "mock", "provider": workshop.path("cloud-b") },
        { "target": "mock", "provider": workshop.path("cloud-c") },
        { "target": "mockstack", "provider": workshop.path("cloud-b") },
    ]);
    let mut request = request(&workshop, &["mock", "mockstack"], &deliveries);
    // Who reads it has done its part before the end.
    request["parameters"] = json!({ "log_lines": 1 });
    let images = submit(&daemon, &request);
    let [.., first, second, third, fourth] = &images[..] else { panic!("{images:#?}") };
    under_way(&daemon, first);
    for target in &images[1..3] {
        assert_eq!(daemon.ended(target)["status"], "COMPLETE");
    }
    for image in [second, third, fourth] {
        // It waits for the only slot, unless it came before the first.
        assert!(
            ["PENDING", "COMPLETE"].map(Value::from).contains(&state(&daemon, image)),
            "{image:#}"
        );
    }
    let waited: Vec<&Value> =
        [second, third, fourth].into_iter().filter(|it| state(&daemon, it) == "PENDING").collect();
    assert_eq!(daemon.stop(Signal::KILL), None);
    workshop.assert_quiet();

    // One place is gone meanwhile.
    fs_err::remove_dir_all(workshop.path("cloud-c")).unwrap();
    let third_waited = waited.iter().any(|image| image["id"] == third["id"]);
    let daemon = Daemon::start(&workshop, ONE_SLOT);
    assert_eq!(daemon.ended(first)["status_detail"]["error"], "interrupted");
    for image in [second, fourth] {
        let image = daemon.ended(image);
        assert_eq!(image["status"], "COMPLETE", "{image:#}");
    }
    let third = daemon.ended(third);
    if third_waited {
        assert_eq!(third["status"], "FAILED");
        assert!(
            third["status_detail"]["error"].as_str().unwrap().contains("cannot be reached"),
            "{third:#}"
        );
    }
}

/// Builds without an end that take all places of jobs.
fn busy(daemon: &Daemon<'_>) -> Vec<Value> {
    let parameters = json!({ "delay_ms": 600_000 });
    (0..6).map(|_| daemon.build(&[], &parameters).remove(0)).collect()
}

fn cancel(daemon: &Daemon<'_>, image: &Value) {
    let path = format!("/v1/images/{}/cancel", image["id"].as_str().unwrap());
    assert_eq!(daemon.post(&path, &json!({})).status, 202);
}

#[test]
fn a_target_whose_plugin_is_gone_when_its_turn_comes_fails_alone() {
    let workshop = workshop();
    workshop.link("raw");
    let daemon = Daemon::start(&workshop, ONE_SLOT);
    let busy = busy(&daemon);
    let deliveries = json!([
        { "target": "mock", "provider": workshop.path("cloud-a") },
        { "target": "mock", "provider": workshop.path("cloud-b"), "snapshot": true },
    ]);
    let mut request = request(&workshop, &["raw", "mock"], &deliveries);
    // Nobody else reads the first of them.
    request["parameters"] = json!({ "agent": true, "log_lines": 1 });
    let images = submit(&daemon, &request);
    assert_eq!(texts(&images, "tier"), ["base", "target", "target", "provider", "provider"]);
    workshop.unlink("mock-cloud");
    wait_for("the plugin to be gone", || {
        (daemon.get("/v1/targets/mock").status == 404).then_some(())
    });
    for image in &busy {
        cancel(&daemon, image);
    }
    let ended: Vec<Value> = images.iter().map(|image| daemon.ended(image)).collect();
    assert_eq!(texts(&ended, "status"), ["COMPLETE", "COMPLETE", "FAILED", "FAILED", "FAILED"]);
    for image in &ended[2..] {
        let detail = &image["status_detail"];
        assert_eq!(detail["kind"], "missing-requirement", "{image:#}");
        assert!(detail["error"].as_str().unwrap().contains("`mock`"), "{image:#}");
        assert!(detail["hints"].to_string().contains("accepted before"), "{image:#}");
    }
}

#[test]
fn an_image_that_is_cancelled_while_its_job_waits_takes_only_those_along_that_are_made_from_it() {
    let workshop = workshop();
    let daemon = Daemon::start(&workshop, ONE_SLOT);
    // There is a base image, so that the first image of the next job is one of several targets.
    daemon.ended(&daemon.build(&[], &json!({}))[0]);
    let busy = busy(&daemon);
    let deliveries = json!([
        { "target": "mock", "provider": workshop.path("cloud-a") },
        { "target": "mockstack", "provider": workshop.path("cloud-b") },
    ]);
    let images = submit(&daemon, &request(&workshop, &["mock", "mockstack"], &deliveries));
    assert_eq!(texts(&images, "tier"), ["base", "target", "target", "provider", "provider"]);
    cancel(&daemon, &images[1]);
    assert_eq!(daemon.ended(&images[1])["status"], "CANCELLED");
    assert_eq!(daemon.ended(&images[3])["status"], "CANCELLED");
    assert_eq!(state(&daemon, &images[2]), "PENDING");
    for image in &busy {
        cancel(&daemon, image);
    }
    assert_eq!(daemon.ended(&images[2])["status"], "COMPLETE");
    assert_eq!(daemon.ended(&images[4])["status"], "COMPLETE");
}

#[test]
fn deliveries_keep_the_numbers_that_they_were_ordered_with() {
    let workshop = workshop();
    let daemon = Daemon::start(&workshop, ONE_SLOT);
    let busy = busy(&daemon);
    // Labels are cut before these differ.
    let place = format!("{}{}", workshop.path("cloud-a").display(), "/.".repeat(20));
    let provider = |delay: u64| format!(r#"{{"directory": "{place}", "delay_ms": {delay}}}"#);
    let deliveries: Vec<Value> =
        (0..3).map(|delay| json!({ "provider": provider(delay) })).collect();
    let images = submit(&daemon, &request(&workshop, &["mock"], &json!(deliveries)));
    let [.., first, second, third] = &images[..] else { panic!("{images:#?}") };
    cancel(&daemon, first);
    assert_eq!(daemon.ended(first)["status"], "CANCELLED");
    assert_eq!(daemon.stop(Signal::KILL), None);
    workshop.assert_quiet();

    // Where they go is gone meanwhile.
    fs_err::remove_dir_all(workshop.path("cloud-a")).unwrap();
    let daemon = Daemon::start(&workshop, ONE_SLOT);
    for image in &busy {
        // One of them was interrupted.
        daemon.post(&format!("/v1/images/{}/cancel", image["id"].as_str().unwrap()), &json!({}));
    }
    for (image, label) in [(second, "mock #2 at "), (third, "mock #3 at ")] {
        let image = daemon.ended(image);
        let error = image["status_detail"]["error"].as_str().unwrap_or_default();
        assert!(error.contains(label), "{label}: {image:#}");
    }
}

#[test]
fn an_image_is_made_although_only_snapshots_are_left_to_be_delivered() {
    let workshop = workshop();
    let daemon = Daemon::start(&workshop, ONE_SLOT);
    let busy = busy(&daemon);
    let deliveries = json!([
        { "target": "mock", "provider": workshop.path("cloud-a") },
        { "target": "mock", "provider": workshop.path("cloud-b"), "snapshot": true },
    ]);
    let images = submit(&daemon, &request(&workshop, &["mock"], &deliveries));
    assert_eq!(texts(&images, "tier"), ["base", "target", "provider", "provider"]);
    cancel(&daemon, &images[2]);
    assert_eq!(daemon.ended(&images[2])["status"], "CANCELLED");
    for image in &busy {
        cancel(&daemon, image);
    }
    for image in [&images[0], &images[1], &images[3]] {
        assert_eq!(daemon.ended(image)["status"], "COMPLETE");
    }
}

#[test]
fn a_request_names_no_file_of_the_daemon_s_machine_unless_the_settings_allow_it() {
    let workshop = Workshop::new();
    workshop.link("oci");
    fs_err::create_dir(workshop.path("allowed")).unwrap();
    let allowed = workshop.path("allowed");
    let allowed = allowed.to_str().unwrap();
    let settings = format!("\n[plugin.oci]\nfolders = [\"{allowed}\"]");
    let daemon = Daemon::start(&workshop, &settings);
    let template = fs_err::read_to_string(workshop.path("mock.tdl")).unwrap();
    let plan = |place: &str| {
        let provider = format!("docker-archive:{place}");
        let request = json!({ "template": template, "targets": ["docker"], "provider": provider });
        daemon.post("/v1/builds?dry_run=true", &request)
    };
    let outside = workshop.path("image.tar");
    let refused = plan(outside.to_str().unwrap());
    assert_eq!(refused.status, 400, "{refused:?}");
    assert!(
        refused.text().contains("a request from the network may not deliver to"),
        "{refused:?}"
    );
    assert_eq!(plan(&format!("{allowed}/image.tar")).status, 200);
    // Whoever works on the machine itself may do what its system allows.
    let there = format!("docker-archive:{}", outside.display());
    workshop
        .run(&["build", "mock.tdl", "--target", "docker", "--provider", &there, "--dry-run"])
        .done();
}

#[test]
fn a_request_has_no_program_of_the_daemon_s_machine_run_that_keeps_credentials() {
    let workshop = Workshop::new();
    workshop.link("oci");
    fs_err::create_dir(workshop.path("programs")).unwrap();
    let helper = workshop.write(
        "programs/docker-credential-suite",
        "#!/bin/sh\necho ran > \"$0.ran\"\necho '{\"Username\": \"ada\", \"Secret\": \"x\"}'\n",
    );
    fs_err::set_permissions(&helper, std::fs::Permissions::from_mode(0o755)).unwrap();
    let path =
        format!("{}:{}", workshop.path("programs").display(), std::env::var("PATH").unwrap());
    let daemon = Daemon::start_with(&workshop, "", &[("PATH", &path)]);
    let ran = workshop.path("programs/docker-credential-suite.ran");
    let credentials = r#"{"credsStore": "suite"}"#;
    let provider = "http://127.0.0.1:1/x";
    let request = json!({
        "template": fs_err::read_to_string(workshop.path("mock.tdl")).unwrap(),
        "targets": ["oci"],
        "provider": provider,
        "credentials": credentials,
    });
    let refused = daemon.post("/v1/builds?dry_run=true", &request);
    assert_eq!(refused.status, 400, "{refused:?}");
    assert!(refused.text().contains("may not have a program of this machine run"), "{refused:?}");
    assert!(!ran.exists());
    // On the machine itself it is run, and then nobody answers.
    let credentials = format!("@{credentials}");
    let mut build = workshop.command(&["build", "mock.tdl", "--dry-run", "--target", "oci"]);
    build.args(["--provider", provider, "--credentials", &credentials]).env("PATH", &path);
    Ran::from(build.output().unwrap()).refused(7).says("cannot be reached");
    assert!(ran.exists());
}

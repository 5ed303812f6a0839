//! What whoever runs the service looks at: health, figures and the log.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::{Daemon, Process, Receiver, Reply, Workshop, kill, wait_for};

/// The value of a figure, by its name with labels.
#[track_caller]
pub(super) fn figure(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("there is no `{name}` in {text}")).parse().unwrap()
}

#[track_caller]
fn figures(daemon: &Daemon<'_>) -> String {
    let answer = daemon.get("/metrics");
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(
        answer.headers["content-type"].to_str().unwrap().starts_with("application/openmetrics")
    );
    answer.text()
}

#[test]
fn figures_tell_of_builds_callbacks_and_requests_and_outlive_a_restart_and_deletions() {
    let workshop = Workshop::new();
    let settings = "callbacks = { attempts = 1 }";
    let daemon = Daemon::start(&workshop, settings);
    let receiver = Receiver::new(|number| Reply::Status(if number == 0 { 500 } else { 200 }));
    let template = fs_err::read_to_string(workshop.path("mock.tdl")).unwrap();
    let request = json!({
        "template": template, "targets": ["mock"], "callbacks": [receiver.url("", "/")],
    });
    let images = daemon.post("/v1/builds", &request).json()["images"].as_array().unwrap().clone();
    for image in &images {
        assert_eq!(daemon.ended(image)["status"], "COMPLETE");
    }
    assert_eq!(daemon.get("/v1/images/nothing-of-this-name").status, 404);
    drop(receiver.acknowledged(5));
    let delivered = "imageforge_callback_messages_total{result=\"delivered\"}";
    let text = wait_for("all to be told", || {
        let text = figures(&daemon);
        (figure(&text, delivered) == 5).then_some(text)
    });
    let built = "imageforge_builds_total{tier=\"base\",status=\"COMPLETE\",plugin=\"mock-os\"}";
    let took = "imageforge_build_duration_seconds_count{tier=\"target\",plugin=\"mock-cloud\"}";
    for (name, expected) in [
        (built, 1),
        (took, 1),
        ("imageforge_callback_messages_total{result=\"failed\"}", 1),
        ("imageforge_callback_messages_pending", 0),
        ("imageforge_images{tier=\"target\",status=\"COMPLETE\"}", 1),
        ("imageforge_jobs{state=\"queued\"}", 0),
        ("imageforge_slots_taken{kind=\"build\"}", 0),
        ("imageforge_plugins{state=\"ready\"}", 2),
        (
            "imageforge_http_requests_total{method=\"GET\",route=\"/v1/images/{id}\",status=\"404\"}",
            1,
        ),
        ("imageforge_http_request_duration_seconds_count{route=\"/v1/builds\"}", 1),
    ] {
        assert_eq!(figure(&text, name), expected, "{name} in {text}");
    }
    for name in [
        "imageforge_store_bytes",
        "process_resident_memory_bytes",
        "imageforge_data_dir_free_bytes",
    ] {
        assert!(figure(&text, name) > 0, "{name}");
    }
    assert!(text.ends_with("# EOF\n"));
    assert!(!text.contains(images[0]["id"].as_str().unwrap()), "figures without bounds: {text}");

    workshop.run(&["images", "delete", images[1]["id"].as_str().unwrap()]).done();
    assert_eq!(daemon.stop(Signal::KILL), None);
    let text = figures(&Daemon::start(&workshop, settings));
    assert_eq!((figure(&text, built), figure(&text, took)), (1, 1));
    assert!(figure(&text, delivered) >= 5);
}

#[test]
fn ready_means_that_builds_are_accepted_and_alive_that_anything_is_answered() {
    let workshop = Workshop::new();
    let daemon = Daemon::start(&workshop, "stop_seconds = 60");
    let ready = daemon.get("/v1/health/ready");
    assert_eq!((ready.status, &ready.json()["status"]), (200, &json!("ready")), "{ready:?}");
    assert_eq!(daemon.get("/v1/health/live").status, 200);
    let doctor = &daemon.get("/v1/health?full=true").json()["doctor"];
    assert!(doctor["ok"].as_u64() > Some(0), "{doctor:#}");
    assert!(daemon.get("/v1/health").json().get("doctor").is_none());

    let image = daemon.build(&[], &json!({ "delay_ms": 600_000 })).remove(0);
    let path = format!("/v1/images/{}", image["id"].as_str().unwrap());
    wait_for("the build to begin", || {
        (daemon.get(&path).json()["status"] == "BUILDING").then_some(())
    });
    kill(daemon.id(), Signal::TERM);
    let answer = wait_for("the daemon to stop", || {
        let answer = daemon.get("/v1/health/ready");
        (answer.status == 503).then_some(answer)
    });
    let conditions = answer.json()["conditions"].as_array().unwrap().clone();
    let queue = conditions.iter().find(|condition| condition["name"] == "queue").unwrap();
    assert_eq!(
        (&queue["ok"], &queue["problem"]),
        (&json!(false), &json!("the daemon is stopping"))
    );
    assert_eq!(daemon.get("/v1/health/live").status, 200);
    // Whoever asks for a build learns when to come back.
    let template = fs_err::read_to_string(workshop.path("mock.tdl")).unwrap();
    let answer = daemon.post("/v1/builds", &json!({ "template": template }));
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert_eq!(answer.headers["retry-after"], "5");
}

#[test]
fn every_request_has_an_identifier_that_the_client_may_choose() {
    let workshop = Workshop::new();
    let daemon = Daemon::start(&workshop, "");
    let ask = |id: &str| {
        let request = daemon.request("GET", "/v1/health").header("x-request-id", id);
        let answer = Daemon::send(request.body(Vec::new()).unwrap());
        answer.headers["x-request-id"].to_str().unwrap().to_owned()
    };
    assert_eq!(ask("ci-4711"), "ci-4711");
    assert_ne!(ask("two words"), "two words");
    assert_ne!(ask("a".repeat(200).as_str()), "a".repeat(200));
    let missing = daemon.get("/nowhere");
    assert_eq!((missing.status, missing.headers["x-request-id"].len()), (404, 36));
}

#[test]
fn workers_of_the_daemon_give_way_to_it_and_those_of_a_command_are_its_equals() {
    let workshop = Workshop::new();
    let own = rustix::process::getpriority_process(None).unwrap();
    let niceness = |below: Vec<Process>| {
        below.iter().find(|process| process.is_worker()).map(|worker| worker.niceness)
    };
    let build = workshop.spawn_endless(&[]);
    assert_eq!(niceness(build.descendants()), Some(own));
    drop(build);
    let daemon = Daemon::start(&workshop, "");
    let image = daemon.build(&[], &json!({"delay_ms": 60_000})).remove(0);
    let path = format!("/v1/images/{}", image["id"].as_str().unwrap());
    // Before, there were the workers that were asked for the plan.
    wait_for("the plugin to work", || {
        let image = daemon.get(&path).json();
        (image["status_detail"]["activity"] == "pretending to install").then_some(())
    });
    let of_the_daemon = || niceness(Process::descendants_of(daemon.id()));
    assert_eq!(wait_for("its worker", of_the_daemon), own + 10);
}

/// What a daemon writes on standard error while it is asked for a path with a secret in its query.
fn log(settings: &str, arguments: &[&str]) -> Vec<String> {
    let workshop = Workshop::new();
    let settings = format!("[serve]\nlisten = \"127.0.0.1:0\"\n{settings}");
    let path = workshop.write("serve.toml", settings);
    let arguments = [&["--config", path.to_str().unwrap()], arguments, &["serve"]].concat();
    let mut child = workshop.command(&arguments).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
    let address = loop {
        let line = lines.next().unwrap();
        if let Some(address) = line.strip_prefix("listening at ") {
            break address.to_owned();
        }
    };
    let request = ureq::http::Request::builder()
        .uri(format!("{address}/v1/health?token=hunter2"))
        .header("x-request-id", "ci-4711")
        .body(Vec::new());
    drop(Daemon::send(request.unwrap()));
    kill(child.id(), Signal::TERM);
    let lines: Vec<String> = lines.collect();
    assert!(child.wait().unwrap().success());
    assert!(!lines.concat().contains("hunter2"), "{lines:#?}");
    lines
}

#[test]
fn the_log_is_json_for_programs_with_one_line_for_each_request() {
    let lines = log("", &[]);
    let documents: Vec<Value> =
        lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let access: Vec<&Value> =
        documents.iter().filter(|line| line["target"] == "imageforge::access").collect();
    assert_eq!(access.len(), 1, "{documents:#?}");
    assert_eq!(access[0]["request_id"], "ci-4711");
    assert_eq!(access[0]["path"], "/v1/health");
    assert_eq!(access[0]["status"], 200);
}

#[test]
fn the_log_has_priorities_for_the_journal_and_leaves_out_what_the_filter_says() {
    let lines = log("log_format = \"journal\"\nlog_filter = \"info,imageforge::access=off\"", &[]);
    assert!(!lines.is_empty() && lines.iter().all(|line| line.starts_with("<6>")), "{lines:#?}");
    assert!(!lines.concat().contains("ci-4711"), "{lines:#?}");
}

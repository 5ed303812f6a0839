//! Requests are planned, accepted, queued, built and never lost.

use rustix::process::Signal;
use serde_json::json;

use crate::support::{Daemon, Workshop, kill, texts, wait_for};

#[test]
fn a_build_is_accepted_built_and_downloaded_in_ranges() {
    let workshop = Workshop::new();
    let daemon = Daemon::start(&workshop, "");
    let images = daemon.build(&["mock"], &json!({}));
    assert_eq!(texts(&images, "tier"), ["base", "target"]);
    for image in &images {
        assert_eq!(daemon.ended(image)["status"], "COMPLETE");
    }
    let body = format!("/v1/images/{}/body", images[1]["id"].as_str().unwrap());
    let whole = daemon.get(&body);
    let part = daemon.request("GET", &body).header("range", "bytes=2-5").body(Vec::new()).unwrap();
    let part = Daemon::send(part);
    assert_eq!((whole.status, part.status), (200, 206));
    assert_eq!(part.body, whole.body[2..6]);
    let log = daemon.get(&format!("/v1/images/{}/log", images[0]["id"].as_str().unwrap())).text();
    assert!(log.contains("create_base_image") && log.contains("== COMPLETE"), "{log}");
}

#[test]
fn a_request_that_cannot_work_is_refused_with_every_reason_and_leaves_no_record() {
    let workshop = Workshop::new();
    let daemon = Daemon::start(&workshop, "");
    let template = fs_err::read_to_string(workshop.path("mock.tdl")).unwrap();
    let request = json!({
        "template": template, "targets": ["mock", "nowhere"], "parameters": { "delay_ms": "soon" },
    });
    let answer = daemon.post("/v1/builds", &request);
    assert_eq!(answer.status, 422);
    assert_eq!(answer.headers["content-type"], "application/problem+json");
    let problem = answer.json();
    assert_eq!(problem["code"], "no-plugin");
    assert_eq!(problem["errors"].as_array().unwrap().len(), 2, "{problem:#}");
    assert!(workshop.images().is_empty());
}

#[test]
fn a_template_from_a_client_is_never_a_path_of_the_server() {
    let workshop = Workshop::new();
    let daemon = Daemon::start(&workshop, "");
    let path = workshop.path("mock.tdl").display().to_string();
    let answer = daemon.post("/v1/builds", &json!({ "template": path }));
    assert_eq!((answer.status, answer.json()["code"].as_str()), (400, Some("invalid-input")));
    let include = format!(
        "<template xmlns:xi='http://www.w3.org/2001/XInclude'><xi:include href='{path}'/></template>"
    );
    let answer = daemon.post("/v1/builds", &json!({ "template": include }));
    assert_eq!(answer.status, 400, "{answer:?}");
    assert!(workshop.images().is_empty());
}

#[test]
fn a_dry_run_answers_the_plan_and_makes_nothing() {
    let workshop = Workshop::new();
    let daemon = Daemon::start(&workshop, "");
    let template = fs_err::read_to_string(workshop.path("mock.tdl")).unwrap();
    let request = json!({ "template": template, "targets": ["mock"] });
    let answer = daemon.post("/v1/builds?dry_run=true", &request);
    assert_eq!(answer.status, 200);
    assert_eq!(answer.json()["targets"][0]["cloud"]["name"], "mock-cloud");
    assert!(workshop.images().is_empty());
}

#[test]
fn a_request_that_is_sent_again_or_several_times_at_once_with_one_key_is_built_once() {
    let workshop = Workshop::new();
    let daemon = Daemon::start(&workshop, "");
    let template = fs_err::read_to_string(workshop.path("mock.tdl")).unwrap();
    let body = json!({ "template": template, "targets": ["mock"] }).to_string();
    let send = || {
        let request = daemon
            .request("POST", "/v1/builds")
            .header("content-type", "application/json")
            .header("idempotency-key", "monday")
            .body(body.clone().into_bytes())
            .unwrap();
        let answer = Daemon::send(request).json();
        (answer["job"].clone(), texts(answer["images"].as_array().unwrap(), "id"))
    };
    let at_once = std::thread::scope(|scope| {
        let senders: Vec<_> = (0..4).map(|_| scope.spawn(send)).collect();
        senders.into_iter().map(|sender| sender.join().unwrap()).collect::<Vec<_>>()
    });
    let again = send();
    assert!(at_once.iter().all(|answer| *answer == again), "{at_once:?} {again:?}");
    assert_eq!(workshop.images().len(), 2);
}

#[test]
fn what_was_accepted_is_built_after_the_daemon_was_killed() {
    let workshop = Workshop::new();
    let slots = "slots = { build = 1, convert = 1, push = 1 }";
    let daemon = Daemon::start(&workshop, slots);
    let endless = daemon.build(&["mock"], &json!({ "delay_ms": 600_000 }));
    let waiting: Vec<_> = (1..=9)
        .map(|number| daemon.build(&["mock"], &json!({ "size_bytes": 4096 * number })))
        .collect();
    // What has not begun would begin after the next start, and never end.
    let path = format!("/v1/images/{}", endless[0]["id"].as_str().unwrap());
    wait_for("the endless build", || {
        (daemon.get(&path).json()["status"] == "BUILDING").then_some(())
    });
    assert_eq!(daemon.stop(Signal::KILL), None);
    workshop.assert_quiet();

    let daemon = Daemon::start(&workshop, slots);
    let [base, target] = [0, 1].map(|number| daemon.ended(&endless[number]));
    assert_eq!((&base["status"], &target["status"]), (&json!("FAILED"), &json!("FAILED")));
    assert_eq!(base["status_detail"]["error"], "interrupted");
    assert!(target["status_detail"].to_string().contains("is FAILED, not COMPLETE"), "{target:#}");
    for image in waiting.iter().flatten() {
        assert_eq!(daemon.ended(image)["status"], "COMPLETE");
    }
    assert_eq!(workshop.images().len(), 20);
}

#[test]
fn a_queued_build_can_be_cancelled_before_it_begins() {
    let workshop = Workshop::new();
    let daemon = Daemon::start(&workshop, "slots = { build = 1, convert = 1, push = 1 }");
    for _ in 0..7 {
        drop(daemon.build(&[], &json!({ "delay_ms": 600_000 })));
    }
    let image = daemon.build(&["mock"], &json!({ "delay_ms": 600_001 })).remove(0);
    let cancel = format!("/v1/images/{}/cancel", image["id"].as_str().unwrap());
    assert_eq!(daemon.post(&cancel, &json!({})).status, 202);
    assert_eq!(daemon.ended(&image)["status"], "CANCELLED");
}

#[test]
fn a_daemon_that_is_told_to_stop_finishes_what_it_builds_and_keeps_what_waits() {
    let workshop = Workshop::new();
    let slots = "slots = { build = 1, convert = 1, push = 1 }\nstop_seconds = 60";
    let daemon = Daemon::start(&workshop, slots);
    let images: Vec<_> = (0..10)
        .map(|number| daemon.build(&[], &json!({ "delay_ms": 100 + number })).remove(0))
        .collect();
    assert_eq!(daemon.stop(Signal::TERM), Some(0));
    let records = workshop.images();
    let states = texts(&records, "status");
    assert!(
        states.iter().all(|state| matches!(state.as_str(), "COMPLETE" | "PENDING")),
        "{states:?}"
    );
    let daemon = Daemon::start(&workshop, slots);
    for image in &images {
        assert_eq!(daemon.ended(image)["status"], "COMPLETE");
    }
}

#[test]
fn only_one_daemon_serves_a_data_directory() {
    let workshop = Workshop::new();
    let _daemon = Daemon::start(&workshop, "");
    workshop.run(&["serve"]).ended(6).says("another daemon serves").says("hint: ");
}

#[test]
fn settings_are_read_again_on_a_hang_up_and_wrong_ones_change_nothing() {
    let workshop = Workshop::new();
    let daemon = Daemon::start(&workshop, "");
    let template = fs_err::read_to_string(workshop.path("mock.tdl")).unwrap();
    let limit = || {
        let plan = daemon.post("/v1/builds?dry_run=true", &json!({ "template": template }));
        plan.json()["base"]["build"]["plugin"]["limits"]["processes"].clone()
    };
    for (settings, says) in [("processes = 77", 77), ("processes = 88\nnonsense = 1", 77)] {
        workshop.write("serve.toml", format!("[limits]\n{settings}\n"));
        kill(daemon.id(), Signal::HUP);
        wait_for("the limit", || (limit() == says).then_some(()));
    }
    // The wrong ones may not have been read yet: only after right ones it is sure that they were.
    workshop.write("serve.toml", "[limits]\nprocesses = 99\n");
    kill(daemon.id(), Signal::HUP);
    wait_for("the last limit", || {
        let limit = limit();
        assert_ne!(limit, 88);
        (limit == 99).then_some(())
    });
}

#[test]
fn a_body_that_is_too_large_is_refused() {
    let workshop = Workshop::new();
    let daemon = Daemon::start(&workshop, "max_body_mib = 1");
    let answer = daemon.post("/v1/builds", &json!({ "template": "x".repeat(2 << 20) }));
    assert_eq!((answer.status, answer.json()["code"].as_str()), (413, Some("invalid-input")));
}

//! Plugins that misbehave, asked by the daemon: it says what happened and goes on.

use serde_json::{Value, json};

use crate::support::{Daemon, Workshop, wait_for};

/// A build with a plugin of `tests/misbehaving`.
fn misbehave(daemon: &Daemon<'_>, workshop: &Workshop, when: &str, how: &str) -> Value {
    let template = fs_err::read_to_string(workshop.path("bad.tdl")).unwrap();
    let request = json!({ "template": template, "parameters": { "when": when, "how": how } });
    let answer = daemon.post("/v1/builds", &request);
    assert_eq!(answer.status, 202, "{}", answer.text());
    answer.json()["images"][0].clone()
}

fn status_detail(record: &Value) -> String {
    record["status_detail"].to_string()
}

#[test]
fn a_plugin_that_crashes_fails_its_image_and_the_daemon_builds_on() {
    let workshop = Workshop::new();
    workshop.link_misbehaving("crashes");
    workshop.template_for("bad.tdl", "Misbehaving");
    let daemon = Daemon::start(&workshop, "");
    let neighbour = daemon.build(&[], &json!({ "delay_ms": 2000 })).remove(0);
    let cases = [
        ("segfault", "SIGSEGV"),
        ("abort", "SIGABRT"),
        ("exit 0", "exited with code 0"),
        ("kill itself", "SIGKILL"),
    ];
    let images = cases
        .map(|(how, says)| (misbehave(&daemon, &workshop, "create_base_image", how), how, says));
    for (image, how, says) in images {
        let record = daemon.ended(&image);
        let told = status_detail(&record);
        assert_eq!(record["status"], "FAILED", "{how}: {told}");
        for words in [says, "crashes", "create_base_image"] {
            assert!(told.contains(words), "`{words}` after {how}: {told}");
        }
    }
    assert_eq!(daemon.ended(&neighbour)["status"], "COMPLETE");
    assert_eq!(daemon.get("/v1/health/ready").status, 200);
}

#[test]
fn a_plugin_that_hangs_is_cancelled_and_its_slot_is_free_again() {
    let workshop = Workshop::new();
    workshop.link_misbehaving("hangs");
    workshop.template_for("bad.tdl", "Misbehaving");
    let settings = "slots = { build = 1, convert = 1, push = 1 }\n[limits]\ncheck_seconds = 2";
    let daemon = Daemon::start(&workshop, settings);
    let image = misbehave(&daemon, &workshop, "create_base_image", "loop");
    let path = format!("/v1/images/{}", image["id"].as_str().unwrap());
    wait_for("the plugin to hang", || {
        (daemon.get(&path).json()["status"] == "BUILDING").then_some(())
    });
    let next = daemon.build(&[], &json!({})).remove(0);
    assert_eq!(daemon.post(&format!("{path}/cancel"), &json!({})).status, 202);
    assert_eq!(daemon.ended(&image)["status"], "CANCELLED");
    assert_eq!(daemon.ended(&next)["status"], "COMPLETE");
    let template = fs_err::read_to_string(workshop.path("bad.tdl")).unwrap();
    let parameters = json!({ "when": "check", "how": "sleep" });
    let request = json!({ "template": template, "parameters": parameters });
    let refused = daemon.post("/v1/builds", &request).text();
    assert!(refused.contains("hangs") && refused.contains("check_seconds = 2"), "{refused}");
}

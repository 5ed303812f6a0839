//! Plugins come, change and go while the daemon serves.

use fs_err::os::unix::fs::symlink;
use serde_json::json;

use crate::support::{Daemon, Workshop, checkout, texts, wait_for};

fn targets(daemon: &Daemon<'_>) -> Vec<String> {
    texts(daemon.get("/v1/targets").json()["targets"].as_array().unwrap(), "target")
}

#[test]
fn a_plugin_is_served_as_soon_as_its_link_is_there_and_no_longer_than_that() {
    let workshop = Workshop::without_plugins();
    let daemon = Daemon::start(&workshop, "");
    assert_eq!(targets(&daemon), Vec::<String>::new());
    workshop.link("mock-cloud");
    wait_for("the new target", || targets(&daemon).contains(&"mock".to_owned()).then_some(()));
    workshop.unlink("mock-cloud");
    wait_for("the target to go", || targets(&daemon).is_empty().then_some(()));
}

#[test]
fn a_change_behind_the_link_is_seen_too() {
    let workshop = Workshop::without_plugins();
    let folder = workshop.path("elsewhere");
    fs_err::create_dir(&folder).unwrap();
    let real = folder.join("mock-cloud.info");
    let info = fs_err::read_to_string(checkout().join("plugins/mock-cloud/mock-cloud.info"));
    let info = info.unwrap();
    fs_err::write(&real, &info).unwrap();
    symlink(&real, workshop.path("plugins.d/mock-cloud.info")).unwrap();
    let daemon = Daemon::start(&workshop, "");
    assert!(targets(&daemon).contains(&"mock".to_owned()));
    fs_err::write(&real, info.replace("\"mock\"", "\"renamed\"")).unwrap();
    wait_for("the new name", || targets(&daemon).contains(&"renamed".to_owned()).then_some(()));
    fs_err::remove_file(&real).unwrap();
    wait_for("the dangling link to be told", || {
        let plugins = daemon.get("/v1/plugins").json();
        (plugins["plugins"][0]["status"]["state"] == "problem").then_some(())
    });
}

#[test]
fn a_build_under_way_finishes_on_the_plugin_that_it_started_with() {
    let workshop = Workshop::new();
    let daemon = Daemon::start(&workshop, "");
    let image = daemon.build(&[], &json!({ "run": workshop.hold() })).remove(0);
    wait_for("the build to begin", || {
        let path = format!("/v1/images/{}", image["id"].as_str().unwrap());
        (daemon.get(&path).json()["status"] == "BUILDING").then_some(())
    });
    workshop.unlink("mock-os");
    wait_for("the plugin to be gone", || {
        (!targets(&daemon).iter().any(|target| target.starts_with("MockOS"))).then_some(())
    });
    workshop.let_go();
    assert_eq!(daemon.ended(&image)["status"], "COMPLETE");
    let template = fs_err::read_to_string(workshop.path("mock.tdl")).unwrap();
    let answer = daemon.post("/v1/builds", &json!({ "template": template }));
    assert_eq!((answer.status, answer.json()["code"].as_str()), (422, Some("no-plugin")));
}

#[test]
fn a_plugin_that_crashes_its_probe_is_quarantined_and_the_daemon_goes_on() {
    let workshop = Workshop::new();
    let environment = [("MISBEHAVE", "constructor: segfault")];
    let daemon = Daemon::start_with(&workshop, "", &environment);
    workshop.link_misbehaving("loading");
    wait_for("the quarantine", || {
        let plugin = daemon.get("/v1/plugins/loading").json();
        (plugin["status"]["state"] == "quarantined").then_some(())
    });
    let image = daemon.build(&[], &json!({})).remove(0);
    assert_eq!(daemon.ended(&image)["status"], "COMPLETE");
}

#[test]
fn thousands_of_changes_leave_the_daemon_as_it_was() {
    let workshop = Workshop::new();
    let daemon = Daemon::start(&workshop, "");
    let files = || fs_err::read_dir(format!("/proc/{}/fd", daemon.id())).unwrap().count();
    // It has opened what it opens once.
    wait_for("the watch to begin", || (!targets(&daemon).is_empty()).then_some(()));
    let before = files();
    for _ in 0..2000 {
        workshop.unlink("mock-cloud");
        workshop.link("mock-cloud");
    }
    wait_for("the last change", || targets(&daemon).contains(&"mock".to_owned()).then_some(()));
    assert!(files() <= before + 20, "{before} descriptors became {}", files());
    let health = daemon.get("/v1/health").json();
    assert_eq!(health["plugins"]["watched_by"], "kernel", "{health:#}");
}

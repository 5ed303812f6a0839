//! `doctor`: what an operator is told before trusting a machine.

use serde_json::Value;

use crate::support::Workshop;

fn check<'d>(document: &'d Value, name: &str) -> &'d Value {
    let checks = document["checks"].as_array().unwrap();
    checks
        .iter()
        .find(|check| check["name"] == name)
        .unwrap_or_else(|| panic!("{name}: {document:#}"))
}

#[test]
fn a_machine_that_can_build_is_told_so_and_nothing_is_changed() {
    let workshop = Workshop::new();
    let document = workshop.json(&["doctor"]);
    for name in [
        "version",
        "user",
        "plugins",
        "programs",
        "data-dir",
        "namespaces",
        "cgroup",
        "rlimits",
        "kvm",
        "boot",
        "clock",
    ] {
        let check = check(&document, name);
        assert_ne!(check["state"], "problem", "{check:#}");
        assert!(!check["says"].as_str().unwrap().is_empty(), "{check:#}");
    }
    assert_eq!(check(&document, "plugins")["state"], "ok");
    assert!(!workshop.data_dir().exists(), "the data directory is only looked at");
    workshop.run(&["doctor"]).done().prints("namespaces").prints("cgroup");

    workshop.build(&[]);
    let store = check(&workshop.json(&["doctor"]), "store").clone();
    assert_eq!(store["state"], "ok", "{store:#}");
    assert!(store["says"].as_str().unwrap().starts_with("1 images"), "{store:#}");
    workshop.assert_tidy();
}

#[test]
fn without_a_plugin_it_ends_with_4() {
    let workshop = Workshop::without_plugins();
    let ran = workshop.run(&["doctor", "--format", "json"]).ended(4);
    assert_eq!(check(&ran.document(), "plugins")["state"], "problem");
}

#[test]
fn a_data_directory_that_cannot_be_used_ends_with_70() {
    let workshop = Workshop::new();
    workshop.write("data", "a file");
    let ran = workshop.run(&["doctor"]).ended(70);
    ran.prints("is no directory").prints("--data-dir");
    assert_eq!(fs_err::read_to_string(workshop.data_dir()).unwrap(), "a file");
}

#[test]
fn a_damaged_database_and_an_interrupted_build_are_told() {
    let workshop = Workshop::new();
    let running = workshop.spawn_endless(&[]);
    running.signal(rustix::process::Signal::KILL);
    running.wait();
    let document = workshop.json(&["doctor"]);
    let store = check(&document, "store");
    assert_eq!(
        (&store["state"], &store["says"]),
        (&"warning".into(), &"1 images, 1 interrupted".into())
    );
    assert_eq!(workshop.images()[0]["status"], "FAILED");

    workshop.write("data/store.db", "not a database, however long it may be");
    for file in ["store.db-wal", "store.db-shm"] {
        drop(fs_err::remove_file(workshop.data_dir().join(file)));
    }
    let ran = workshop.run(&["doctor", "--format", "json"]).ended(70);
    assert_eq!(check(&ran.document(), "store")["state"], "problem");
}

#[test]
fn a_plugin_that_is_quarantined_is_named() {
    let workshop = Workshop::new();
    workshop.link_misbehaving("loading");
    let mut list = workshop.command(&["plugins", "list"]);
    list.env("MISBEHAVE", "constructor: abort").output().unwrap();
    let document = workshop.json(&["doctor"]);
    let plugins = check(&document, "plugins");
    assert_eq!(plugins["state"], "warning");
    let says = plugins["says"].as_str().unwrap();
    assert!(says.contains("1 quarantined (loading)"), "{says}");
}

/// Where this machine has a place for control groups, a worker is in one, and it goes with its host.
#[test]
fn a_worker_is_in_the_group_that_is_told_and_the_group_does_not_outlive_a_killed_host() {
    let workshop = Workshop::new();
    let says = check(&workshop.json(&["doctor"]), "cgroup")["says"].as_str().unwrap().to_owned();
    let running = workshop.spawn_endless(&[]);
    let descendants = running.descendants();
    let worker = descendants.iter().find(|process| process.is_worker()).unwrap();
    let membership = fs_err::read_to_string(format!("/proc/{}/cgroup", worker.id)).unwrap();
    let own = format!(".{}.", running.id());
    let is_in = membership.lines().any(|line| line.contains("/imageforge.") && line.contains(&own));
    let Some((_, rest)) = says.split_once("groups below `") else {
        assert!(!is_in, "{says}: {membership}");
        return;
    };
    assert!(is_in, "{says}: {membership}");
    let base = rest.split('`').next().unwrap();
    let groups = || {
        let entries = fs_err::read_dir(base).unwrap();
        let mut names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.any(|name| name.starts_with("imageforge.") && name.contains(&own))
    };
    assert!(groups());
    running.signal(rustix::process::Signal::KILL);
    running.wait();
    workshop.assert_quiet();
    assert_eq!(workshop.images()[0]["status"], "FAILED");
    assert!(!groups(), "left in {base}");
}

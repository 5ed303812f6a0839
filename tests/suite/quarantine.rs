//! A library that did not survive its probe is kept out until it changes or somebody asks again.

use std::path::PathBuf;

use fs_err::os::unix::fs::symlink;

use crate::support::{Ran, Workshop, library_dir};

/// A library of its own, which misbehaves when the environment says so.
fn workshop() -> (Workshop, PathBuf) {
    let workshop = Workshop::new();
    workshop.link_misbehaving("loading");
    let library = workshop.path("lib/libloading.so");
    fs_err::copy(library_dir().join("libloading.so"), &library).unwrap();
    (workshop, library)
}

fn crash(workshop: &Workshop, arguments: &[&str]) -> Ran {
    let mut command = workshop.command(arguments);
    command.env("MISBEHAVE", "constructor: abort").output().unwrap().into()
}

fn state(workshop: &Workshop) -> String {
    let shown = workshop.json(&["plugins", "show", "loading"]);
    shown["status"]["state"].as_str().unwrap().to_owned()
}

#[test]
fn a_quarantine_lasts_until_somebody_asks_to_try_again() {
    let (workshop, _) = workshop();
    crash(&workshop, &["plugins", "list"]).done().prints("quarantined").prints("SIGABRT");
    let again = "plugins check --again NAME";
    workshop.run(&["plugins", "list"]).done().prints("quarantined").prints(again);
    workshop.run(&["plugins", "show", "loading"]).done().prints("SIGABRT").prints(again);
    // The library is sound by now, and nobody has tried it.
    workshop.run(&["plugins", "check", "loading"]).ended(4).prints("quarantined");
    workshop.run(&["plugins", "check", "--again", "loading"]).done().prints("ready");
    assert_eq!(state(&workshop), "ready");
    crash(&workshop, &["plugins", "check", "--again", "loading"]).ended(4).prints("SIGABRT");
    assert_eq!(state(&workshop), "quarantined");
}

#[test]
fn a_file_that_changes_is_tried_again() {
    let (workshop, library) = workshop();
    crash(&workshop, &["plugins", "list"]).done();
    assert_eq!(state(&workshop), "quarantined");
    let bytes = fs_err::read(&library).unwrap();
    fs_err::remove_file(&library).unwrap();
    fs_err::write(&library, bytes).unwrap();
    assert_eq!(state(&workshop), "ready");
}

#[test]
fn a_cache_that_cannot_be_used_costs_a_probe_and_nothing_else() {
    let (workshop, _) = workshop();
    fs_err::create_dir_all(workshop.data_dir().join("probes.json")).unwrap();
    crash(&workshop, &["plugins", "list"]).done().prints("quarantined").prints("ready");
    assert_eq!(state(&workshop), "ready");
    workshop.build(&[]);
}

#[test]
fn a_file_that_is_checked_is_shown_as_it_was_given() {
    let (workshop, _) = workshop();
    let real = fs_err::canonicalize(workshop.path("plugins.d/loading.info")).unwrap();
    symlink(&real, workshop.path("other.info")).unwrap();
    let checked = workshop.json(&["plugins", "check", "./other.info"]);
    assert_eq!(checked["info_path"], "./other.info");
    assert_eq!(checked["links"], serde_json::json!([real.to_str().unwrap()]));
    let temporary = workshop.path("tmp").display().to_string();
    workshop.run(&["plugins", "check", "./other.info"]).done().never_says(&temporary);
}

//! An upgrade puts another executable in the place of one that runs.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::json;

use crate::support::{Daemon, Process, Running, Workshop, executable, wait_for};

/// An executable that belongs to one test.
fn own_executable(workshop: &Workshop) -> PathBuf {
    let path = workshop.path("imageforge");
    fs_err::hard_link(executable(), &path)
        .or_else(|_| fs_err::copy(executable(), &path).map(drop))
        .unwrap();
    path
}

/// Puts a program there that is none of ours.
fn replace(executable: PathBuf, workshop: &Workshop) {
    let next = workshop.path("next");
    fs_err::copy("/bin/false", &next).unwrap();
    fs_err::rename(next, executable).unwrap();
}

#[test]
fn a_build_goes_on_with_the_executable_that_began_it() {
    let workshop = Workshop::new();
    let executable = own_executable(&workshop);
    let mut command = workshop.environment(&executable);
    let hold = format!("run={}", workshop.hold());
    command.args(["build", "mock.tdl", "--target", "mock", "--parameter", &hold]);
    let build = Running::start(command);
    wait_for("the base image", || {
        workshop.images().iter().any(|image| image["status"] == "BUILDING").then_some(())
    });
    replace(executable, &workshop);
    let images = workshop.images_of("target");
    assert_eq!(images[0]["status"], "PENDING", "{images:#?}");
    workshop.let_go();
    build.wait().done();
    assert!(workshop.images().iter().all(|image| image["status"] == "COMPLETE"));
}

#[test]
fn workers_go_by_the_name_of_the_program() {
    let workshop = Workshop::new();
    let build = workshop.spawn_held(&[]);
    wait_for("the names of the worker and of its namespace's first process", || {
        let below = build.descendants();
        let named = |process: &&Process| process.name == "imageforge";
        let worker = below.iter().filter(named).find(|process| process.is_worker())?;
        assert_eq!(worker.arguments[0], "imageforge");
        below.iter().filter(named).find(|process| process.is_init()).map(drop)
    });
    workshop.let_go();
    build.wait().done();
}

fn probes_under_way(daemon: &Daemon<'_>) -> usize {
    let threads = fs_err::read_dir(format!("/proc/{}/task", daemon.id())).unwrap();
    let name = |thread: std::io::Result<fs_err::DirEntry>| {
        fs_err::read_to_string(thread.ok()?.path().join("comm")).ok()
    };
    threads.filter_map(name).filter(|name| name.trim() == "probe").count()
}

#[test]
fn a_daemon_whose_executable_was_replaced_probes_and_builds() {
    let workshop = Workshop::new();
    let executable = own_executable(&workshop);
    let daemon = Daemon::start_as(&executable, &workshop, "", &[]);
    replace(executable, &workshop);
    workshop.link("raw");
    wait_for("the probe of a new plugin", || {
        let answer = daemon.get("/v1/plugins/raw");
        (answer.status == 200 && !answer.json()["probe"].is_null()).then_some(())
    });
    let image = daemon.build(&["mock"], &json!({})).pop().unwrap();
    assert_eq!(daemon.ended(&image)["status"], "COMPLETE");
}

/// There were thousands of threads within seconds once.
#[test]
fn probes_that_cannot_be_started_do_not_pile_up() {
    let workshop = Workshop::new();
    let daemon = Daemon::start_with(&workshop, "", &[("PATH", "/nowhere")]);
    for _ in 0..20 {
        for plugin in ["raw", "qcow2"] {
            workshop.link(plugin);
            workshop.unlink(plugin);
        }
        std::thread::sleep(Duration::from_millis(50));
        // Each of the four plugins may be at it, and one more look for each.
        assert!(probes_under_way(&daemon) <= 8);
    }
    assert_eq!(daemon.get("/v1/targets").status, 200);
}

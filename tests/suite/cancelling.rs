//! A build that is no longer wanted ends, with everything that it started.

use rustix::process::Signal;

use crate::support::{Process, Ran, Workshop, texts, wait_for};

/// It ended as cancelled: the exit code, all records, nothing left over.
#[track_caller]
fn assert_cancelled(workshop: &Workshop, ran: Ran) {
    ran.ended(8).says("cancelled");
    let images = workshop.images();
    assert!(!images.is_empty());
    for image in &images {
        assert_eq!(image["status"], "CANCELLED", "{image:#}");
        assert_eq!(image["status_detail"]["kind"], "cancelled");
        assert!(image["path"].is_null());
    }
    workshop.assert_tidy();
}

#[test]
fn ctrl_c_cancels_the_build_and_ends_every_process() {
    let workshop = Workshop::new();
    let build = workshop.spawn_endless(&["--target", "mock"]);
    assert!(build.descendants().iter().any(Process::is_worker));
    build.signal(Signal::INT);
    assert_cancelled(&workshop, build.wait());
}

#[test]
fn a_terminal_that_closes_and_a_polite_kill_cancel_as_well() {
    for signal in [Signal::HUP, Signal::TERM] {
        let workshop = Workshop::new();
        let build = workshop.spawn_endless(&[]);
        build.signal(signal);
        assert_cancelled(&workshop, build.wait());
    }
}

#[test]
fn another_process_cancels_by_identifier() {
    let workshop = Workshop::new();
    let build = workshop.spawn_endless(&["--target", "mock", "--target", "ecmock"]);
    let base = workshop.images_of("base").remove(0);
    let id = base["id"].as_str().unwrap();
    let ran = workshop.run(&["images", "cancel", &id[..8]]).done();
    ran.prints("asked to cancel");
    assert_cancelled(&workshop, build.wait());
}

#[test]
fn a_plugin_hears_of_it_by_abort() {
    let workshop = Workshop::new();
    let build = workshop.spawn_endless(&["--name", "sleeper"]);
    workshop.run(&["images", "cancel", "sleeper"]).done();
    build.wait().ended(8);
    let log = workshop.run(&["images", "log", "sleeper"]).done();
    log.prints("== cancel requested")
        .prints(">> mock-os: abort")
        .prints("the build of a mock image is aborted")
        .prints("== CANCELLED");
}

#[test]
fn a_detached_build_is_cancelled_all_the_same() {
    let workshop = Workshop::new();
    let long = ["build", "mock.tdl", "--detach", "--parameter", "delay_ms=600000"];
    let id = workshop.run(&long).done().stdout.trim().to_owned();
    workshop.run(&["images", "cancel", &id]).done();
    wait_for("the end of the build", || {
        (workshop.images()[0]["status"] == "CANCELLED").then_some(())
    });
    workshop.assert_tidy();
}

#[test]
fn ctrl_c_at_any_moment_leaves_complete_or_cancelled_records() {
    let workshop = Workshop::new();
    for milliseconds in [0, 5, 10, 20, 30, 40, 60, 80, 110] {
        let build = workshop.spawn(&[
            "build",
            "mock.tdl",
            "--rebuild",
            "--target",
            "mock",
            "--target",
            "ecmock",
        ]);
        std::thread::sleep(std::time::Duration::from_millis(milliseconds));
        build.signal(Signal::INT);
        // Before it listens, the signal ends it at once: there is no record yet.
        let ran = build.wait();
        assert!(matches!(ran.code, None | Some(0 | 8)), "{ran:#?}");
        workshop.assert_tidy();
    }
    for status in texts(&workshop.images(), "status") {
        assert!(matches!(status.as_str(), "COMPLETE" | "CANCELLED"), "{status}");
    }
    workshop.run(&["images", "check"]).done();
}

#[test]
fn what_is_over_or_unknown_cannot_be_cancelled() {
    let workshop = Workshop::new();
    workshop.build(&[]);
    let ran = workshop.run(&["images", "cancel", "mock"]);
    ran.ended(6).says("is COMPLETE already");
    workshop.run(&["images", "cancel", "nobody"]).refused(5);
    assert_eq!(workshop.images()[0]["status"], "COMPLETE");
}

#[test]
fn cancelling_one_build_leaves_the_others_alone() {
    let workshop = Workshop::new();
    let unwanted = workshop.spawn_endless(&["--name", "unwanted"]);
    let wanted = workshop.spawn_held(&["--name", "wanted"]);
    wait_for("the second build to begin", || {
        workshop
            .images()
            .iter()
            .any(|image| image["name"] == "wanted" && image["status"] == "BUILDING")
            .then_some(())
    });
    workshop.run(&["images", "cancel", "unwanted"]).done();
    unwanted.wait().ended(8);
    workshop.let_go();
    wanted.wait().done();
    workshop.assert_tidy();
}

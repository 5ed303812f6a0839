//! `kill -9` of any process at any time: no finished image is lost, nothing half-made stays.

use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use crate::support::{Process, Running, Workshop, kill, wait_for};

/// The record of the killed build says so, everything else is as if it had never begun.
#[track_caller]
fn assert_interrupted(workshop: &Workshop) {
    // The next command of all is the one that sees it.
    let images = workshop.images();
    let base = images
        .iter()
        .find(|image| image["tier"] == "base" && image["status"] != "COMPLETE")
        .expect("the record of the killed build");
    assert_eq!(base["status"], "FAILED", "{base:#}");
    let error = base["status_detail"]["error"].as_str().unwrap();
    assert!(error.contains("interrupted"), "{error}");
    assert!(base["path"].is_null());
    workshop.assert_tidy();
    let check = workshop.run(&["images", "check"]).done();
    assert!(!check.stdout.contains("damaged"), "{check:?}");
}

fn process(build: &Running, is_it: fn(&Process) -> bool) -> u32 {
    wait_for("a process of the worker", || {
        build.descendants().iter().find(|process| is_it(process)).map(|process| process.id)
    })
}

fn workshop_with_a_finished_image() -> (Workshop, Vec<Value>) {
    let workshop = Workshop::new();
    let finished = workshop.build(&["--target", "mock", "--parameter", "size_bytes=65536"]);
    (workshop, finished)
}

#[test]
fn a_killed_worker_fails_its_image_as_interrupted() {
    let (workshop, _finished) = workshop_with_a_finished_image();
    let build = workshop.spawn_endless(&["--target", "mock"]);
    kill(process(&build, Process::is_worker), Signal::KILL);
    build.wait().ended(1).says("interrupted").says("hint: ");
    assert_interrupted(&workshop);
}

#[test]
fn a_killed_init_of_the_worker_fails_its_image_as_interrupted() {
    let (workshop, _finished) = workshop_with_a_finished_image();
    let build = workshop.spawn_endless(&["--target", "mock"]);
    kill(process(&build, Process::is_init), Signal::KILL);
    build.wait().ended(1).says("interrupted");
    assert_interrupted(&workshop);
}

#[test]
fn a_killed_front_end_takes_its_worker_along() {
    let (workshop, finished) = workshop_with_a_finished_image();
    let build = workshop.spawn_endless(&["--target", "mock"]);
    build.signal(Signal::KILL);
    assert_eq!(build.wait().code, None);
    workshop.assert_quiet();
    let ran = workshop.run(&["images", "list"]).done();
    ran.says("was interrupted and is FAILED now").prints("FAILED");
    assert_interrupted(&workshop);
    for image in finished {
        assert!(workshop.images().contains(&image), "{image:#}");
    }
}

#[test]
fn all_processes_of_a_build_killed_at_once_are_noticed() {
    let (workshop, _finished) = workshop_with_a_finished_image();
    let build = workshop.spawn_endless(&[]);
    for process in workshop.processes() {
        kill(process.id, Signal::KILL);
    }
    drop(build.wait());
    assert_interrupted(&workshop);
}

#[test]
fn a_killed_build_can_be_built_again() {
    let workshop = Workshop::new();
    let build = workshop.spawn_held(&[]);
    wait_for("the build to begin", || {
        workshop.images().iter().any(|image| image["status"] == "BUILDING").then_some(())
    });
    build.signal(Signal::KILL);
    drop(build.wait());
    workshop.let_go();
    workshop.spawn_held(&[]).wait().done().prints("COMPLETE");
    workshop.assert_tidy();
}

#[test]
fn whoever_waits_for_a_killed_build_takes_over() {
    let workshop = Workshop::new();
    let first = workshop.spawn_held(&[]);
    wait_for("the first build to begin", || {
        workshop.images().iter().any(|image| image["status"] == "BUILDING").then_some(())
    });
    let second = workshop.spawn_held(&[]);
    wait_for("the second build to wait", || (workshop.images().len() == 2).then_some(()));
    first.signal(Signal::KILL);
    drop(first.wait());
    workshop.let_go();
    second.wait().done().prints("COMPLETE");
    workshop.assert_tidy();
}

/// Kills the process that `choose` names, a while after the build began; again and again.
fn kill_at_moments(moments: &[u64], choose: fn(&Running) -> Option<u32>) {
    let (workshop, finished) = workshop_with_a_finished_image();
    for milliseconds in moments {
        let build = workshop.spawn(&[
            "build",
            "mock.tdl",
            "--rebuild",
            "--parameter",
            "size_bytes=1048576",
            "--target",
            "mock",
            "--target",
            "ecmock",
        ]);
        std::thread::sleep(Duration::from_millis(*milliseconds));
        if let Some(id) = choose(&build) {
            kill(id, Signal::KILL);
        }
        drop(build.wait());
        // Processes first: the next command must find what the killed one left behind.
        workshop.assert_quiet();
        workshop.assert_tidy();
    }
    let images = workshop.images();
    for image in &images {
        let status = image["status"].as_str().unwrap();
        assert!(matches!(status, "COMPLETE" | "FAILED"), "{image:#}");
        let error = image["status_detail"].to_string();
        let told =
            status == "COMPLETE" || error.contains("interrupted") || error.contains("FAILED");
        assert!(told, "{image:#}");
    }
    for image in &finished {
        assert!(images.contains(image), "{image:#}");
    }
    let check = workshop.run(&["images", "check"]).done();
    assert!(!check.stdout.contains("damaged"), "{check:?}");
}

#[test]
fn a_front_end_killed_at_any_moment_leaves_order() {
    let moments = [0, 4, 8, 12, 16, 20, 25, 30, 35, 40, 50, 60, 75, 90, 110, 140];
    kill_at_moments(&moments, |build| Some(build.id()));
}

#[test]
fn a_worker_killed_at_any_moment_leaves_order() {
    let worker = |build: &Running| {
        let below = build.descendants();
        below.iter().rfind(|process| process.is_worker()).map(|process| process.id)
    };
    kill_at_moments(&[5, 15, 25, 35, 50, 65, 80, 100], worker);
}

#[test]
fn a_deletion_killed_at_any_moment_is_done_or_not_begun() {
    let workshop = Workshop::new();
    for milliseconds in [0, 3, 6, 9, 12, 15, 20, 30] {
        let image = workshop.build(&["--rebuild"]).remove(0);
        let id = image["id"].as_str().unwrap();
        let delete = workshop.spawn(&["images", "delete", id]);
        std::thread::sleep(Duration::from_millis(milliseconds));
        delete.signal(Signal::KILL);
        drop(delete.wait());
        workshop.assert_tidy();
        let left = workshop.images();
        assert!(left.is_empty() || left == [image.clone()], "{left:#?}");
        if !left.is_empty() {
            workshop.run(&["images", "check", id]).done();
            workshop.run(&["images", "delete", id]).done();
        }
    }
}

#[test]
fn an_import_killed_at_any_moment_is_done_or_not_begun() {
    let workshop = Workshop::new();
    workshop.write("disk.raw", vec![7; 3 << 20]);
    for milliseconds in [0, 4, 8, 12, 16, 20, 30] {
        let import = workshop.spawn(&["images", "import", "disk.raw", "--template", "mock.tdl"]);
        std::thread::sleep(Duration::from_millis(milliseconds));
        import.signal(Signal::KILL);
        drop(import.wait());
        workshop.assert_tidy();
    }
    workshop.run(&["images", "check"]).done();
}

#[test]
fn an_export_that_was_killed_leaves_no_half_file_under_the_final_name() {
    let workshop = Workshop::new();
    workshop.write("disk.raw", vec![7; 3 << 20]);
    let import = ["images", "import", "disk.raw", "--template", "mock.tdl", "--name", "big"];
    workshop.run(&import).done();
    for milliseconds in [0, 4, 8, 12, 16, 20] {
        let export = workshop.spawn(&["images", "export", "big", "out.raw", "--force"]);
        std::thread::sleep(Duration::from_millis(milliseconds));
        export.signal(Signal::KILL);
        drop(export.wait());
        if let Ok(bytes) = fs_err::read(workshop.path("out.raw")) {
            assert_eq!(bytes.len(), 3 << 20);
        }
    }
    // The next export sweeps away what the killed ones were writing.
    workshop.run(&["images", "export", "big", "out.raw", "--force"]).done();
    let names = fs_err::read_dir(workshop.path("")).unwrap();
    let left: Vec<_> = names
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.contains("out.raw") && name != "out.raw")
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

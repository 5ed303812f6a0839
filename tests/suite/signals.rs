//! What each signal does to each command: `docs/signals.md` is the promise.

use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use crate::support::{Process, Running, Terminal, Workshop, executable, kill, texts, wait_for};

/// A script that a polite request does not end.
const STUBBORN: &str = "run=trap '' TERM INT HUP; while true; do sleep 1; done";

fn pause(milliseconds: u64) {
    std::thread::sleep(Duration::from_millis(milliseconds));
}

#[track_caller]
fn wait_for_status(workshop: &Workshop, status: &str) -> Value {
    wait_for("the state of the build", || {
        workshop.images().into_iter().find(|image| image["status"] == status)
    })
}

fn spawn_stubborn(workshop: &Workshop) -> Running {
    let build = workshop.spawn(&["build", "mock.tdl", "--parameter", STUBBORN]);
    wait_for("the script", || build.descendants().into_iter().find(Process::is_program));
    build
}

#[test]
fn a_second_request_ends_the_front_end_at_once_and_nothing_stays() {
    for signal in [Signal::INT, Signal::TERM] {
        let workshop = Workshop::new();
        let build = spawn_stubborn(&workshop);
        build.signal(signal);
        // Longer than what counts as one request, however late the first was heard.
        pause(1500);
        build.signal(signal);
        // The signal itself ended it, as a shell would tell by 130 or 143.
        assert_eq!(build.wait().code, None);
        workshop.assert_quiet();
        let image = workshop.images().remove(0);
        let error = image["status_detail"]["error"].as_str().unwrap();
        let told = (image["status"] == "FAILED" && error == "interrupted")
            || image["status"] == "CANCELLED";
        assert!(told, "{image:#}");
        workshop.assert_tidy();
    }
}

#[test]
fn a_signal_that_comes_twice_in_a_row_is_one_request() {
    let workshop = Workshop::new();
    let build = spawn_stubborn(&workshop);
    // As `timeout` does it: to the process, then to its group.
    build.signal(Signal::TERM);
    build.signal(Signal::TERM);
    pause(700);
    // As a shell does it when its terminal closes: again, and later.
    build.signal(Signal::HUP);
    build.wait().ended(8);
    assert_eq!(workshop.images()[0]["status"], "CANCELLED");
    workshop.assert_tidy();
}

#[test]
fn sigquit_ends_a_build_at_once_and_the_next_command_says_so() {
    let workshop = Workshop::new();
    let build = workshop.spawn_endless(&[]);
    build.signal(Signal::QUIT);
    assert_eq!(build.wait().code, None);
    workshop.assert_quiet();
    workshop.run(&["images", "list"]).done().says("was interrupted and is FAILED now");
    workshop.assert_tidy();
}

#[test]
fn each_signal_at_any_moment_of_any_tier_leaves_complete_or_cancelled_records() {
    let workshop = Workshop::new();
    fs_err::create_dir(workshop.path("cloud")).unwrap();
    let signals = [Signal::INT, Signal::TERM, Signal::HUP].into_iter().cycle();
    for (signal, step) in signals.zip(0..15) {
        let build = ["build", "mock.tdl", "--rebuild", "--target", "mock", "--provider", "cloud"];
        let build = workshop.spawn(&build);
        wait_for("its records", || (workshop.images().len() > 3 * step).then_some(()));
        pause(8 * step as u64);
        build.signal(signal);
        let ran = build.wait();
        assert!(matches!(ran.code, Some(0 | 8)), "{ran:#?}");
        workshop.assert_tidy();
        for status in texts(&workshop.images(), "status") {
            assert!(matches!(status.as_str(), "COMPLETE" | "CANCELLED"), "{status}");
        }
    }
    workshop.run(&["images", "check"]).done();
}

#[test]
fn a_terminal_that_closes_cancels_the_build_in_it() {
    let workshop = Workshop::new();
    let terminal = Terminal::open();
    let script = "exec $IMAGEFORGE build mock.tdl --target mock --parameter delay_ms=600000";
    let build = terminal.run(&workshop, script);
    wait_for_status(&workshop, "BUILDING");
    drop(terminal);
    build.wait().ended(8);
    for status in texts(&workshop.images(), "status") {
        assert_eq!(status, "CANCELLED");
    }
    workshop.assert_tidy();
}

#[test]
fn ctrl_c_in_a_terminal_cancels_the_build_and_reaches_no_worker_itself() {
    let workshop = Workshop::new();
    let terminal = Terminal::open();
    let build =
        terminal.run(&workshop, "exec $IMAGEFORGE build mock.tdl --parameter delay_ms=600000");
    wait_for_status(&workshop, "BUILDING");
    terminal.type_ctrl_c();
    build.wait().ended(8);
    let image = workshop.images().remove(0);
    assert_eq!(image["status"], "CANCELLED");
    assert!(!image["status_detail"].to_string().contains("SIGINT"), "{image:#}");
}

#[test]
fn a_request_that_reaches_the_worker_first_cancels_the_build_all_the_same() {
    let workshop = Workshop::new();
    let build = workshop.spawn_endless(&[]);
    let fence = build.descendants().into_iter().find(Process::is_wrapper).expect("a fence");
    // It ignores the others while it waits for what is in its namespace.
    kill(fence.id, Signal::HUP);
    build.signal(Signal::INT);
    build.wait().ended(8);
    assert_eq!(workshop.images()[0]["status"], "CANCELLED");
    workshop.assert_tidy();
}

#[test]
fn a_detached_build_outlives_its_terminal_and_hang_ups() {
    let workshop = Workshop::new();
    let terminal = Terminal::open();
    let hold = workshop.hold();
    let script =
        format!("$IMAGEFORGE build mock.tdl --detach --parameter \"run={hold}\"; sleep 100");
    let shell = terminal.run(&workshop, &script);
    wait_for_status(&workshop, "BUILDING");
    drop(terminal);
    assert_eq!(shell.wait().code, None, "the shell ended by the hang-up");
    let front_end = workshop.processes().into_iter().find(Process::is_detached).unwrap();
    kill(front_end.id, Signal::HUP);
    workshop.let_go();
    wait_for_status(&workshop, "COMPLETE");
    workshop.assert_tidy();
}

#[test]
fn a_polite_kill_cancels_a_detached_build() {
    let workshop = Workshop::new();
    workshop.run(&["build", "mock.tdl", "--detach", "--parameter", "delay_ms=600000"]).done();
    wait_for_status(&workshop, "BUILDING");
    let front_end = workshop.processes().into_iter().find(Process::is_detached).unwrap();
    kill(front_end.id, Signal::TERM);
    wait_for_status(&workshop, "CANCELLED");
    workshop.assert_tidy();
}

#[test]
fn an_order_whose_orderer_was_killed_before_it_was_accepted_leaves_no_failed_record() {
    for milliseconds in [0, 5, 10, 15, 20, 30, 40, 60] {
        let workshop = Workshop::new();
        let parent = workshop.spawn(&["build", "mock.tdl", "--target", "mock", "--detach"]);
        pause(milliseconds);
        parent.signal(Signal::KILL);
        drop(parent.wait());
        workshop.assert_quiet();
        for status in texts(&workshop.images(), "status") {
            assert_eq!(status, "COMPLETE");
        }
        workshop.assert_tidy();
    }
}

#[test]
fn nobody_reading_the_output_is_no_failure() {
    let workshop = Workshop::new();
    let run = |script: &str| {
        let mut bash = workshop.environment("bash");
        bash.args(["-o", "pipefail", "-c", script]).env("IMAGEFORGE", executable());
        let ran: crate::support::Ran = bash.output().unwrap().into();
        ran.done()
    };
    run("$IMAGEFORGE build mock.tdl --target mock | true");
    run("$IMAGEFORGE build mock.tdl --rebuild --parameter log_lines=2000 -vv 2>&1 | head -1");
    run("$IMAGEFORGE build mock.tdl --rebuild >&- 2>&-");
    run("$IMAGEFORGE images list | head -c0");
    run("$IMAGEFORGE images log $($IMAGEFORGE images list | cut -c1-8 | sed -n 2p) | head -1");
    for status in texts(&workshop.images(), "status") {
        assert_eq!(status, "COMPLETE");
    }
    workshop.assert_tidy();
}

#[test]
fn time_in_which_the_front_end_was_stopped_counts_for_no_limit() {
    let workshop = Workshop::new();
    workshop.write("settings.toml", "[limits]\nbase_seconds = 8\n");
    let build = workshop.spawn_endless(&["--config", "settings.toml"]);
    build.signal(Signal::STOP);
    pause(8500);
    // It looks at its limits again before it hears that it is to end.
    build.signal(Signal::CONT);
    build.signal(Signal::INT);
    build.wait().ended(8);
    assert_eq!(workshop.images()[0]["status"], "CANCELLED");
}

#[test]
fn following_a_log_ends_when_asked_and_the_build_goes_on() {
    let workshop = Workshop::new();
    let build = workshop.spawn_endless(&["--name", "long"]);
    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        let follow = workshop.spawn(&["images", "log", "long", "--follow"]);
        // It listens once it has a thread for signals.
        wait_for("it to listen", || follow.has_thread("signals").then_some(()));
        follow.signal(signal);
        follow.wait().ended(8).prints("== BUILDING");
    }
    assert_eq!(workshop.images()[0]["status"], "BUILDING");
    build.signal(Signal::INT);
    build.wait().ended(8);
}

#[test]
fn copies_and_checks_are_cancelled_and_leave_nothing() {
    let workshop = Workshop::new();
    let disk: Vec<u8> = (0..48_u32 << 20).map(|at| (at % 251) as u8).collect();
    workshop.write("disk.raw", disk);
    let import = ["images", "import", "disk.raw", "--template", "mock.tdl", "--name"];
    workshop.run(&[&import[..], &["whole"]].concat()).done();
    let commands: [&[&str]; 3] = [
        &["images", "import", "disk.raw", "--template", "mock.tdl", "--name", "part"],
        &["images", "export", "whole", "out.raw", "--force"],
        &["images", "check", "whole"],
    ];
    for command in commands {
        for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
            let mut running = workshop.spawn(command);
            wait_for("it to listen or end", || {
                (running.has_thread("signals") || running.is_over()).then_some(())
            });
            running.signal(signal);
            let ran = running.wait();
            assert!(matches!(ran.code, Some(0 | 8)), "{ran:#?}");
            workshop.assert_tidy();
            let half = fs_err::metadata(workshop.path("out.raw"));
            assert!(half.is_err() || half.unwrap().len() == 48 << 20);
        }
    }
    for status in texts(&workshop.images(), "status") {
        assert_eq!(status, "COMPLETE");
    }
}

/// Asks about a library whose constructor never comes back.
fn spawn_endless_probe(workshop: &Workshop) -> Running {
    workshop.link_misbehaving("loading");
    let mut check = workshop.command(&["plugins", "check", "loading"]);
    check.env("MISBEHAVE", "constructor: sleep");
    Running::start(check)
}

#[test]
fn a_probe_does_not_outlive_whoever_asked() {
    let workshop = Workshop::new();
    let check = spawn_endless_probe(&workshop);
    wait_for("the probe", || check.descendants().into_iter().find(Process::is_probe));
    check.signal(Signal::KILL);
    drop(check.wait());
    workshop.assert_quiet();
}

#[test]
fn a_probe_that_somebody_killed_is_asked_again() {
    let workshop = Workshop::new();
    let check = spawn_endless_probe(&workshop);
    let probe = || check.descendants().into_iter().find(Process::is_probe).map(|probe| probe.id);
    let first = wait_for("the probe", probe);
    kill(first, Signal::KILL);
    wait_for("another probe", || probe().filter(|second| *second != first));
    check.signal(Signal::INT);
    // Nothing is lost that could not be found out again: the signal may end it at once.
    assert_eq!(check.wait().code, None);
    workshop.assert_quiet();
}

//! Plugins that fail on purpose: what becomes of them, what is said, and that nobody else suffers.
//!
//! [`cases`] is one table. Each case is a build with one of the plugins of `tests/misbehaving` while
//! a healthy build runs beside it, which must complete. `docs/fault-matrix.md` is made from the
//! table; `UPDATE_GOLDEN=1` writes it anew.

mod cases;
mod matrix;

use std::time::Duration;

use cases::{CASES, Case, Then};
use rustix::process::Signal;

use crate::support::{Ran, Workshop, wait_for};

/// Every case of a plugin.
fn assert_contained(plugin: &str) {
    let cases: Vec<&Case> = CASES.iter().filter(|case| case.plugin == plugin).collect();
    assert!(!cases.is_empty(), "no case of `{plugin}`");
    cases.into_iter().for_each(assert_case);
}

#[track_caller]
fn assert_case(case: &Case) {
    let workshop = Workshop::new();
    workshop.link_misbehaving(case.plugin);
    workshop.write("settings.toml", case.settings);
    let settings = workshop.path("settings.toml").display().to_string();
    workshop.template_for("bad.tdl", "Misbehaving");
    let neighbour = workshop.spawn(&[
        "base-image",
        "mock.tdl",
        "--name",
        "neighbour",
        "--parameter",
        "delay_ms=1500",
    ]);
    wait_for("the neighbour to work", || {
        workshop.images().iter().any(|image| image["status"] == "BUILDING").then_some(())
    });

    let mut arguments = vec!["--config", &settings, "base-image", "bad.tdl", "--name", "bad"];
    let parameters = [format!("when={}", case.when), format!("how={}", case.how)];
    if !case.when.is_empty() {
        arguments.extend(["--parameter", &parameters[0], "--parameter", &parameters[1]]);
    }
    let ran = run(&workshop, &arguments, case);
    let told = format!("{case:#?}: {ran:#?}");
    assert_eq!(ran.code, Some(case.exit), "{told}");
    for words in case.words {
        assert!(ran.stderr.contains(words), "`{words}` in {told}");
    }

    let beside = neighbour.wait();
    assert_eq!(beside.code, Some(0), "the neighbour of {told} ended so: {beside:#?}");
    let bad = workshop.images().into_iter().find(|image| image["name"] == "bad");
    let state = bad.map(|image| image["status"].as_str().unwrap().to_owned());
    assert_eq!(state.as_deref().unwrap_or("no record"), case.state, "{told}");
    if !case.probe.is_empty() {
        let shown = workshop.json(&["plugins", "show", case.plugin]);
        assert_eq!(shown["status"]["state"], case.probe, "{told}");
    }
    workshop.assert_tidy();
}

/// Runs the build, and does to it what the case says.
fn run(workshop: &Workshop, arguments: &[&str], case: &Case) -> Ran {
    let running = workshop.spawn(arguments);
    if case.then == Then::Cancelled {
        wait_for("the plugin to misbehave", || {
            let images = workshop.images();
            let activity = |image: &serde_json::Value| {
                image["status_detail"]["activity"] == "about to misbehave"
            };
            images.iter().any(activity).then_some(())
        });
        // Give it the time to be at it.
        std::thread::sleep(Duration::from_millis(200));
        running.signal(Signal::INT);
    }
    running.wait()
}

macro_rules! families {
    ($($test:ident => $plugin:literal,)*) => {
        $(
            #[test]
            fn $test() {
                assert_contained($plugin);
            }
        )*

        #[test]
        fn every_case_is_tried() {
            let tried = [$($plugin),*];
            let forgotten = CASES.iter().find(|case| !tried.contains(&case.plugin));
            assert!(forgotten.is_none(), "{forgotten:#?}");
        }
    };
}

families! {
    a_panic_fails_the_image_and_nothing_else => "panics",
    a_crash_is_told_with_its_signal_and_its_method => "crashes",
    a_plugin_that_never_comes_back_is_ended => "hangs",
    what_takes_without_end_is_stopped_by_a_limit => "exhausts",
    what_breaks_its_own_process_breaks_nothing_else => "vandalises",
    a_body_that_is_none_is_refused => "lies",
    an_abort_in_a_constructor_keeps_the_library_out => "constructor-aborts",
    a_crash_in_a_constructor_keeps_the_library_out => "constructor-segfaults",
    an_exit_in_a_constructor_keeps_the_library_out => "constructor-exits",
    a_loop_in_a_constructor_keeps_the_library_out => "constructor-hangs",
}

#[test]
fn the_fault_matrix_is_that_of_the_cases() {
    matrix::assert_current();
}

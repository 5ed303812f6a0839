use std::os::unix::fs::PermissionsExt;

use camino::Utf8PathBuf;

use super::*;

/// Runs a probe whose executable is a shell script; `$2` is the library, `$3` the nonce.
fn probed(script: &str, limit: Duration) -> ProbeOutcome {
    let folder = tempfile::tempdir().unwrap();
    let path = Utf8PathBuf::from_path_buf(folder.path().join("imageforge")).unwrap();
    fs_err::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs_err::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
    // Another thread of this test may hold the script open for writing in a child that it is
    // about to start; the kernel then answers that the text file is busy.
    loop {
        let fence = Isolation::ProcessGroup;
        let outcome = run_behind(fence, &path, "/lib/x.so".into(), &Reach::default(), limit);
        match &outcome {
            ProbeOutcome::NotProbed { reason } if reason.contains("busy") => {},
            _ => return outcome,
        }
    }
}

const LONG: Duration = Duration::from_mins(1);

const FITS: &str =
    r#"printf '{"nonce":"%s","outcome":"fits","api_version":"0.1.0","delegates":[]}\n' "$3""#;

#[test]
fn a_positive_answer_with_the_nonce_counts() {
    let outcome = probed(&format!("echo noise; echo; {FITS}; echo more noise"), LONG);
    assert!(matches!(&outcome, ProbeOutcome::Fits(d) if d.api_version.minor == 1), "{outcome:?}");
}

#[test]
fn ending_well_without_an_answer_proves_nothing() {
    for script in [
        "exit 0",
        "echo ok",
        r#"echo '{"nonce":"guessed","outcome":"fits","api_version":"0.1.0","delegates":[]}'"#,
    ] {
        let outcome = probed(script, LONG);
        assert!(matches!(outcome, ProbeOutcome::Exited { code: 0, .. }), "{outcome:?}");
    }
}

#[test]
fn an_answer_before_a_bad_end_does_not_count() {
    let outcome = probed(&format!("{FITS}; exit 7"), LONG);
    assert!(matches!(outcome, ProbeOutcome::Exited { code: 7, .. }), "{outcome:?}");
    let outcome = probed(&format!("{FITS}; kill -SEGV $$"), LONG);
    assert!(matches!(&outcome, ProbeOutcome::Crashed { signal, .. } if signal == "SIGSEGV"));
}

#[test]
fn a_crash_is_told_with_its_signal_and_last_words() {
    let outcome = probed("echo first >&2; echo last words >&2; kill -ABRT $$", LONG);
    assert_eq!(
        outcome.to_string(),
        "the library crashed when it was opened (SIGABRT); its last words: last words"
    );
}

#[test]
fn a_child_that_hangs_is_ended_with_all_its_children() {
    let folder = tempfile::tempdir().unwrap();
    let pid_file = folder.path().join("pid");
    let script = format!("sleep 1000 & echo $! > {}; wait", pid_file.display());
    let outcome = probed(&script, Duration::from_millis(400));
    assert_eq!(outcome.to_string(), "the library did not open within 400ms");
    let pid = fs_err::read_to_string(&pid_file).unwrap();
    let pid = Pid::from_raw(pid.trim().parse().unwrap()).unwrap();
    // Its new parent reaps it in a moment.
    let deadline = Instant::now() + LONG;
    while rustix::process::test_kill_process(pid).is_ok() {
        let stat = fs_err::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero()));
        if stat.is_ok_and(|stat| stat.contains(") Z ")) {
            break;
        }
        assert!(Instant::now() < deadline, "a child of the child lives on");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_child_left_behind_does_not_delay_the_answer() {
    let start = Instant::now();
    let outcome = probed(&format!("sleep 1000 & {FITS}"), LONG);
    assert!(matches!(outcome, ProbeOutcome::Fits(_)), "{outcome:?}");
    assert!(start.elapsed() < LONG);
}

#[test]
fn a_flood_of_output_is_cut_and_the_answer_at_its_end_found() {
    let outcome = probed(&format!("head -c 3000000 /dev/zero; echo; {FITS}"), LONG);
    assert!(matches!(outcome, ProbeOutcome::Fits(_)), "{outcome:?}");
    let outcome = probed("while :; do echo flood; done", Duration::from_millis(300));
    assert!(matches!(outcome, ProbeOutcome::Hung { .. }), "{outcome:?}");
}

#[test]
fn the_child_has_no_standard_input() {
    let outcome = probed(&format!("read line && exit 9; {FITS}"), LONG);
    assert!(matches!(outcome, ProbeOutcome::Fits(_)), "{outcome:?}");
}

#[test]
fn a_missing_executable_says_nothing_about_the_library() {
    let outcome =
        run("/nonexistent/imageforge".into(), "/lib/x.so".into(), &Reach::default(), LONG);
    assert!(matches!(outcome, ProbeOutcome::NotProbed { .. }));
    assert!(!outcome.is_about_the_library());
}

#[test]
fn an_answer_crosses_as_it_was() {
    let outcome =
        ProbeOutcome::Refused { reason: "line\nwith \"quotes\"".into(), hint: String::new() };
    let answer = Answer { nonce: "n".into(), outcome: outcome.clone() };
    let line = serde_json::to_string(&answer).unwrap();
    assert!(!line.contains('\n'));
    assert_eq!(serde_json::from_str::<Answer>(&line).unwrap().outcome, outcome);
}

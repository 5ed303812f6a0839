//! Plugins that fail on purpose: what becomes of them, what is said, and that nobody else suffers.
//!
//! [`cases`] is one table. Each case is a build with a plugin of `tests/misbehaving`, or with a
//! library that is none, while a healthy build works beside it and must complete.
//! `docs/fault-matrix.md` is made from the table; `UPDATE_GOLDEN=1` writes it anew.

mod cases;
mod matrix;
mod stage;

use std::sync::atomic::{AtomicUsize, Ordering};

use cases::{Case, FAMILIES};
use stage::Stage;

/// Cases of one test that are tried at once: most of their time they wait.
const AT_ONCE: usize = 12;

/// Every case of a family.
fn assert_contained(title: &str) {
    let family = FAMILIES.iter().find(|family| family.title == title).expect("a family");
    let cases: Vec<&Case> = family.cases.iter().collect();
    assert!(!cases.is_empty(), "no case in `{title}`");
    let next = AtomicUsize::new(0);
    let work = || {
        while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
            assert_case(case);
        }
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(work)).collect();
        let ended: Vec<_> = workers.into_iter().map(std::thread::ScopedJoinHandle::join).collect();
        assert!(ended.iter().all(Result::is_ok), "a case of `{title}` failed: see above");
    });
}

fn assert_case(case: &Case) {
    let stage = Stage::set(case);
    let neighbour = stage.start_neighbour();
    let ran = stage.commit();
    let told = format!("{case:#?}: {ran:#?}");
    assert_eq!(ran.code, Some(case.exit), "{told}");
    for words in case.words {
        assert!(ran.stderr.contains(words), "`{words}` in {told}");
    }
    if case.exit != 0 {
        stage.assert_told(&ran);
    }
    assert!(!ran.stdout.contains("scribbled"), "{told}");
    // Nobody but the host speaks for the host, or to the terminal.
    assert!(!ran.stderr.contains('\u{1b}'), "{told}");
    assert!(!ran.stderr.lines().any(|line| line.starts_with("error: forged")), "{told}");
    assert_eq!(stage.state(), case.state, "{told}");
    stage.assert_log(&ran);
    stage.assert_probe(&ran);
    stage.assert_unharmed(neighbour, &ran);
}

macro_rules! families {
    ($($test:ident => $title:literal,)*) => {
        $(
            #[test]
            fn $test() {
                assert_contained($title);
            }
        )*

        #[test]
        fn every_family_is_tried() {
            let tried = [$($title),*];
            let forgotten = FAMILIES.iter().find(|family| !tried.contains(&family.title));
            assert!(forgotten.is_none(), "{forgotten:#?}");
        }
    };
}

families! {
    a_panic_fails_the_image_and_nothing_else => "It panics",
    a_crash_is_told_with_its_signal_and_its_method => "It ends its process",
    a_plugin_that_never_comes_back_is_ended => "It never comes back",
    what_takes_without_end_is_stopped_by_a_limit => "It takes without end",
    what_breaks_its_own_process_breaks_nothing_else => "It breaks its own process",
    what_reaches_beyond_its_own_is_stopped_there => "It reaches beyond what is its own",
    a_body_that_is_none_is_refused => "It says or leaves what cannot be",
    a_cloud_that_misbehaves_loses_no_record => "A cloud's plugin does it",
    a_library_that_misbehaves_while_it_is_loaded_is_kept_out => "It does it while it is loaded",
    a_library_that_is_none_is_kept_out => "Its library is not what it should be",
}

#[test]
fn the_fault_matrix_is_that_of_the_cases() {
    matrix::assert_current();
}

//! The fuzzer's checks on changed inputs, on any toolchain.

use camino::Utf8Path;
use plugin_kit::formats::{FormatError, inspect};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::edits::{edited, in_place, near_a_committed_input};
use crate::folder::{inputs, words};

/// Inputs per subject that is read in memory, and per one that is written to files.
const CASES: u32 = 512;
const FILE_CASES: u32 = 96;

fn run<S: Strategy>(cases: u32, inputs: &S, check: impl Fn(S::Value)) {
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let checked = TestRunner::new(config).run(inputs, |input| {
        check(input);
        Ok(())
    });
    checked.unwrap_or_else(|error| panic!("{error}"));
}

macro_rules! a_changed_input_keeps_the_promises_of {
    ($($subject:ident: $cases:expr,)*) => {
        mod a_changed_input_keeps_the_promises_of {
            use super::{CASES, FILE_CASES, near_a_committed_input, run};
            $(#[test] fn $subject() {
                let inputs = near_a_committed_input(stringify!($subject));
                run($cases, &inputs, |input| fuzz::$subject(&input));
            })*
        }
    };
}

a_changed_input_keeps_the_promises_of! {
    ext4: CASES,
    info: CASES,
    parameters: CASES,
    qcow2: FILE_CASES,
    round_trip: FILE_CASES / 4,
    settings: CASES,
    tdl: CASES,
    toml_template: CASES,
    vhd: FILE_CASES,
    vmdk: FILE_CASES,
    worker_input: CASES,
    worker_output: CASES,
}

#[test]
fn random_bytes_keep_the_promises_of_every_subject() {
    run(CASES, &prop::collection::vec(any::<u8>(), 0..300), |input| {
        // Any bytes are a disk, which takes a while to write.
        for (_, check) in fuzz::SUBJECTS.iter().filter(|(name, _)| *name != "round_trip") {
            check(&input);
        }
    });
}

/// Where an image tells its size: bytes at its start and at its end.
const SIZES: [(&str, usize, usize); 3] = [("qcow2", 112, 0), ("vmdk", 512, 1024), ("vhd", 0, 512)];

#[test]
fn an_image_changed_behind_its_header_is_refused_or_keeps_its_size() {
    let scratch = tempfile::tempdir().unwrap();
    let path = Utf8Path::from_path(scratch.path()).unwrap().join("image");
    let size_of = |bytes: &[u8]| {
        fs_err::write(&path, bytes).unwrap();
        inspect(&path).map(|found| (found.format, found.virtual_bytes))
    };
    for (subject, head, tail) in SIZES {
        let mut valid = 0;
        for (file, input) in inputs(subject) {
            let Ok(before) = size_of(&input) else { continue };
            let Some(len) = input.len().checked_sub(head + tail).filter(|len| *len > 0) else {
                continue;
            };
            valid += 1;
            let edits = prop::collection::vec(in_place(words(subject)), 1..6);
            run(FILE_CASES / 2, &edits, |edits| {
                let changed = edited(&input[head..head + len], &edits);
                let image = [&input[..head], &changed, &input[head + len..]].concat();
                match size_of(&image) {
                    Ok(after) => assert_eq!(after, before, "{}", file.display()),
                    Err(FormatError::Malformed { .. } | FormatError::Unsupported { .. }) => {},
                    Err(error) => panic!("{}: {error:?}", file.display()),
                }
            });
        }
        assert!(valid > 0, "no valid image of {subject}");
    }
}

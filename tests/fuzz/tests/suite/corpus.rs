//! Every committed input: seeds and past findings.

use std::collections::BTreeSet;

use fuzz::{MAX_INPUT_BYTES, SUBJECTS};
use peak_alloc::PeakAlloc;

use crate::folder::{files, inputs, path};

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// What a reader may take for an input of [`MAX_INPUT_BYTES`], in MiB. Many times what it does take;
/// but an allocation of the size that a header claims is larger still.
const MAX_MEMORY_MIB: f32 = 256.0;

/// Runs all inputs of a subject; the last path printed is the one that failed.
fn run(subject: &str) {
    let (_, check) = SUBJECTS.iter().find(|(name, _)| *name == subject).unwrap();
    let inputs = inputs(subject);
    assert!(!inputs.is_empty());
    for (path, input) in inputs {
        println!("{}", path.display());
        assert!(input.len() <= MAX_INPUT_BYTES);
        MEMORY.reset_peak_usage();
        check(&input);
        let peak = MEMORY.peak_usage_as_mb();
        assert!(peak < MAX_MEMORY_MIB, "{peak} MiB");
    }
}

macro_rules! every_input_keeps_the_promises_of {
    ($($subject:ident)*) => {
        mod every_input_keeps_the_promises_of {
            $(#[test] fn $subject() { super::run(stringify!($subject)); })*
            pub(super) const TESTED: &[&str] = &[$(stringify!($subject)),*];
        }
    };
}

every_input_keeps_the_promises_of! {
    ext4 info parameters qcow2 round_trip settings tdl toml_template vhd vmdk worker_input worker_output
}

#[test]
fn every_subject_has_a_target_a_corpus_and_a_test() {
    let subjects: BTreeSet<String> = SUBJECTS.iter().map(|(name, _)| (*name).to_owned()).collect();
    let named = |folder: &str| -> BTreeSet<String> {
        let stem =
            |path: &std::path::PathBuf| path.file_stem().unwrap().to_str().unwrap().to_owned();
        files(&path(folder)).iter().map(stem).collect()
    };
    assert_eq!(named("targets"), subjects);
    assert_eq!(named("corpus"), subjects);
    assert!(named("dictionaries").is_subset(&subjects));
    let tested = every_input_keeps_the_promises_of::TESTED;
    assert_eq!(tested.iter().map(|&name| name.to_owned()).collect::<BTreeSet<_>>(), subjects);
}

/// Else the fuzzer would only learn how to be refused.
#[test]
fn file_systems_of_the_corpus_are_read() {
    for name in ["wide", "narrow"] {
        let image = fs_err::read(path("corpus/ext4").join(name)).unwrap();
        let tree = ext4::Tree::from_image(std::sync::Arc::new(image), |_| true).unwrap();
        assert_eq!(tree.paths().len(), 10, "{name}");
    }
}

#[test]
fn templates_of_the_conformance_tests_keep_the_promises() {
    for path in files(&path("../../host/tests/data/templates")) {
        println!("{}", path.display());
        let input = fs_err::read(&path).unwrap();
        fuzz::tdl(&input);
        fuzz::toml_template(&input);
    }
}

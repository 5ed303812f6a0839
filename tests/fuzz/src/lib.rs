//! What holds for every reader of bytes from elsewhere, whatever the bytes.
//!
//! One function per subject. Each takes any bytes, reads them as the host would, and panics when a
//! promise is broken: values that were printed read back, errors name their place and are fit for a
//! terminal, images keep what [`ReadAt`](plugin_kit::sparse::ReadAt) promises. The same functions
//! are called by cargo-fuzz (`targets/`, `make fuzz`) and by the suite (`tests/`), so that both
//! check the same thing. `corpus/` has an input per line of [`SUBJECTS`] and kind of content, and
//! each past finding.
#![expect(clippy::expect_used, clippy::panic, reason = "a broken promise is a panic")]

mod ext4;
mod image;
mod info;
mod parameters;
mod round_trip;
mod settings;
mod template;
mod worker;

pub use self::ext4::ext4;
pub use image::{qcow2, vhd, vmdk};
pub use info::info;
pub use parameters::parameters;
pub use round_trip::round_trip;
pub use settings::settings;
pub use template::{tdl, toml_template};
pub use worker::{worker_input, worker_output};

/// A reader, with its promises, given any bytes.
pub type Check = fn(&[u8]);

/// What is fuzzed: the name of its target, corpus and dictionary, and its check.
pub const SUBJECTS: [(&str, Check); 12] = [
    ("ext4", ext4),
    ("info", info),
    ("parameters", parameters),
    ("qcow2", qcow2),
    ("round_trip", round_trip),
    ("settings", settings),
    ("tdl", tdl),
    ("toml_template", toml_template),
    ("vhd", vhd),
    ("vmdk", vmdk),
    ("worker_input", worker_input),
    ("worker_output", worker_output),
];

/// Longest input worth reading, in bytes: nothing new happens in longer ones, only later.
pub const MAX_INPUT_BYTES: usize = 128 << 10;

/// Messages quote what they are about; what a terminal would obey must not come through.
fn assert_fit_for_a_terminal(message: &str) {
    assert!(!message.is_empty(), "an empty message");
    let obeyed =
        |c: char| c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    assert!(!message.contains(obeyed), "{message:?}");
}

/// Whether `line` is one of `text`, counted from 1.
fn assert_line_of(line: usize, text: &str) {
    let lines = text.matches('\n').count() + 1;
    assert!((1..=lines).contains(&line), "line {line} of {lines}");
}

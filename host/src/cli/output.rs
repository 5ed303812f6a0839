//! The only place that prints: data on standard output, everything else on standard error.

use std::io::{ErrorKind, IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::FileType;
use rustix::io::Errno;
use serde::Serialize;
use serde_json::json;

use super::args::Format;
use super::error::Failures;
use crate::boot::plain_text;

/// Where and how this command writes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Output {
    /// Form of data.
    pub(super) format: Format,
    /// Whether only errors are shown.
    pub(super) quiet: bool,
}

impl Output {
    /// Data for people; nothing with `--format json`. Plugins said some of it, so it is made plain.
    pub(super) fn text(self, text: impl AsRef<str>) {
        if self.format == Format::Text {
            write_stdout(&plain_text(text.as_ref()));
        }
    }

    /// Data for programs; nothing with `--format text`.
    pub(super) fn json(self, value: &impl Serialize) {
        if self.format == Format::Json {
            write_stdout(&serde_json::to_string_pretty(value).unwrap_or_default());
        }
    }

    /// A line about what is going on.
    pub(super) fn note(self, text: impl AsRef<str>) {
        if !self.quiet {
            write_stderr(text.as_ref());
        }
    }

    /// What a guest says on its console, as it says it.
    pub(super) fn console(self, text: &str) {
        if !self.quiet {
            let text = plain_text(text);
            let mut stderr = std::io::stderr().lock();
            drop(stderr.write_all(text.as_bytes()).and_then(|()| stderr.flush()));
        }
    }

    /// A line about what went wrong.
    pub(super) fn error(text: impl AsRef<str>) {
        write_stderr(text.as_ref());
    }

    /// What went wrong. With `--format json` it is the document of the command.
    pub(super) fn failures(self, failures: &Failures) {
        for failure in failures.iter() {
            Self::error(failure.to_text());
        }
        self.json(&json!({ "errors": failures.to_json() }));
    }

    /// Whether progress can be drawn in place.
    pub(super) fn draws(self) -> bool {
        !self.quiet && std::io::stderr().is_terminal()
    }
}

/// Whether data could not be written, other than because its reader went away.
static DATA_LOST: AtomicBool = AtomicBool::new(false);
/// Whether the reader of standard output went away.
static READER_GONE: AtomicBool = AtomicBool::new(false);

/// Whether nobody reads standard output any more.
pub(super) fn reader_gone() -> bool {
    READER_GONE.load(Ordering::Relaxed)
}

/// Whether standard output took all data.
pub(super) fn data_lost() -> bool {
    DATA_LOST.load(Ordering::Relaxed)
}

/// A terminal whose window was closed answers everything with EIO, also the question what it is.
fn is_closed_terminal(error: &std::io::Error) -> bool {
    let is_device = || {
        let found = rustix::fs::fstat(std::io::stdout())?;
        Ok::<_, Errno>(FileType::from_raw_mode(found.st_mode) == FileType::CharacterDevice)
    };
    Errno::from_io_error(error) == Some(Errno::IO) && is_device().unwrap_or(false)
}

/// A reader that went away (`| head`) is no error; a full disk is one.
pub(super) fn write_stdout(text: &str) {
    let mut stdout = std::io::stdout().lock();
    let written = writeln!(stdout, "{text}").and_then(|()| stdout.flush());
    match written {
        Ok(()) => {},
        Err(error) if error.kind() == ErrorKind::BrokenPipe || is_closed_terminal(&error) => {
            READER_GONE.store(true, Ordering::Relaxed);
        },
        Err(_) => DATA_LOST.store(true, Ordering::Relaxed),
    }
}

/// Nobody may be listening any more.
fn write_stderr(text: &str) {
    drop(writeln!(std::io::stderr().lock(), "{}", plain_text(text)));
}

/// Writes a completion script.
pub(super) fn completions(shell: clap_complete::Shell, command: &mut clap::Command) {
    let mut script = Vec::new();
    clap_complete::generate(shell, command, "imageforge", &mut script);
    write_stdout(String::from_utf8_lossy(&script).trim_end());
}

/// A table with aligned columns, no trailing spaces.
pub(super) fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max()
    };
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or_default()).collect();
    let line = |row: &Vec<String>| {
        let cells: Vec<String> =
            row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        cells.join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// A number of bytes for people, in binary units.
pub(super) fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    #[expect(clippy::cast_precision_loss, reason = "shown with one decimal")]
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

//! A build as a user sees it: a live line per image on a terminal, else one line per change.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use plugin_api::host::LogLevel;

use super::output::Output;
use crate::boot::plain_text;
use crate::factory::{Notice, Observer, What};
use crate::images::{ImageId, Status};

/// Shows a build.
#[derive(Debug)]
pub(super) struct Progress {
    output: Output,
    verbose: u8,
    bars: Option<MultiProgress>,
    lines: Mutex<HashMap<ImageId, ProgressBar>>,
}

impl Progress {
    /// Shows a build on `output`; the log as well when `verbose` is not 0.
    pub(super) fn new(output: Output, verbose: u8) -> Self {
        Self {
            output,
            verbose,
            bars: output.draws().then(MultiProgress::new),
            lines: Mutex::default(),
        }
    }

    /// Plugins and programs say what they like; the terminal is the user's.
    fn say(&self, line: &str) {
        // Further lines of a text are indented: they must not pass for lines of ours.
        let line = &plain_text(line).trim_end().replace('\n', "\n    ");
        match &self.bars {
            // A terminal that went away is no error.
            Some(bars) => drop(bars.println(line)),
            None => self.output.note(line),
        }
    }

    fn with_bar(&self, notice: &Notice<'_>, change: impl FnOnce(&ProgressBar)) {
        let Some(bars) = &self.bars else { return };
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let bar = lines.entry(notice.image).or_insert_with(|| {
            let bar = bars.add(ProgressBar::new(100));
            bar.set_style(style());
            bar.set_prefix(notice.label.to_owned());
            bar.enable_steady_tick(Duration::from_millis(100));
            bar
        });
        change(bar);
    }

    fn status(&self, notice: &Notice<'_>, status: Status) {
        let word = status.to_string().to_lowercase();
        if status.is_terminal() {
            self.with_bar(notice, ProgressBar::finish_and_clear);
            self.say(&format!("{}: {word} ({})", notice.label, notice.image.short()));
        } else if self.bars.is_some() {
            self.with_bar(notice, |bar| bar.set_message(word));
        } else {
            self.say(&format!("{}: {word} ({})", notice.label, notice.image.short()));
        }
    }

    fn log(&self, notice: &Notice<'_>, level: LogLevel, text: &str) {
        let shown = match self.verbose {
            0 => LogLevel::Warn,
            1 => LogLevel::Info,
            _ => LogLevel::Trace,
        };
        if level <= shown {
            self.say(&format!("{}: {text}", notice.label));
        }
    }
}

impl Observer for Progress {
    fn notice(&self, notice: &Notice<'_>) {
        match &notice.what {
            What::Status(status) => self.status(notice, *status),
            What::Progress(percent) => {
                self.with_bar(notice, |bar| bar.set_position(u64::from(*percent)));
            },
            What::Activity(text) if self.bars.is_none() => {
                self.say(&format!("{}: {text}", notice.label));
            },
            What::Activity(text) => {
                self.with_bar(notice, |bar| bar.set_message(plain_text(text).replace('\n', " ")));
            },
            What::Log(record) => self.log(notice, record.level, &record.message),
            What::Output(line) => self.log(notice, LogLevel::Info, line),
        }
    }
}

fn style() -> ProgressStyle {
    ProgressStyle::with_template("{prefix:.bold} {bar:20} {pos:>3}% {elapsed:>4} {wide_msg}")
        .unwrap_or_else(|_| ProgressStyle::default_bar())
}

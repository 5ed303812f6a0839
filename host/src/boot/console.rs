//! The serial console of a guest: a file that QEMU appends to.

use std::io::Read;
use std::time::{Duration, Instant};

use camino::{Utf8Path, Utf8PathBuf};

/// A guest whose kernel said this is alive.
const KERNEL_SPEAKS: &str = "Linux version";

/// Follows the console.
#[derive(Debug)]
pub(super) struct Console {
    path: Utf8PathBuf,
    file: fs_err::File,
    text: String,
    last_news: Instant,
}

impl Console {
    /// An empty console at `path`.
    pub(super) fn create(path: Utf8PathBuf) -> std::io::Result<Self> {
        fs_err::write(&path, "")?;
        let file = fs_err::File::open(&path)?;
        Ok(Self { path, file, text: String::new(), last_news: Instant::now() })
    }

    pub(super) fn path(&self) -> &Utf8Path {
        &self.path
    }

    /// Everything so far.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// What came since the last call.
    pub(super) fn read_news(&mut self) -> std::io::Result<String> {
        let mut bytes = Vec::new();
        self.file.read_to_end(&mut bytes)?;
        if !bytes.is_empty() {
            self.last_news = Instant::now();
        }
        let news = String::from_utf8_lossy(&bytes).into_owned();
        self.text.push_str(&news);
        Ok(news)
    }

    /// Whether a guest shows no sign of running: its machine ended, or fell silent for `patience`
    /// after its boot loader and before its kernel spoke.
    pub(super) fn is_dead(&self, patience: Duration, ended: bool) -> bool {
        if self.text.contains(KERNEL_SPEAKS) {
            return false;
        }
        let firmware_done = !self.text.is_empty();
        // Firmware may be silent for long; what follows it may not.
        let patience = if firmware_done { patience } else { patience * 5 };
        ended || self.last_news.elapsed() > patience
    }

    /// The last `count` lines with something in them, without terminal control sequences.
    pub(super) fn last_lines(&self, count: usize) -> Vec<String> {
        let lines: Vec<String> = self
            .text
            .lines()
            .map(|line| strip_control(line).trim_end().to_owned())
            .filter(|line| !line.is_empty())
            .collect();
        lines[lines.len().saturating_sub(count)..].to_vec()
    }
}

/// `line` without ECMA-48 control sequences and control characters.
fn strip_control(line: &str) -> String {
    let mut plain = String::with_capacity(line.len());
    let mut characters = line.chars().peekable();
    while let Some(character) = characters.next() {
        if character == '\u{1b}' && characters.peek() == Some(&'[') {
            characters.next();
            // A sequence ends with a byte from `@` to `~`.
            while characters.next_if(|c| !('@'..='~').contains(c)).is_some() {}
            characters.next();
        } else if !character.is_control() || character == '\t' {
            plain.push(character);
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::strip_control;

    #[test]
    fn colours_do_not_reach_an_error_message() {
        assert_eq!(strip_control("[\u{1b}[0;32m  OK  \u{1b}[0m] Started\r"), "[  OK  ] Started");
    }
}

//! The serial console of a guest: a file that QEMU appends to.

use std::io::Read;
use std::time::{Duration, Instant};

use camino::{Utf8Path, Utf8PathBuf};

/// A guest whose kernel said this is alive.
const KERNEL_SPEAKS: &str = "Linux version";

/// What is kept in memory; the file has everything.
const KEPT_BYTES: usize = 64 << 10;

/// Follows the console.
#[derive(Debug)]
pub(super) struct Console {
    path: Utf8PathBuf,
    file: fs_err::File,
    /// The last bytes, at least those that came with the last news.
    tail: Vec<u8>,
    kernel_spoke: bool,
    last_news: Instant,
}

impl Console {
    /// An empty console at `path`.
    pub(super) fn create(path: Utf8PathBuf) -> std::io::Result<Self> {
        fs_err::write(&path, "")?;
        let file = fs_err::File::open(&path)?;
        Ok(Self { path, file, tail: Vec::new(), kernel_spoke: false, last_news: Instant::now() })
    }

    pub(super) fn path(&self) -> &Utf8Path {
        &self.path
    }

    /// Whether `text` is among the last words.
    pub(super) fn said(&self, text: &str) -> bool {
        contains(&self.tail, text.as_bytes())
    }

    /// What came since the last call.
    pub(super) fn read_news(&mut self) -> std::io::Result<String> {
        let mut news = Vec::new();
        self.file.read_to_end(&mut news)?;
        if news.is_empty() {
            return Ok(String::new());
        }
        self.last_news = Instant::now();
        let surplus = self.tail.len().saturating_sub(KEPT_BYTES);
        self.tail.drain(..surplus);
        self.tail.extend_from_slice(&news);
        self.kernel_spoke = self.kernel_spoke || self.said(KERNEL_SPEAKS);
        Ok(String::from_utf8_lossy(&news).into_owned())
    }

    /// Whether a guest shows no sign of running: its machine ended, or fell silent for `patience`
    /// after its boot loader and before its kernel spoke.
    pub(super) fn is_dead(&self, patience: Duration, ended: bool) -> bool {
        if self.kernel_spoke {
            return false;
        }
        let firmware_done = !self.tail.is_empty();
        // Firmware may be silent for long; what follows it may not.
        let patience = if firmware_done { patience } else { patience * 5 };
        ended || self.last_news.elapsed() > patience
    }

    /// The last `count` lines with something in them, without terminal control sequences.
    pub(super) fn last_lines(&self, count: usize) -> Vec<String> {
        let lines: Vec<String> = String::from_utf8_lossy(&self.tail)
            .lines()
            .map(|line| plain_text(line).trim_end().to_owned())
            .filter(|line| !line.is_empty())
            .collect();
        lines[lines.len().saturating_sub(count)..].to_vec()
    }
}

fn contains(bytes: &[u8], wanted: &[u8]) -> bool {
    wanted.is_empty() || bytes.windows(wanted.len()).any(|window| window == wanted)
}

/// `line` without ECMA-48 control sequences and control characters, which would play with the
/// terminal of whoever reads it.
pub(crate) fn plain_text(line: &str) -> String {
    let mut plain = String::with_capacity(line.len());
    let mut characters = line.chars().peekable();
    while let Some(character) = characters.next() {
        if character == '\u{1b}' && characters.peek() == Some(&'[') {
            characters.next();
            // A sequence ends with a byte from `@` to `~`.
            while characters.next_if(|c| !('@'..='~').contains(c)).is_some() {}
            characters.next();
        } else if matches!(character, '\t' | '\n')
            || !(character.is_control() || turns_text_around(character))
        {
            plain.push(character);
        }
    }
    plain
}

/// Unicode's controls of writing direction, with which one text can look like another.
fn turns_text_around(character: char) -> bool {
    matches!(character, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn colours_do_not_reach_an_error_message() {
        assert_eq!(plain_text("a\u{202e}b\u{2066}"), "ab");
        assert_eq!(plain_text("[\u{1b}[0;32m  OK  \u{1b}[0m] Started\r"), "[  OK  ] Started");
    }

    #[test]
    fn a_text_that_comes_in_two_pieces_is_seen_and_memory_stays_bounded() {
        let folder = tempfile::tempdir().unwrap();
        let path = Utf8Path::from_path(folder.path()).unwrap().join("console");
        let mut console = Console::create(path.clone()).unwrap();
        let mut guest = fs_err::OpenOptions::new().append(true).open(path).unwrap();
        for _ in 0..8 {
            guest.write_all(&vec![b'x'; KEPT_BYTES]).unwrap();
            console.read_news().unwrap();
        }
        assert!(console.tail.len() <= 2 * KEPT_BYTES);
        guest.write_all(b"log").unwrap();
        console.read_news().unwrap();
        assert!(!console.said("login:"));
        guest.write_all(b"in:").unwrap();
        console.read_news().unwrap();
        assert!(console.said("login:"));
    }
}

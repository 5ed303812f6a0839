//! Listeners: each reads a stream of events, and comes back where it was when it is cut.

use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use fastrand::Rng;
use serde_json::Value;

use super::client::Place;

/// Time without news after which a listener asks whether it is over.
const BREATH: Duration = Duration::from_millis(300);
/// Pause before another attempt to reach a daemon that is not there.
const AGAIN: Duration = Duration::from_millis(20);
/// Events after which a listener hangs up that does so on purpose, at most.
const MOST_BEFORE_CUT: u32 = 400;

/// In place of the last sequence number: something went wrong, and nobody waits for listeners any more.
pub(super) const NOBODY_WAITS: u64 = 0;

/// Who listens to what.
#[derive(Debug)]
pub(super) struct Listener<'l> {
    pub(super) place: &'l Place,
    /// The image that it follows to its end; `None` is all.
    pub(super) image: Option<String>,
    /// Whether it hangs up now and then.
    pub(super) cuts: bool,
    /// The sequence number of the last event that there will be; a greater one until that is known.
    pub(super) last: &'l AtomicU64,
    pub(super) seed: u64,
}

/// What one has heard.
#[derive(Debug, Default)]
pub(super) struct Heard {
    pub(super) image: Option<String>,
    /// Sequence numbers, in the order in which they came.
    pub(super) events: Vec<u64>,
    /// How often it had to come back.
    pub(super) returns: u64,
    is_over: bool,
}

/// Why a stream ended.
enum Break {
    /// There is nothing more to hear.
    Over,
    /// The daemon is gone, or the listener hung up.
    Cut,
}

impl Listener<'_> {
    /// Listens until everything is told.
    pub(super) fn listen(self) -> Heard {
        let mut rng = Rng::with_seed(self.seed);
        let mut heard = Heard { image: self.image.clone(), ..Heard::default() };
        loop {
            let most = if self.cuts { rng.u32(1..MOST_BEFORE_CUT) } else { u32::MAX };
            match self.connect(&heard).and_then(|stream| self.hear(stream, most, &mut heard)) {
                Ok(Break::Over) => return heard,
                Ok(Break::Cut) => heard.returns += 1,
                Err(_) if self.is_over(&heard) => return heard,
                // It is being started again.
                Err(_) => thread::sleep(AGAIN),
            }
        }
    }

    fn connect(&self, heard: &Heard) -> std::io::Result<TcpStream> {
        let address = self.place.address();
        let host = address.trim_start_matches("http://");
        let path = match &self.image {
            Some(id) => format!("/v1/images/{id}/events?until_end=true"),
            None => "/v1/events?after=0".to_owned(),
        };
        let resume = match heard.events.last() {
            Some(last) => format!("last-event-id: {last}\r\n"),
            None => String::new(),
        };
        let authorization = self.place.authorization();
        let mut stream = TcpStream::connect(host)?;
        stream.set_read_timeout(Some(BREATH))?;
        // With this version a body comes as it is, without lengths in between.
        write!(
            stream,
            "GET {path} HTTP/1.0\r\nhost: {host}\r\nauthorization: {authorization}\r\n{resume}\r\n"
        )?;
        Ok(stream)
    }

    /// Reads a stream, for `most` events.
    fn hear(&self, stream: TcpStream, most: u32, heard: &mut Heard) -> std::io::Result<Break> {
        let mut reader = BufReader::new(stream);
        let mut line = Vec::new();
        let mut lines = Lines::default();
        let mut left = most;
        let mut is_head = true;
        loop {
            match reader.read_until(b'\n', &mut line) {
                // What has come of a line stays in it.
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) =>
                {
                    if self.is_over(heard) {
                        return Ok(Break::Over);
                    }
                    continue;
                },
                Err(error) => return Err(error),
                Ok(0) if heard.is_over => return Ok(Break::Over),
                Ok(0) => return Ok(Break::Cut),
                Ok(_) => {},
            }
            let text = String::from_utf8_lossy(&line).trim_end().to_owned();
            line.clear();
            if is_head {
                assert!(!text.starts_with("HTTP/") || text.contains(" 200 "), "{text}");
                is_head = !text.is_empty();
                continue;
            }
            let Some((sequence, ends)) = lines.take(&text) else { continue };
            heard.events.push(sequence);
            heard.is_over |= ends && self.image.is_some();
            left -= 1;
            if self.is_over(heard) {
                return Ok(Break::Over);
            }
            if left == 0 {
                return Ok(Break::Cut);
            }
        }
    }

    fn is_over(&self, heard: &Heard) -> bool {
        let last = self.last.load(Ordering::SeqCst);
        let has_all = heard.events.last().is_some_and(|heard| *heard >= last);
        heard.is_over || self.image.is_none() && has_all || last == NOBODY_WAITS
    }
}

/// The lines of one event.
#[derive(Debug, Default)]
struct Lines {
    sequence: Option<u64>,
    is_transition: bool,
    ends: bool,
}

impl Lines {
    /// Takes a line; answers the sequence number of an event that is whole, and whether its image ends with it.
    fn take(&mut self, line: &str) -> Option<(u64, bool)> {
        if let Some(id) = line.strip_prefix("id: ") {
            self.sequence = Some(id.parse().unwrap());
        } else if let Some(name) = line.strip_prefix("event: ") {
            self.is_transition = name == "transition";
        } else if let Some(data) = line.strip_prefix("data: ") {
            // Whole documents only, but there are many of them.
            self.ends = self.is_transition && ends(&serde_json::from_str(data).unwrap());
        } else if line.is_empty() {
            let Self { sequence, ends, .. } = std::mem::take(self);
            // What is not of an image has none and is not kept.
            return Some((sequence?, ends));
        }
        None
    }
}

/// Whether a transition is to a state that is an end.
pub(super) fn ends(transition: &Value) -> bool {
    matches!(transition["to"].as_str(), Some("COMPLETE" | "FAILED" | "SKIPPED" | "CANCELLED"))
}

//! Server-sent events, over as many connections as it takes.

use std::thread;
use std::time::{Duration, Instant};

use hyper::Method;
use hyper::body::Incoming;
use hyper::header::{HeaderName, HeaderValue};

use super::{Asked, ClientError, Server};
use crate::images::{Event, EventKind, Status};

/// The server says that it is alive several times in this time.
const SILENCE: Duration = Duration::from_secs(50);
/// Pauses between attempts to get a connection back: twice as long each time.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// Time after which attempts end.
const GIVE_UP: Duration = Duration::from_mins(10);

/// How long events are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// Those that there are now.
    Now,
    /// Until the build of the image has ended.
    End,
    /// As long as somebody listens.
    Dropped,
}

/// What a while brought.
#[derive(Debug)]
pub enum News {
    /// This happened.
    Events(Vec<Event>),
    /// Nothing.
    Nothing,
    /// Nothing more will come.
    End,
}

/// Attempts after something broke, with pauses that grow.
#[derive(Debug, Default)]
pub(super) struct Retry {
    since: Option<Instant>,
    pause: Duration,
}

impl Retry {
    /// Notes that an attempt failed and answers how long to wait.
    ///
    /// # Errors
    /// `error`, when that has gone on for too long.
    fn pause(&mut self, server: &Server, error: ClientError) -> Result<Duration, ClientError> {
        if !error.is_passing() {
            return Err(error);
        }
        match self.since {
            None => {
                let told = std::error::Error::source(&error);
                let why = told.map_or_else(String::new, |why| format!(": {why}"));
                (server.on_trouble)(&format!(
                    "{error}{why}; trying again for {} s",
                    GIVE_UP.as_secs()
                ));
                self.since = Some(Instant::now());
                self.pause = FIRST_PAUSE;
            },
            Some(since) if since.elapsed() >= GIVE_UP => return Err(error),
            Some(_) => self.pause = LONGEST_PAUSE.min(self.pause * 2),
        }
        Ok(self.pause)
    }

    /// The same, and waits.
    ///
    /// # Errors
    /// `error`, when that has gone on for too long; [`ClientError::Cancelled`].
    pub(super) fn wait(
        &mut self,
        server: &Server,
        error: ClientError,
        cancelled: &dyn Fn() -> bool,
    ) -> Result<(), ClientError> {
        let end = Instant::now() + self.pause(server, error)?;
        while Instant::now() < end {
            if cancelled() {
                return Err(ClientError::Cancelled);
            }
            thread::sleep(FIRST_PAUSE.min(end.saturating_duration_since(Instant::now())));
        }
        Ok(())
    }

    /// Notes that an attempt succeeded.
    pub(super) fn succeeded(&mut self, server: &Server) {
        if self.since.take().is_some() {
            (server.on_trouble)(&format!("connected to `{}` again", server.address));
        }
    }
}

/// Hears of events, each once and in order.
pub struct Follower<'s> {
    server: &'s Server,
    path: String,
    until: Until,
    stream: Option<Stream>,
    /// The last event that was heard of.
    after: Option<u64>,
    has_ended: bool,
    retry: Retry,
    not_before: Instant,
}

impl std::fmt::Debug for Follower<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Follower").field("path", &self.path).finish_non_exhaustive()
    }
}

/// An open answer.
struct Stream {
    body: Incoming,
    /// What came and is not yet a whole line.
    rest: Vec<u8>,
    /// The `data` of the event that is being read.
    data: Vec<u8>,
    heard: Instant,
}

impl<'s> Follower<'s> {
    pub(super) fn new(server: &'s Server, path: String, until: Until) -> Self {
        Self {
            server,
            path,
            until,
            stream: None,
            after: None,
            has_ended: false,
            retry: Retry::default(),
            not_before: Instant::now(),
        }
    }

    /// What happens within `patience`.
    ///
    /// # Errors
    /// [`ClientError`], for a broken connection only when it does not come back for ten minutes.
    pub fn next(&mut self, patience: Duration) -> Result<News, ClientError> {
        self.attempt(patience).or_else(|error| {
            self.stream = None;
            self.not_before = Instant::now() + self.retry.pause(self.server, error)?;
            Ok(News::Nothing)
        })
    }

    fn attempt(&mut self, patience: Duration) -> Result<News, ClientError> {
        let stream = if let Some(stream) = &mut self.stream {
            stream
        } else {
            let wait = self.not_before.saturating_duration_since(Instant::now());
            thread::sleep(wait.min(patience));
            if wait > patience {
                return Ok(News::Nothing);
            }
            let body = self.open()?;
            let heard = Instant::now();
            self.stream.insert(Stream { body, rest: Vec::new(), data: Vec::new(), heard })
        };
        let silent = |after| ClientError::Silent { server: self.server.address.clone(), after };
        let next = self.server.next_part(&mut stream.body, patience);
        let part = match self.server.runtime.block_on(next) {
            Err(ClientError::Silent { .. }) if stream.heard.elapsed() < SILENCE => {
                return Ok(News::Nothing);
            },
            Err(ClientError::Silent { .. }) => return Err(silent(SILENCE)),
            other => other?,
        };
        let Some(part) = part else {
            self.stream = None;
            if self.until == Until::Now || (self.until == Until::End && self.has_ended) {
                return Ok(News::End);
            }
            // The daemon stops.
            self.not_before = Instant::now() + FIRST_PAUSE;
            return Ok(News::Nothing);
        };
        // Also when it says only that it is alive: whoever breaks off before that has not come back.
        self.retry.succeeded(self.server);
        stream.heard = Instant::now();
        let events = stream.take(&part).map_err(|why| self.server.no_daemon(why))?;
        for event in &events {
            self.after = Some(event.sequence);
            if let EventKind::Transition { to, .. } = &event.kind {
                self.has_ended = Status::is_terminal(*to);
            }
        }
        Ok(if events.is_empty() { News::Nothing } else { News::Events(events) })
    }

    fn open(&self) -> Result<Incoming, ClientError> {
        let mut asked = Asked::new(Method::GET, &self.path);
        if let Some(after) = self.after {
            let name = HeaderName::from_static("last-event-id");
            asked = asked.header(name, HeaderValue::from(after));
        }
        Ok(self.server.send(&asked)?.into_body())
    }
}

impl Stream {
    /// Takes a part of the stream and answers the events that are whole now.
    fn take(&mut self, part: &[u8]) -> Result<Vec<Event>, String> {
        let mut events = Vec::new();
        self.rest.extend_from_slice(part);
        let whole = self.rest.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        let rest = self.rest.split_off(whole);
        for line in self.rest.split_inclusive(|byte| *byte == b'\n') {
            let line = line.trim_ascii_end();
            if let Some(data) = line.strip_prefix(b"data:") {
                self.data.extend_from_slice(data);
            } else if line.is_empty() && !self.data.is_empty() {
                let data = std::mem::take(&mut self.data);
                match serde_json::from_slice(&data) {
                    Ok(event) => events.push(event),
                    Err(error) => return Err(format!("an event does not read: {error}")),
                }
            }
        }
        self.rest = rest;
        Ok(events)
    }
}

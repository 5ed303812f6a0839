//! Requests for builds, each sent until it is accepted, and what was accepted.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::client::{Client, Place};
use super::figures::Distribution;

/// Who send requests at once.
pub(super) const SENDERS: usize = 4;
/// Pause before another attempt to reach a daemon that is not there.
const AGAIN: Duration = Duration::from_millis(20);

/// A request that was answered with 202.
#[derive(Clone, Debug)]
pub(super) struct Accepted {
    pub(super) key: String,
    pub(super) images: Vec<String>,
}

/// What is to be built, and what was accepted of it.
#[derive(Debug)]
pub(super) struct Orders<'o> {
    place: &'o Place,
    template: String,
    count: usize,
    next: AtomicUsize,
    accepted: Mutex<Vec<Accepted>>,
    /// Nobody is to send any more.
    given_up: AtomicBool,
    took: Mutex<Distribution>,
}

impl<'o> Orders<'o> {
    pub(super) fn new(place: &'o Place, template: String, count: usize) -> Self {
        Self {
            place,
            template,
            count,
            next: AtomicUsize::new(0),
            accepted: Mutex::default(),
            given_up: AtomicBool::new(false),
            took: Mutex::default(),
        }
    }

    /// Sends requests until all are accepted.
    pub(super) fn send(&self) {
        while self.send_next() {}
    }

    /// Sends the next request until it is accepted; `false` when there is none.
    pub(super) fn send_next(&self) -> bool {
        let number = self.next.fetch_add(1, Ordering::SeqCst);
        if number >= self.count || self.given_up.load(Ordering::SeqCst) {
            return false;
        }
        let accepted = self.send_one(&Client::new(self.place), number);
        self.accepted().push(accepted);
        true
    }

    /// Sends one until it is accepted, always with the same key.
    fn send_one(&self, client: &Client<'_>, number: usize) -> Accepted {
        let key = format!("load-{number}");
        let request = json!({
            "template": self.template,
            "targets": ["mock"],
            // No two base images are equal.
            "parameters": { "size_bytes": 4096 + number, "delay_ms": 20, "log_lines": 5 },
        });
        loop {
            let start = Instant::now();
            match client.post("/v1/builds", &key, &request) {
                Ok((202, text)) => {
                    self.took.lock().unwrap_or_else(PoisonError::into_inner).add(start.elapsed());
                    let answer: Value = serde_json::from_str(&text).unwrap();
                    let images = answer["images"].as_array().unwrap().iter();
                    let id = |image: &Value| image["id"].as_str().unwrap().to_owned();
                    return Accepted { key, images: images.map(id).collect() };
                },
                Ok((status, text)) => {
                    self.give_up();
                    panic!("{status}: {text}");
                },
                Err(error) if self.given_up.load(Ordering::SeqCst) => panic!("{error}"),
                // The daemon was killed; whether it had accepted the request nobody knows.
                Err(_) => thread::sleep(AGAIN),
            }
        }
    }

    /// Those that were accepted, in the order in which they were.
    pub(super) fn accepted(&self) -> std::sync::MutexGuard<'_, Vec<Accepted>> {
        self.accepted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The image that accepted request `number` ends with, once it is accepted; `None` when it will not be.
    pub(super) fn image_of(&self, number: usize) -> Option<String> {
        while !self.given_up.load(Ordering::SeqCst) {
            let found = self.accepted().get(number).and_then(|order| order.images.last().cloned());
            if found.is_some() {
                return found;
            }
            thread::sleep(AGAIN);
        }
        None
    }

    /// Sends no more.
    pub(super) fn give_up(&self) {
        self.given_up.store(true, Ordering::SeqCst);
    }

    /// What was accepted, and how long that took.
    pub(super) fn finish(self) -> (Vec<Accepted>, Distribution) {
        let accepted = self.accepted.into_inner().unwrap_or_else(PoisonError::into_inner);
        (accepted, self.took.into_inner().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn are_given_up(&self) -> bool {
        self.given_up.load(Ordering::SeqCst)
    }

    pub(super) fn are_all(&self, accepted: usize) -> bool {
        accepted == self.count
    }
}

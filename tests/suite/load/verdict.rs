//! What the store says afterwards, and whether everybody heard just that.

use std::collections::BTreeMap;

use rusqlite::Connection;
use serde_json::Value;

use super::building::Accepted;
use super::listening::{Heard, ends};
use crate::support::Workshop;

/// The event log and the jobs.
#[derive(Debug)]
pub(super) struct Ledger {
    /// Sequence number, image, and whether the image ends with it.
    events: Vec<(u64, String, bool)>,
    /// State and images of each job by its key.
    jobs: BTreeMap<String, Vec<(String, Vec<String>)>>,
    /// State by image.
    pub(super) images: BTreeMap<String, String>,
}

fn open(workshop: &Workshop) -> Connection {
    let connection = Connection::open(workshop.data_dir().join("store.db")).unwrap();
    connection.busy_timeout(std::time::Duration::from_secs(20)).unwrap();
    connection
}

/// How many jobs are not done.
pub(super) fn unfinished(workshop: &Workshop) -> u64 {
    let count = "SELECT count(*) FROM jobs WHERE state <> 'done'";
    open(workshop).query_row(count, [], |row| row.get::<_, i64>(0)).unwrap().unsigned_abs()
}

/// The sequence number of the newest event.
pub(super) fn last_event(workshop: &Workshop) -> u64 {
    let last = "SELECT coalesce(max(sequence), 0) FROM events";
    open(workshop).query_row(last, [], |row| row.get::<_, i64>(0)).unwrap().unsigned_abs()
}

impl Ledger {
    pub(super) fn read(workshop: &Workshop) -> Self {
        let store = open(workshop);
        let mut ask = store.prepare("SELECT sequence, image, kind FROM events ORDER BY 1").unwrap();
        let events = ask.query_map([], |row| {
            let kind: Value = serde_json::from_str(&row.get::<_, String>(2)?).unwrap();
            let is_end = kind["event"] == "transition" && ends(&kind);
            Ok((row.get::<_, i64>(0)?.unsigned_abs(), row.get(1)?, is_end))
        });
        let events = events.unwrap().map(Result::unwrap).collect();
        let mut ask = store.prepare("SELECT idempotency_key, state, images FROM jobs").unwrap();
        let mut jobs = BTreeMap::<String, Vec<_>>::new();
        let rows = ask.query_map([], |row| {
            let images: String = row.get(2)?;
            Ok((row.get(0)?, row.get(1)?, serde_json::from_str(&images).unwrap()))
        });
        for (key, state, images) in rows.unwrap().map(Result::unwrap) {
            jobs.entry(key).or_default().push((state, images));
        }
        let mut ask = store.prepare("SELECT id, status FROM images").unwrap();
        let images = ask.query_map([], |row| Ok((row.get(0)?, row.get(1)?)));
        let images = images.unwrap().map(Result::unwrap).collect();
        Self { events, jobs, images }
    }

    pub(super) fn event_count(&self) -> usize {
        self.events.len()
    }

    /// How many images are in each state.
    pub(super) fn states(&self) -> BTreeMap<&str, usize> {
        let mut states = BTreeMap::new();
        for state in self.images.values() {
            *states.entry(state.as_str()).or_default() += 1;
        }
        states
    }

    /// Each request has become one job that is done, and each image has reached one end.
    #[track_caller]
    pub(super) fn assert_all_ended_once(&self, accepted: &[Accepted]) {
        for Accepted { key, images } in accepted {
            let jobs = self.jobs.get(key).map(Vec::as_slice).unwrap_or_default();
            let [(state, made)] = jobs else { panic!("{key} became {jobs:?}") };
            assert_eq!(state, "done", "{key}");
            assert_eq!(made, images, "{key}");
        }
        let mut ends: BTreeMap<&str, u64> =
            self.images.keys().map(|image| (image.as_str(), 0)).collect();
        for (_, image, is_end) in &self.events {
            *ends.get_mut(image.as_str()).unwrap_or_else(|| panic!("{image} is gone")) +=
                u64::from(*is_end);
        }
        let wrong: Vec<_> = ends.iter().filter(|(_, count)| **count != 1).collect();
        assert!(wrong.is_empty(), "images that did not end once: {wrong:?}");
        for image in accepted.iter().flat_map(|order| &order.images) {
            let status = &self.images[image];
            let is_end = matches!(status.as_str(), "COMPLETE" | "FAILED");
            assert!(is_end, "{image} is {status}");
        }
    }

    /// What somebody heard is the log, without gaps, in order, each event once.
    #[track_caller]
    pub(super) fn assert_heard(&self, heard: &Heard) {
        let mut expected = Vec::new();
        for (sequence, image, is_end) in &self.events {
            let is_wanted = heard.image.as_ref().is_none_or(|wanted| wanted == image);
            if is_wanted {
                expected.push(*sequence);
            }
            if is_wanted && *is_end && heard.image.is_some() {
                break;
            }
        }
        let differs = expected.iter().zip(&heard.events).position(|(a, b)| a != b);
        assert!(
            differs.is_none() && expected.len() == heard.events.len(),
            "{:?} heard {} of {} events, the first other one at {differs:?}",
            heard.image,
            heard.events.len(),
            expected.len()
        );
    }
}

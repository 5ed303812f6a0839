//! What must be true after every kill.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde_json::Value;

use super::operation::{Begun, DISK};
use crate::support::Workshop;

/// More images than this are deleted between trials.
const MANY: usize = 40;
/// How a build may fail when something is killed: it was interrupted, a program of it was ended, or
/// what it was to be made from failed.
const TOLD: [&str; 5] = ["interrupted", "SIGKILL", "code 137", "is FAILED", "is CANCELLED"];
/// Done, failed, in use, cancelled.
const CODES: [i32; 4] = [0, 1, 6, 8];

/// What is known to be over, and must stay so.
pub(super) struct Ledger {
    images: BTreeMap<String, Value>,
    ends: BTreeMap<String, u64>,
}

impl Ledger {
    pub(super) fn open(workshop: &Workshop) -> Self {
        let mut ledger = Self { images: BTreeMap::new(), ends: BTreeMap::new() };
        ledger.note(workshop.images());
        ledger
    }

    fn note(&mut self, images: Vec<Value>) {
        let pair = |image: Value| (image["id"].as_str().unwrap().to_owned(), image);
        self.images = images.into_iter().map(pair).collect();
    }

    /// The images that are complete.
    pub(super) fn finished(&self) -> Vec<&Value> {
        self.images.values().filter(|image| image["status"] == "COMPLETE").collect()
    }

    /// An image, and those that were made from it.
    pub(super) fn with_dependents(&self, id: &str) -> Vec<String> {
        let mut found = vec![id.to_owned()];
        let mut at = 0;
        while at < found.len() {
            let made_from = |image: &Value| {
                ["base_image_id", "target_image_id"]
                    .iter()
                    .any(|field| image[field] == found[at].as_str())
            };
            let more: Vec<String> = self
                .images
                .iter()
                .filter(|(id, image)| made_from(image) && !found.contains(id))
                .map(|(id, _)| id.clone())
                .collect();
            found.extend(more);
            at += 1;
        }
        found
    }

    /// Deletes everything now and then, so that trials stay fast.
    pub(super) fn keep_small(&mut self, workshop: &Workshop) {
        if self.images.len() <= MANY {
            return;
        }
        for id in self.images.keys() {
            let delete = ["images", "delete", id, "--force", "--credentials", "@{}"];
            workshop.run(&delete).done();
        }
        self.note(workshop.images());
        assert!(self.images.is_empty(), "{:#?}", self.images);
        workshop.assert_tidy();
    }

    /// Waits for the end of everything, then looks at everything.
    #[track_caller]
    pub(super) fn judge(&mut self, workshop: &Workshop, begun: Begun) {
        for running in begun.running {
            let ran = running.wait();
            // The one that was killed has no code.
            let fine = ran.code.is_none_or(|code| CODES.contains(&code));
            assert!(fine && !ran.stderr.contains("panicked"), "{ran:#?}");
        }
        workshop.assert_quiet();
        // This opens the store and puts it in order.
        let images = workshop.images();
        assert_sound_database(workshop);
        workshop.assert_tidy();
        assert_no_half_export(workshop);
        let check = workshop.run(&["images", "check"]).done();
        assert!(!check.stdout.contains("damaged"), "{check:?}");
        self.assert_kept(&images, &begun.deleting.into_iter().collect());
        for image in &images {
            if !self.images.contains_key(image["id"].as_str().unwrap()) {
                let status = image["status"].as_str().unwrap();
                *self.ends.entry(status.to_owned()).or_default() += 1;
                assert_told(image);
            }
        }
        self.note(images);
    }

    /// What was over before is as it was, unless it was to be deleted.
    #[track_caller]
    fn assert_kept(&self, images: &[Value], deleting: &BTreeSet<String>) {
        for (id, before) in &self.images {
            let now = images.iter().find(|image| image["id"] == id.as_str());
            if deleting.contains(id) {
                let fine = now.is_none_or(|now| now == before || now["status"] == "DELETEFAILED");
                assert!(fine, "{now:#?} was {before:#}");
            } else {
                assert_eq!(now, Some(before));
            }
        }
    }
}

impl fmt::Display for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ends: Vec<String> =
            self.ends.iter().map(|(status, count)| format!("{count} {status}")).collect();
        write!(f, "images: {}", ends.join(", "))
    }
}

/// It says how it ended, in the words that a user reads.
#[track_caller]
fn assert_told(image: &Value) {
    let status = image["status"].as_str().unwrap();
    assert!(matches!(status, "COMPLETE" | "FAILED" | "CANCELLED"), "{image:#}");
    let detail = &image["status_detail"];
    if status == "FAILED" {
        let error = detail["error"].as_str().unwrap();
        assert!(TOLD.iter().any(|word| error.contains(word)), "{image:#}");
    }
}

#[track_caller]
fn assert_sound_database(workshop: &Workshop) {
    let store = rusqlite::Connection::open(workshop.data_dir().join("store.db")).unwrap();
    let answer: String = store.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(answer, "ok");
}

#[track_caller]
fn assert_no_half_export(workshop: &Workshop) {
    for entry in fs_err::read_dir(workshop.path("")).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        assert!(!name.contains("out.raw") || name == "out.raw", "{name}");
        if name == "out.raw" {
            let length = entry.metadata().unwrap().len();
            assert!(length > 0 && length <= (1 << 31), "{length} instead of some {DISK}");
        }
    }
}

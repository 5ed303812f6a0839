//! What must be true when nothing is going on: no process, no mount, no file that belongs to nobody.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::{Process, Workshop, wait_for};

impl Workshop {
    /// Nothing is left of a build but records, finished images and caches.
    #[track_caller]
    pub(crate) fn assert_tidy(&self) {
        self.assert_quiet();
        let strays = strays(&self.data_dir(), &self.images());
        assert!(strays.is_empty(), "stray files: {strays:#?}");
        let temporary = files_below(&self.path("tmp"));
        assert!(temporary.is_empty(), "temporary files: {temporary:#?}");
    }

    /// No process of this workshop runs, and nothing is mounted in it.
    #[track_caller]
    pub(crate) fn assert_quiet(&self) {
        // A killed process may need a moment to go.
        wait_for("the processes to end", || self.processes().is_empty().then_some(()));
        let mounts = fs_err::read_to_string("/proc/self/mountinfo").unwrap();
        let place = self.path("").display().to_string();
        assert!(!mounts.contains(&place), "mounted in {place}: {mounts}");
    }

    /// The processes that work on this workshop's images.
    pub(crate) fn processes(&self) -> Vec<Process> {
        Process::naming(&self.data_dir().display().to_string())
    }
}

/// Files that belong to no record, records of finished images that lack their body.
pub(crate) fn strays(data_dir: &Path, images: &[Value]) -> Vec<String> {
    let mut strays = Vec::new();
    let records: HashMap<&str, &Value> =
        images.iter().map(|image| (image["id"].as_str().unwrap(), image)).collect();
    for image in images {
        let status = image["status"].as_str().unwrap();
        // Whether a provider still has an image only its plugin can find out, when asked again.
        let undeleted = status == "DELETEFAILED" && image["tier"] == "provider";
        let over = matches!(status, "COMPLETE" | "FAILED" | "SKIPPED" | "CANCELLED");
        if !over && !undeleted {
            strays.push(format!("record {} is {status}", image["id"]));
        }
    }
    for path in files_below(data_dir) {
        let parts: Vec<&str> = path.iter().map(|part| part.to_str().unwrap()).collect();
        let is_known = match parts.as_slice() {
            // SQLite's journal stays behind when a process is killed; the next one reads it.
            [
                "store.db" | "store.db-wal" | "store.db-shm" | "tokens.db" | "tokens.db-journal"
                | "store.lock" | "room.lock" | "serve.lock" | "serve.sock" | "seal.key"
                | "probes.json" | "audit.log",
            ]
            | ["libraries", ..] => true,
            ["cache", folder, _, ..] => *folder != "locks",
            ["locks", name] => records.contains_key(name),
            ["images", id, "body"] => {
                records.get(id).is_some_and(|image| image["status"] == "COMPLETE")
            },
            ["images", id, "artifacts", _] => records.contains_key(id),
            _ => false,
        };
        let is_temporary = ["partial", ".tmp"].iter().any(|mark| text(&path).contains(mark));
        if !is_known || is_temporary {
            strays.push(path.display().to_string());
        }
    }
    strays
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

/// Every file and every empty folder of a build below `folder`, relative to it.
fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        let Ok(entries) = fs_err::read_dir(&next) else {
            continue;
        };
        for entry in entries {
            let path = entry.unwrap().path();
            let below = path.strip_prefix(folder).unwrap().to_owned();
            if path.is_dir() && !path.is_symlink() {
                // What a build works in has a folder of its own below `work`.
                let work = ["work", "tmp"].map(Path::new);
                if work.iter().any(|work| below.starts_with(work) && below != **work) {
                    found.push(below);
                }
                folders.push(path);
            } else {
                found.push(below);
            }
        }
    }
    found
}

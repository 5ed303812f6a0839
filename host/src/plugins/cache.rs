//! What probes found out, remembered by file identity and host build.
//!
//! One JSON file, replaced as a whole. Two processes that write at the same time may lose an answer,
//! which is then found out once more; a file that cannot be read counts as empty.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use camino::{Utf8Path, Utf8PathBuf};
use rustix::fs::stat;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::identity::FileIdentity;
use super::library::FoundLibrary;
use super::probe::ProbeOutcome;
use crate::atomic_file::{self, AtomicFileError};

/// Layout of the file; another number counts as an empty cache.
const FORMAT: u32 = 1;
/// Longest file that is read: some hundred bytes for each library.
const MAX_BYTES: u64 = 64 << 20;

/// Held by a thread from reading to replacing the file: its answer is not to be lost to another's.
static SAVING: Mutex<()> = Mutex::new(());

/// What is known about one library in one state.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Entry {
    path: Utf8PathBuf,
    #[serde(default)]
    host: String,
    #[serde(default)]
    outcome: Option<ProbeOutcome>,
    #[serde(default)]
    sha256: Option<String>,
}

impl Entry {
    /// With what `there` says that this one does not.
    fn or(mut self, there: Option<Self>) -> Self {
        let Some(there) = there else { return self };
        if self.outcome.is_none() {
            (self.host, self.outcome) = (there.host, there.outcome);
        }
        self.sha256 = self.sha256.or(there.sha256);
        self
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct Document {
    format: u32,
    entries: BTreeMap<String, Entry>,
}

/// Answers by library.
#[derive(Debug)]
pub struct ProbeCache {
    file: Option<Utf8PathBuf>,
    host: String,
    known: OnceLock<Mutex<BTreeMap<String, Entry>>>,
    changed: AtomicBool,
}

impl ProbeCache {
    /// A cache in `file`, or one that forgets with the process, for the host build `host`.
    pub fn new(file: Option<Utf8PathBuf>, host: String) -> Self {
        Self { file, host, known: OnceLock::new(), changed: AtomicBool::new(false) }
    }

    /// The recorded answer about a library in exactly this state, by this host build. A quarantine holds
    /// for every build: the file did not change.
    pub fn outcome(&self, library: &FoundLibrary) -> Option<ProbeOutcome> {
        let known = self.known();
        let entry = known.get(&library.identity.to_string())?;
        let outcome = entry.outcome.clone();
        outcome.filter(|outcome| entry.host == self.host || outcome.is_quarantine())
    }

    /// Records what a probe found out, for as long as this process lives; see [`save`](Self::save).
    pub fn record(&self, library: &FoundLibrary, outcome: &ProbeOutcome) {
        if outcome.is_about_the_library() {
            self.update(library, |entry| {
                entry.host.clone_from(&self.host);
                entry.outcome = Some(outcome.clone());
            });
        }
    }

    /// SHA-256 of a library in lower-case hexadecimal, read once for each state of the file.
    ///
    /// # Errors
    /// The library cannot be read.
    pub fn sha256(&self, library: &FoundLibrary) -> io::Result<String> {
        let recorded =
            self.known().get(&library.identity.to_string()).and_then(|entry| entry.sha256.clone());
        if let Some(digest) = recorded {
            return Ok(digest);
        }
        let digest = sha256(&library.path)?;
        self.update(library, |entry| entry.sha256 = Some(digest.clone()));
        Ok(digest)
    }

    fn update(&self, library: &FoundLibrary, change: impl FnOnce(&mut Entry)) {
        let mut known = self.known();
        let entry = known.entry(library.identity.to_string()).or_insert_with(|| Entry {
            path: library.path.clone(),
            host: String::new(),
            outcome: None,
            sha256: None,
        });
        entry.path.clone_from(&library.path);
        change(entry);
        self.changed.store(true, Ordering::Relaxed);
    }

    /// Writes what became known to the file, together with what others wrote meanwhile.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn save(&self) -> Result<(), AtomicFileError> {
        let Some(file) = &self.file else {
            return Ok(());
        };
        if !self.changed.swap(false, Ordering::Relaxed) {
            return Ok(());
        }
        let _one_at_a_time = SAVING.lock().unwrap_or_else(PoisonError::into_inner);
        let mut entries = read(file);
        for (key, entry) in self.known().iter() {
            let there = entries.remove(key);
            entries.insert(key.clone(), entry.clone().or(there));
        }
        // A library that was replaced or removed is asked about no more.
        entries.retain(|key, entry| {
            stat(entry.path.as_std_path())
                .is_ok_and(|stat| FileIdentity::of(&stat).to_string() == *key)
        });
        let document = Document { format: FORMAT, entries };
        let bytes = serde_json::to_vec(&document)
            .map_err(|error| AtomicFileError::Write { path: file.clone(), source: error.into() })?;
        if let Some(parent) = file.parent() {
            fs_err::create_dir_all(parent)
                .map_err(|source| AtomicFileError::Write { path: file.clone(), source })?;
        }
        atomic_file::write(file, &bytes, 0o600)
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<String, Entry>> {
        let known = self
            .known
            .get_or_init(|| Mutex::new(self.file.as_deref().map(read).unwrap_or_default()));
        // The map is whole between any two statements, so a panic elsewhere does not spoil it.
        known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn read(file: &Utf8Path) -> BTreeMap<String, Entry> {
    // Whatever else stands there must neither be waited for nor fill the memory.
    let is_cache = |found: std::fs::Metadata| found.is_file() && found.len() <= MAX_BYTES;
    if !fs_err::metadata(file).is_ok_and(is_cache) {
        return BTreeMap::new();
    }
    let Ok(bytes) = fs_err::read(file) else {
        return BTreeMap::new();
    };
    match serde_json::from_slice::<Document>(&bytes) {
        Ok(document) if document.format == FORMAT => document.entries,
        Ok(_) => BTreeMap::new(),
        Err(error) => {
            tracing::warn!(%file, %error, "the probe cache is damaged and starts anew");
            BTreeMap::new()
        },
    }
}

/// Version and executable of a host: an answer of another build counts for nothing.
pub(super) fn host_build(executable: Option<&Utf8Path>) -> String {
    let version = env!("CARGO_PKG_VERSION");
    let identity = executable
        .and_then(|path| stat(path.as_std_path()).ok())
        .map(|stat| FileIdentity::of(&stat).to_string());
    format!("{version} {}", identity.unwrap_or_default())
}

fn sha256(path: &Utf8Path) -> io::Result<String> {
    let mut file = fs_err::File::open(path)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 256 * 1024];
    loop {
        let count = match file.read(&mut buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            other => other?,
        };
        if count == 0 {
            break;
        }
        hasher.update(buffer.get(..count).unwrap_or_default());
    }
    Ok(hex::encode(hasher.finalize()))
}

#[cfg(test)]
mod tests;

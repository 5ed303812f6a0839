//! The audit log: who did what, one JSON document per line.
//!
//! Any number of processes write to it, each line at once and under a lock; the file is opened anew for
//! each, so that somebody else may move it away at any time. Unless its place was configured, it is put
//! aside when it is long and the oldest is dropped. What a line cannot hold is a secret: it names people,
//! routes and identifiers, never a header, a query or a body.

use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;

use camino::{Utf8Path, Utf8PathBuf};
use fs_err::{File, OpenOptions};
use jiff::Timestamp;
use serde::Serialize;

use crate::named_lock::is_named;

/// Name of the file in the data directory.
const NAME: &str = "audit.log";
/// Size at which a file is put aside, in bytes.
const MAX_BYTES: u64 = 16 << 20;
/// Files that were put aside and are kept: `audit.log.1` is the youngest.
const KEPT: u32 = 5;

/// Something that somebody did, or was not let do.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Entry {
    /// When it was over.
    pub time: Timestamp,
    /// Who; nobody knows when it is missing.
    pub user: Option<String>,
    /// What they are known by: `token`, `oauth`, `socket`, `command-line` or `none`.
    pub credential: &'static str,
    /// Where they are, on the network.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// What was done.
    #[serde(flatten)]
    pub deed: Deed,
    /// Jobs that were accepted.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub jobs: Vec<String>,
    /// Images that were made or changed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub images: Vec<String>,
    /// Tokens that were made or revoked, by name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tokens: Vec<String>,
    /// Lines before this one that are missing: the file could not be written, or they were too many.
    #[serde(skip_serializing_if = "is_zero")]
    pub omitted: u64,
}

/// What was done, and how it ended.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub enum Deed {
    /// A request of the daemon.
    Request {
        /// The identifier that its client was told.
        request_id: String,
        /// The method.
        method: &'static str,
        /// The route that took it, such as `/v1/images/{id}`.
        route: Option<String>,
        /// The path, if there is a route.
        path: Option<String>,
        /// The status of the answer; missing when the client did not wait for one.
        status: Option<u16>,
        /// Why it was refused.
        #[serde(skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// A command.
    Command {
        /// Its words.
        command: &'static str,
        /// What it ended with.
        exit_code: u8,
    },
    /// Nothing: the log can be written again.
    Resumed {
        /// `the audit log is written again`
        note: &'static str,
    },
}

impl Default for Deed {
    fn default() -> Self {
        Self::Resumed { note: "the audit log is written again" }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// An audit log.
#[derive(Clone, Debug)]
pub struct AuditLog {
    path: Utf8PathBuf,
    /// Size at which the file is put aside; never when it is missing.
    max_bytes: Option<u64>,
}

impl AuditLog {
    /// The one at `configured`, which others put aside, else that of a data directory.
    pub fn new(data_dir: &Utf8Path, configured: Option<&Utf8Path>) -> Self {
        match configured {
            Some(path) => Self { path: path.to_owned(), max_bytes: None },
            None => Self { path: data_dir.join(NAME), max_bytes: Some(MAX_BYTES) },
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Utf8Path {
        &self.path
    }

    /// Appends a line. It is whole or it is not there.
    ///
    /// # Errors
    /// The file cannot be opened or written.
    pub fn append(&self, entry: &Entry) -> io::Result<()> {
        let mut line = serde_json::to_string(entry)?;
        line.push('\n');
        let (mut file, before) = self.open()?;
        // In one call; what a full disk took of it is taken back, which the lock allows.
        file.write_all(line.as_bytes()).inspect_err(|_| drop(file.set_len(before)))
    }

    /// The file, locked, and its size.
    fn open(&self) -> io::Result<(File, u64)> {
        loop {
            let mut options = OpenOptions::new();
            options.append(true).create(true);
            options.options_mut().mode(0o600);
            let file = options.open(&self.path)?;
            file.file().lock()?;
            let bytes = file.metadata()?.len();
            match self.max_bytes {
                // Somebody put it aside before it was locked.
                _ if !is_named(&file, &self.path)? => {},
                Some(max) if bytes >= max => self.put_aside()?,
                _ => return Ok((file, bytes)),
            }
        }
    }

    fn put_aside(&self) -> io::Result<()> {
        let aside = |number: u32| Utf8PathBuf::from(format!("{}.{number}", self.path));
        for number in (1..KEPT).rev() {
            match fs_err::rename(aside(number), aside(number + 1)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {},
            }
        }
        fs_err::rename(&self.path, aside(1))
    }
}

/// How a user of this machine is called in the log: `local:NAME`, or the number if it has no name.
pub fn local_user(id: u32) -> String {
    let number = id.to_string();
    let users = fs_err::read_to_string("/etc/passwd").unwrap_or_default();
    let named = users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1) == Some(number.as_str())).then(|| name.to_owned())
    });
    format!("local:{}", named.unwrap_or(number))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn log(folder: &tempfile::TempDir, max_bytes: u64) -> AuditLog {
        let path = Utf8Path::from_path(folder.path()).unwrap().join(NAME);
        AuditLog { path, max_bytes: Some(max_bytes) }
    }

    fn entry(user: &str) -> Entry {
        Entry { user: Some(user.to_owned()), credential: "token", ..Entry::default() }
    }

    #[test]
    fn lines_of_many_writers_are_whole_and_all_there() {
        let folder = tempfile::tempdir().unwrap();
        let log = log(&folder, 4000);
        std::thread::scope(|scope| {
            for writer in 0..4 {
                let log = &log;
                scope.spawn(move || {
                    for number in 0..20 {
                        log.append(&entry(&format!("{writer}-{number}"))).unwrap();
                    }
                });
            }
        });
        let mut users = Vec::new();
        for file in fs_err::read_dir(folder.path()).unwrap() {
            let path = file.unwrap().path();
            assert_eq!(fs_err::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
            for line in fs_err::read_to_string(path).unwrap().lines() {
                let line: serde_json::Value = serde_json::from_str(line).unwrap();
                users.push(line["user"].as_str().unwrap().to_owned());
            }
        }
        users.sort();
        users.dedup();
        assert_eq!(users.len(), 80);
        assert!(folder.path().join("audit.log.1").exists());
    }

    #[test]
    fn a_long_log_is_put_aside_and_the_oldest_is_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let log = log(&folder, 1);
        for number in 0..10 {
            log.append(&entry(&format!("user-{number}"))).unwrap();
        }
        let text = |name: &str| fs_err::read_to_string(folder.path().join(name)).unwrap();
        assert!(text("audit.log").contains("user-9"));
        assert!(text("audit.log.1").contains("user-8"));
        assert!(text("audit.log.5").contains("user-4"));
        assert_eq!(fs_err::read_dir(folder.path()).unwrap().count(), 6);
    }

    #[test]
    fn a_log_that_was_configured_is_put_aside_by_others_only() {
        let folder = tempfile::tempdir().unwrap();
        let path = Utf8Path::from_path(folder.path()).unwrap().join("who");
        let log = AuditLog::new(Utf8Path::new("/nonexistent"), Some(&path));
        assert_eq!(log.max_bytes, None);
        log.append(&entry("ada")).unwrap();
        fs_err::rename(&path, folder.path().join("old")).unwrap();
        log.append(&entry("grace")).unwrap();
        assert!(fs_err::read_to_string(&path).unwrap().contains("grace"));
        assert!(fs_err::read_to_string(folder.path().join("old")).unwrap().contains("ada"));
    }
}

//! Reads the `.info` files of `plugins.d`.
//!
//! Not recursive, sorted by name, links followed. What is wrong with one file becomes its
//! [`Problem`] and never hides another plugin. A file costs an open, a `stat`, a read and a close:
//! links are not resolved here, since the kernel already does it once, and nothing ever blocks on
//! a pipe or a device.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use camino::{Utf8Path, Utf8PathBuf};
use plugin_api::info::{InfoError, MAX_INFO_BYTES, PluginInfo, PluginName, Targets};
use rustix::buffer::spare_capacity;
use rustix::fs::{CWD, Dir, FileType, Mode, OFlags, fstat, openat};
use rustix::io::{Errno, read};

use super::identity::{self, FileIdentity};

/// End of the names that are read.
const SUFFIX: &[u8] = b".info";

/// From this many files on, a second thread pays for its start.
const FILES_PER_THREAD: usize = 256;

/// Whether files that anybody on the machine may change are trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permissions {
    /// They are refused.
    Secure,
    /// They are taken all the same (`--allow-insecure-permissions`).
    Any,
}

/// One entry of `plugins.d`.
#[derive(Debug)]
pub struct Found {
    /// File name without `.info`; a name that is no UTF-8 is shown with replacement characters.
    pub stem: String,
    /// Whether the entry is a symbolic link.
    pub is_link: bool,
    /// What the file says, or what is wrong with it.
    pub content: Result<Content, Problem>,
}

/// An `.info` file as it was read.
#[derive(Debug)]
pub struct Content {
    /// What it says.
    pub info: PluginInfo,
    /// Which file that was, links followed.
    pub identity: FileIdentity,
}

/// Why an entry is not used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// What is wrong, each a lowercase sentence; never empty.
    pub reasons: Vec<String>,
    /// What the reader can do about it.
    pub hints: Vec<String>,
    /// What the plugin claims, if that much could be read.
    pub targets: Option<Targets>,
}

impl Problem {
    pub(super) fn new(reason: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { reasons: vec![reason.into()], hints: vec![hint.into()], targets: None }
    }
}

impl From<InfoError> for Problem {
    fn from(error: InfoError) -> Self {
        Self {
            reasons: error.problems.iter().map(ToString::to_string).collect(),
            hints: Vec::new(),
            targets: error.targets,
        }
    }
}

/// Why `plugins.d` itself cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ScanError {
    /// There is no such directory.
    #[error("plugin directory `{directory}` does not exist")]
    Missing {
        /// The directory.
        directory: Utf8PathBuf,
    },
    /// It is something else.
    #[error("plugin directory `{directory}` is not a directory")]
    NotADirectory {
        /// The path.
        directory: Utf8PathBuf,
    },
    /// Anybody may add plugins.
    #[error("plugin directory `{directory}` is writable by everybody")]
    Insecure {
        /// The directory.
        directory: Utf8PathBuf,
    },
    /// The system refuses.
    #[error("cannot read plugin directory `{directory}`")]
    Unreadable {
        /// The directory.
        directory: Utf8PathBuf,
        /// What it says.
        source: io::Error,
    },
}

impl ScanError {
    /// What the reader can do about it.
    pub fn hint(&self) -> String {
        match self {
            Self::Missing { directory } => format!(
                "create it (`mkdir -p {directory}`) and link `.info` files into it, or name \
                 another one with `--plugins-d`"
            ),
            Self::NotADirectory { .. } => "name a directory with `--plugins-d`".to_owned(),
            Self::Insecure { directory } => format!(
                "take the right away (`chmod o-w {directory}`), or accept it with \
                 `--allow-insecure-permissions`"
            ),
            Self::Unreadable { .. } => "check owner and mode of that path".to_owned(),
        }
    }

    fn of(errno: Errno, directory: &Utf8Path) -> Self {
        let directory = directory.to_owned();
        match errno {
            Errno::NOENT => Self::Missing { directory },
            Errno::NOTDIR => Self::NotADirectory { directory },
            other => Self::Unreadable { directory, source: other.into() },
        }
    }
}

/// Reads all `.info` files of `directory`, sorted by name. Hidden files are left alone.
///
/// # Errors
/// [`ScanError`] when the directory itself cannot be read or trusted.
pub fn scan(directory: &Utf8Path, permissions: Permissions) -> Result<Vec<Found>, ScanError> {
    let failed = |errno| ScanError::of(errno, directory);
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let opened = openat(CWD, directory.as_std_path(), flags, Mode::empty()).map_err(failed)?;
    let stat = fstat(&opened).map_err(failed)?;
    if permissions == Permissions::Secure && identity::is_world_writable(&stat) {
        return Err(ScanError::Insecure { directory: directory.to_owned() });
    }
    let entries = entries(opened.as_fd()).map_err(failed)?;
    let read_all = |entries: &[Entry]| {
        let mut reader = Reader { directory: opened.as_fd(), permissions, buffer: Vec::new() };
        entries.iter().map(|entry| reader.found(entry)).collect::<Vec<_>>()
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let share = entries.len().div_ceil(threads).max(FILES_PER_THREAD);
    if entries.len() <= share {
        return Ok(read_all(&entries));
    }
    let parts = std::thread::scope(|scope| {
        let parts: Vec<_> =
            entries.chunks(share).map(|part| (part, scope.spawn(|| read_all(part)))).collect();
        // A thread that panicked loses nothing: its part is read here once more.
        let read = |(part, thread): (&[Entry], std::thread::ScopedJoinHandle<'_, Vec<Found>>)| {
            thread.join().unwrap_or_else(|_| read_all(part))
        };
        parts.into_iter().map(read).collect::<Vec<_>>()
    });
    Ok(parts.into_iter().flatten().collect())
}

struct Entry {
    name: CString,
    kind: FileType,
}

fn entries(directory: BorrowedFd<'_>) -> Result<Vec<Entry>, Errno> {
    let mut entries = Vec::new();
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        let bytes = name.to_bytes();
        if bytes.ends_with(SUFFIX) && !bytes.starts_with(b".") {
            entries.push(Entry { name: name.to_owned(), kind: entry.file_type() });
        }
    }
    entries.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    Ok(entries)
}

struct Reader<'a> {
    directory: BorrowedFd<'a>,
    permissions: Permissions,
    buffer: Vec<u8>,
}

impl Reader<'_> {
    fn found(&mut self, entry: &Entry) -> Found {
        let bytes = entry.name.to_bytes();
        let stem = bytes.strip_suffix(SUFFIX).unwrap_or(bytes);
        let stem = String::from_utf8_lossy(stem).into_owned();
        let content = match stem.parse::<PluginName>() {
            Ok(_) => self.content(&entry.name, entry.kind),
            Err(error) => Err(Problem::new(error.to_string(), "give the file another name")),
        };
        Found { stem, is_link: entry.kind == FileType::Symlink, content }
    }

    fn content(&mut self, name: &CStr, kind: FileType) -> Result<Content, Problem> {
        // A link is opened; a pipe or a device in the directory itself need not be.
        if !matches!(kind, FileType::RegularFile | FileType::Symlink | FileType::Unknown) {
            return Err(not_a_file(kind));
        }
        // Opening a pipe for reading would wait for its writer without NONBLOCK.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file = openat(self.directory, name, flags, Mode::empty())
            .map_err(|errno| self.not_opened(name, errno))?;
        let stat = fstat(&file).map_err(unreadable)?;
        let kind = identity::file_type(&stat);
        if kind != FileType::RegularFile {
            return Err(not_a_file(kind));
        }
        if self.permissions == Permissions::Secure && identity::is_world_writable(&stat) {
            return Err(Problem::new(
                "the file is writable by everybody",
                "take the right away (`chmod o-w`), or accept it with \
                 `--allow-insecure-permissions`",
            ));
        }
        let identity = FileIdentity::of(&stat);
        let size = usize::try_from(identity.size).unwrap_or(usize::MAX);
        if size > MAX_INFO_BYTES {
            return Err(Problem::new(
                format!("the file has {size} bytes, more than {MAX_INFO_BYTES}"),
                "link the `.info` file, not the library",
            ));
        }
        self.read(file.as_fd(), size).map_err(unreadable)?;
        let info = PluginInfo::from_json(&self.buffer)?;
        Ok(Content { info, identity })
    }

    /// Fills the buffer with the file, which had `size` bytes a moment ago.
    fn read(&mut self, file: BorrowedFd<'_>, size: usize) -> Result<(), Errno> {
        self.buffer.clear();
        self.buffer.reserve(size + 1);
        loop {
            let got = match read(file, spare_capacity(&mut self.buffer)) {
                Err(Errno::INTR) => continue,
                other => other?,
            };
            // One read gets all of a file that did not grow; no second one has to find its end.
            if got == 0 || self.buffer.len() == size || self.buffer.len() > MAX_INFO_BYTES {
                return Ok(());
            }
            self.buffer.reserve(1);
        }
    }

    fn not_opened(&self, name: &CStr, errno: Errno) -> Problem {
        let target = rustix::fs::readlinkat(self.directory, name, Vec::new())
            .map(|target| target.to_string_lossy().into_owned());
        match (errno, target) {
            (Errno::NOENT, Ok(target)) => Problem::new(
                format!("the link leads nowhere: `{target}` does not exist"),
                "correct the link or remove it",
            ),
            (Errno::NOENT, Err(_)) => {
                Problem::new("the file was removed while it was read", "try again")
            },
            (Errno::LOOP, _) => {
                Problem::new("the link leads back to itself", "correct the link or remove it")
            },
            (Errno::NXIO, _) => not_a_file(FileType::Socket),
            (other, _) => unreadable(other),
        }
    }
}

fn not_a_file(kind: FileType) -> Problem {
    Problem::new(
        format!("expected a file or a link to one, found {}", identity::described(kind)),
        "link the `.info` file of the plugin",
    )
}

fn unreadable(errno: Errno) -> Problem {
    let error = io::Error::from(errno);
    Problem::new(format!("cannot read the file: {error}"), "check owner and mode of that path")
}

#[cfg(test)]
mod tests;

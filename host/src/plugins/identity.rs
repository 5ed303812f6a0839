//! Which file, in which state: what a recorded answer about a file holds for.

use std::fmt;

use rustix::fs::{FileType, Stat};
use serde::{Deserialize, Serialize};

/// Mode bit: anybody may write.
const WORLD_WRITABLE: u32 = 0o002;

/// Device, inode, size and times of a file. Whoever changes the content changes at least one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct FileIdentity {
    /// Device that the file system is on.
    pub device: u64,
    /// Number of the file on it.
    pub inode: u64,
    /// Bytes.
    pub size: u64,
    /// Last change of the content, in nanoseconds since 1970.
    pub modified: i128,
    /// Last change of the content or the inode, in nanoseconds since 1970.
    pub changed: i128,
}

impl FileIdentity {
    /// The identity that a `stat` shows.
    pub fn of(stat: &Stat) -> Self {
        let nanoseconds = |seconds: i128, rest: i128| seconds * 1_000_000_000 + rest;
        Self {
            device: stat.st_dev,
            inode: stat.st_ino,
            size: u64::try_from(stat.st_size).unwrap_or_default(),
            modified: nanoseconds(stat.st_mtime.into(), stat.st_mtime_nsec.into()),
            changed: nanoseconds(stat.st_ctime.into(), stat.st_ctime_nsec.into()),
        }
    }
}

impl fmt::Display for FileIdentity {
    /// One word, as the key of a cache.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { device, inode, size, modified, changed } = self;
        write!(f, "{device:x}-{inode:x}-{size:x}-{modified:x}-{changed:x}")
    }
}

/// Whether anybody on the machine may write to the file.
pub(super) fn is_world_writable(stat: &Stat) -> bool {
    stat.st_mode & WORLD_WRITABLE != 0
}

/// What a `stat` is of.
pub(super) fn file_type(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

/// The word for what stands where a regular file is expected.
pub(super) fn described(kind: FileType) -> &'static str {
    match kind {
        FileType::RegularFile => "a regular file",
        FileType::Directory => "a directory",
        FileType::Fifo => "a named pipe",
        FileType::Socket => "a socket",
        FileType::CharacterDevice | FileType::BlockDevice => "a device",
        FileType::Symlink => "a symbolic link",
        FileType::Unknown => "no regular file",
    }
}

//! One entry of a tree: what it is, whose it is, what is in it.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::Arc;

use fs_err::os::unix::fs::FileExt;

use crate::sparse_file::{self, SparseFile};

/// A file, directory or anything else that has a path.
#[derive(Debug, Clone)]
pub struct Entry {
    /// What it is.
    pub kind: Kind,
    /// Permission bits with setuid, setgid and sticky (`0o7777`); others are ignored.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Last change of the content; `None` means the time of the file system, which is also the latest
    /// that is stored.
    pub mtime: Option<Time>,
    /// Extended attributes by full name (`security.capability`), POSIX ACLs in the form in which
    /// `getxattr` returns them.
    pub xattrs: BTreeMap<String, Vec<u8>>,
}

/// A point in time; the order is that of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time {
    /// Seconds since 1970.
    pub seconds: i64,
    /// 0 to 999 999 999.
    pub nanoseconds: u32,
}

/// The kinds of entries.
#[derive(Debug, Clone)]
pub enum Kind {
    /// A directory; its entries are added by their own paths.
    Directory,
    /// A regular file.
    File(Content),
    /// A symbolic link to this target, never followed here.
    Symlink(OsString),
    /// Another name of the file with this path in the tree; mode, owner and the like are that file's.
    HardLink(PathBuf),
    /// A character device.
    CharDevice {
        /// Number of the driver.
        major: u32,
        /// Number of the device.
        minor: u32,
    },
    /// A block device.
    BlockDevice {
        /// Number of the driver.
        major: u32,
        /// Number of the device.
        minor: u32,
    },
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
}

/// Opens a content anew; it must always give the same bytes.
pub type Opener = dyn Fn() -> io::Result<Box<dyn Read>> + Send + Sync;

/// Where the bytes of a regular file come from; opened only when they are written.
#[derive(Clone)]
pub enum Content {
    /// Bytes in memory.
    Bytes(Arc<[u8]>),
    /// A whole file on this machine.
    Path {
        /// Where it is.
        path: PathBuf,
        /// Its length; another one is an error.
        length: u64,
    },
    /// A part of an open file, such as a member of an archive.
    Range {
        /// The file.
        file: Arc<fs_err::File>,
        /// Where the part starts.
        offset: u64,
        /// Its length.
        length: u64,
    },
    /// Anything else.
    Reader {
        /// Bytes that it gives; another number is an error.
        length: u64,
        /// Opens it.
        open: Arc<Opener>,
    },
}

impl Content {
    /// Bytes of the file.
    pub fn length(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Path { length, .. }
            | Self::Range { length, .. }
            | Self::Reader { length, .. } => *length,
        }
    }

    /// Opens it for reading from its start.
    ///
    /// # Errors
    /// The file does not open.
    pub fn open(&self) -> io::Result<Box<dyn Read + '_>> {
        Ok(match self {
            Self::Bytes(bytes) => Box::new(bytes.as_ref()),
            Self::Path { path, length } if *length >= sparse_file::MIN_LENGTH => {
                Box::new(SparseFile::open(path)?)
            },
            Self::Path { path, .. } => Box::new(fs_err::File::open(path)?),
            Self::Range { file, offset, length } => {
                Box::new(RangeReader { file, offset: *offset, end: offset.saturating_add(*length) })
            },
            Self::Reader { open, .. } => open()?,
        })
    }
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes(bytes) => write!(f, "Bytes({} bytes)", bytes.len()),
            Self::Path { path, length } => write!(f, "Path({}, {length} bytes)", path.display()),
            Self::Range { file, offset, length } => {
                write!(f, "Range({}, {length} bytes at {offset})", file.path().display())
            },
            Self::Reader { length, .. } => write!(f, "Reader({length} bytes)"),
        }
    }
}

impl From<Vec<u8>> for Content {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Bytes(bytes.into())
    }
}

impl From<&[u8]> for Content {
    fn from(bytes: &[u8]) -> Self {
        Self::Bytes(bytes.into())
    }
}

impl From<&str> for Content {
    fn from(text: &str) -> Self {
        Self::Bytes(text.as_bytes().into())
    }
}

struct RangeReader<'a> {
    file: &'a fs_err::File,
    offset: u64,
    end: u64,
}

impl Read for RangeReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let room = usize::try_from(self.end - self.offset).unwrap_or(usize::MAX).min(buffer.len());
        let count = self.file.read_at(&mut buffer[..room], self.offset)?;
        self.offset += count as u64;
        Ok(count)
    }
}

impl Entry {
    /// An entry of root with the mode that is usual for its kind.
    pub fn new(kind: Kind) -> Self {
        let mode = match &kind {
            Kind::Directory => 0o755,
            Kind::Symlink(_) => 0o777,
            Kind::CharDevice { .. } | Kind::BlockDevice { .. } => 0o600,
            Kind::File(_) | Kind::HardLink(_) | Kind::Fifo | Kind::Socket => 0o644,
        };
        Self { kind, mode, uid: 0, gid: 0, mtime: None, xattrs: BTreeMap::new() }
    }

    /// A directory of root with mode 0755.
    pub fn directory() -> Self {
        Self::new(Kind::Directory)
    }

    /// A file of root with mode 0644.
    pub fn file(content: impl Into<Content>) -> Self {
        Self::new(Kind::File(content.into()))
    }

    /// A symbolic link.
    pub fn symlink(target: impl AsRef<OsStr>) -> Self {
        Self::new(Kind::Symlink(target.as_ref().to_owned()))
    }

    /// Another name of `target`.
    pub fn hard_link(target: impl Into<PathBuf>) -> Self {
        Self::new(Kind::HardLink(target.into()))
    }

    /// Sets the permission bits.
    #[must_use]
    pub fn mode(mut self, mode: u32) -> Self {
        self.mode = mode;
        self
    }

    /// Sets owner and group.
    #[must_use]
    pub fn owner(mut self, uid: u32, gid: u32) -> Self {
        self.uid = uid;
        self.gid = gid;
        self
    }

    /// Sets the time of the last change, in seconds since 1970.
    #[must_use]
    pub fn mtime(mut self, seconds: i64) -> Self {
        self.mtime = Some(Time { seconds, nanoseconds: 0 });
        self
    }

    /// Sets an extended attribute.
    #[must_use]
    pub fn xattr(mut self, name: impl Into<String>, value: impl Into<Vec<u8>>) -> Self {
        self.xattrs.insert(name.into(), value.into());
        self
    }
}

//! Disks that can be read at any offset.

use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use camino::{Utf8Path, Utf8PathBuf};
use rustix::fs::{FileType, Mode, OFlags, SeekFrom, fstat, open, seek};
use rustix::io::Errno;

use crate::sparse::{StreamError, data_extents};

/// A disk of fixed size, read from several threads at once.
pub trait ReadAt: Sync {
    /// The file that errors name.
    fn path(&self) -> &Utf8Path;

    /// Virtual size in bytes.
    fn size_bytes(&self) -> u64;

    /// Byte ranges that may hold anything but zeros: ascending, apart, within the size.
    ///
    /// # Errors
    /// The disk's metadata does not read.
    fn data_extents(&self) -> io::Result<Vec<Range<u64>>>;

    /// Fills `buffer` from `offset`.
    ///
    /// # Errors
    /// `UnexpectedEof` when the range is not within the disk, `InvalidData` when an image is damaged.
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;

    /// Bytes that are cheapest to read together: a power of two, the cluster of a compressed image.
    fn preferred_read_bytes(&self) -> usize {
        crate::sparse::UNIT_BYTES
    }
}

/// A raw disk: a file, or a block device, whose bytes are the disk's.
#[derive(Debug)]
pub struct RawDisk {
    path: Utf8PathBuf,
    file: OwnedFd,
    size_bytes: u64,
}

impl RawDisk {
    /// Opens `path` for reading and takes its size.
    ///
    /// # Errors
    /// [`StreamError::Open`], also for what is neither a file nor a block device.
    pub fn open(path: impl Into<Utf8PathBuf>) -> Result<Self, StreamError> {
        let path = path.into();
        // Without `NONBLOCK` a named pipe would keep this waiting for its writer.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let opened = open(path.as_std_path(), flags, Mode::empty()).and_then(|file| {
            match FileType::from_raw_mode(fstat(&file)?.st_mode) {
                FileType::RegularFile | FileType::BlockDevice => {},
                FileType::Directory => return Err(Errno::ISDIR),
                _ => return Err(Errno::SPIPE),
            }
            // Seeking to the end also measures block devices, of which `stat` says size 0.
            let size_bytes = seek(&file, SeekFrom::End(0))?;
            Ok((file, size_bytes))
        });
        let (file, size_bytes) = opened.map_err(|error| StreamError::open(&path, error))?;
        Ok(Self { path, file, size_bytes })
    }
}

impl AsFd for RawDisk {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl ReadAt for RawDisk {
    fn path(&self) -> &Utf8Path {
        &self.path
    }

    fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    fn data_extents(&self) -> io::Result<Vec<Range<u64>>> {
        data_extents(&self.file, self.size_bytes)
    }

    fn read_exact_at(&self, mut buffer: &mut [u8], mut offset: u64) -> io::Result<()> {
        while !buffer.is_empty() {
            let read = match rustix::io::pread(&self.file, &mut *buffer, offset) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Err(Errno::INTR) => continue,
                other => other?,
            };
            buffer = &mut buffer[read..];
            offset += read as u64;
        }
        Ok(())
    }
}

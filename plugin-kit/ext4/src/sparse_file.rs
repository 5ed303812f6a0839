//! Reads a file of this machine without reading its holes.

use std::io::{self, Read};
use std::ops::Range;
use std::path::Path;

use fs_err::os::unix::fs::FileExt;
use rustix::fs::SeekFrom;
use rustix::io::Errno;

/// A shorter file is not worth the search for holes.
pub(crate) const MIN_LENGTH: u64 = 1 << 20;

/// Gives zeros for holes, like the file itself, but faster.
pub(crate) struct SparseFile {
    file: fs_err::File,
    length: u64,
    offset: u64,
    /// Data that begins at or after `offset`; what comes before it is a hole.
    data: Range<u64>,
}

impl SparseFile {
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let file = fs_err::File::open(path)?;
        let length = file.metadata()?.len();
        Ok(Self { file, length, offset: 0, data: 0..0 })
    }

    /// The data after `offset`; everything, where the file system cannot tell.
    fn next_data(&self) -> Range<u64> {
        let seek = |from| rustix::fs::seek(&self.file, from);
        match seek(SeekFrom::Data(self.offset)) {
            Ok(start) => start..seek(SeekFrom::Hole(start)).unwrap_or(self.length),
            Err(Errno::NXIO) => self.length..self.length,
            Err(_) => self.offset..self.length,
        }
    }
}

impl Read for SparseFile {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.offset >= self.length || buffer.is_empty() {
            return Ok(0);
        }
        if self.offset >= self.data.end {
            self.data = self.next_data();
        }
        let hole = self.offset < self.data.start;
        let end = if hole { self.data.start } else { self.data.end };
        let room = usize::try_from(end - self.offset).unwrap_or(usize::MAX).min(buffer.len());
        let count = if hole {
            buffer[..room].fill(0);
            room
        } else {
            self.file.read_at(&mut buffer[..room], self.offset)?
        };
        self.offset += count as u64;
        Ok(count)
    }
}

//! Reading the tables of images from elsewhere: every offset and length in them may be a lie.

use std::io;
use std::ops::Range;

use crate::formats::FormatError;
use crate::sparse::{RawDisk, ReadAt, StreamError};

/// An image being opened: the file and the name of its format, for errors.
pub(super) struct Source<'a> {
    pub(super) file: &'a RawDisk,
    pub(super) format: &'static str,
}

impl Source<'_> {
    pub(super) fn malformed(&self, fault: impl Into<String>) -> FormatError {
        FormatError::malformed(self.file.path(), self.format, fault)
    }

    pub(super) fn unsupported(&self, feature: impl Into<String>) -> FormatError {
        FormatError::unsupported(self.file.path(), self.format, feature)
    }

    /// The error, unless `valid`.
    pub(super) fn require(&self, valid: bool, fault: &str) -> Result<(), FormatError> {
        if valid { Ok(()) } else { Err(self.malformed(fault)) }
    }

    /// Reads `len` bytes after checking that the file has them, so that no claim makes a huge allocation.
    pub(super) fn read(&self, what: &str, offset: u64, len: u64) -> Result<Vec<u8>, FormatError> {
        let within = offset.checked_add(len).is_some_and(|end| end <= self.file.size_bytes());
        self.require(within, &format!("{what} lies beyond the end of the file"))?;
        let len =
            usize::try_from(len).map_err(|_| self.malformed(format!("{what} is too long")))?;
        let mut bytes = vec![0; len];
        self.file
            .read_exact_at(&mut bytes, offset)
            .map_err(|error| StreamError::read(self.file.path(), error))?;
        Ok(bytes)
    }

    /// The first `N` bytes, zeros where the file ends before.
    pub(super) fn head<const N: usize>(&self) -> Result<[u8; N], FormatError> {
        let len = self.file.size_bytes().min(N as u64);
        let bytes = self.read("the header", 0, len)?;
        Ok(crate::formats::bytes::field(&bytes, 0))
    }

    /// Second-level tables that share bytes would let a small file describe an endless list of
    /// extents; 0 is no table.
    pub(super) fn require_apart(
        &self,
        tables: &[u64],
        table_bytes: u64,
    ) -> Result<(), FormatError> {
        let mut tables: Vec<u64> = tables.iter().copied().filter(|table| *table != 0).collect();
        tables.sort_unstable();
        let apart = tables.windows(2).all(|pair| pair[1] - pair[0] >= table_bytes);
        self.require(apart, "two table entries share a second-level table")
    }
}

/// Appends `next` to ascending extents, joined with the last one where they touch.
pub(super) fn push_extent(extents: &mut Vec<Range<u64>>, next: Range<u64>) {
    match extents.last_mut() {
        Some(last) if last.end == next.start => last.end = next.end,
        _ if next.is_empty() => {},
        _ => extents.push(next),
    }
}

/// Cuts `buffer`, to be read from `offset`, at multiples of `unit_bytes`; calls `read(part, unit, offset in unit)`.
pub(super) fn for_each_unit(
    buffer: &mut [u8],
    mut offset: u64,
    unit_bytes: usize,
    mut read: impl FnMut(&mut [u8], u64, usize) -> io::Result<()>,
) -> io::Result<()> {
    let mut rest = buffer;
    while !rest.is_empty() {
        let unit = offset / unit_bytes as u64;
        let within = usize::try_from(offset % unit_bytes as u64).map_err(io::Error::other)?;
        let (part, others) = rest.split_at_mut(rest.len().min(unit_bytes - within));
        offset += part.len() as u64;
        read(part, unit, within)?;
        rest = others;
    }
    Ok(())
}

/// Refuses a read that is not within a disk of `size_bytes`.
pub(super) fn check_range(buffer: &[u8], offset: u64, size_bytes: u64) -> io::Result<()> {
    match offset.checked_add(buffer.len() as u64) {
        Some(end) if end <= size_bytes => Ok(()),
        _ => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

/// Reads stored data; what lies behind the end of the file was never written and is zero.
pub(super) fn read_stored(file: &RawDisk, buffer: &mut [u8], offset: u64) -> io::Result<()> {
    let left = usize::try_from(file.size_bytes().saturating_sub(offset)).unwrap_or(usize::MAX);
    let (stored, behind) = buffer.split_at_mut(left.min(buffer.len()));
    behind.fill(0);
    file.read_exact_at(stored, offset)
}

pub(super) fn damaged(fault: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, fault)
}

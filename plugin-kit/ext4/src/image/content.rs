//! The bytes of a file, read when somebody asks for them.

use std::io::{self, Read};
use std::sync::Arc;

use super::error::ImageError;
use super::extents::Extent;
use super::superblock::Volume;
use crate::entry::Content;
use crate::field::index;

/// A content of `length` bytes that lie in `extents`.
pub(super) fn of(volume: &Arc<Volume>, length: u64, extents: Vec<Extent>) -> Content {
    let volume = Arc::clone(volume);
    let extents: Arc<[Extent]> = extents.into();
    let open = move || -> io::Result<Box<dyn Read>> {
        Ok(Box::new(FileReader {
            volume: Arc::clone(&volume),
            extents: Arc::clone(&extents),
            length,
            offset: 0,
            extent: 0,
        }))
    };
    Content::Reader { length, open: Arc::new(open) }
}

/// The bytes themselves; `length` is small.
pub(super) fn read_all(
    volume: &Arc<Volume>,
    length: u64,
    extents: Vec<Extent>,
) -> Result<Vec<u8>, ImageError> {
    let mut bytes = vec![0; index(length)];
    for extent in extents {
        let block_size = volume.block_size;
        let start = extent.logical * block_size;
        let end = (start + extent.count * block_size).min(length);
        if start < end {
            let part = &mut bytes[index(start)..index(end)];
            volume.read_at(part, extent.physical * block_size)?;
        }
    }
    Ok(bytes)
}

struct FileReader {
    volume: Arc<Volume>,
    extents: Arc<[Extent]>,
    length: u64,
    offset: u64,
    /// The first extent that does not end before `offset`.
    extent: usize,
}

impl Read for FileReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let block_size = self.volume.block_size;
        let left = self.length - self.offset;
        let extent = loop {
            match self.extents.get(self.extent) {
                Some(extent) if (extent.logical + extent.count) * block_size <= self.offset => {
                    self.extent += 1;
                },
                other => break other,
            }
        };
        let start = extent.map_or(self.length, |extent| extent.logical * block_size);
        let hole = self.offset < start;
        let room = match extent {
            _ if hole => start - self.offset,
            Some(extent) => (extent.logical + extent.count) * block_size - self.offset,
            None => 0,
        };
        let count = usize::try_from(room.min(left)).unwrap_or(usize::MAX).min(buffer.len());
        let buffer = &mut buffer[..count];
        if hole {
            buffer.fill(0);
        } else if let Some(extent) = extent {
            let within = self.offset - start;
            self.volume.read_at(buffer, extent.physical * block_size + within)?;
        }
        self.offset += count as u64;
        Ok(count)
    }
}

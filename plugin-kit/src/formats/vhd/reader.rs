//! Reads fixed and dynamic disks.

use std::io;
use std::ops::Range;

use camino::{Utf8Path, Utf8PathBuf};

use super::dynamic::{HEADER_BYTES, HEADER_CHECKSUM_AT, HEADER_MAGIC, UNALLOCATED};
use super::footer::{
    CHECKSUM_AT, FOOTER_BYTES, MAGIC, TYPE_DIFFERENCING, TYPE_DYNAMIC, TYPE_FIXED, checksum,
};
use super::{FORMAT, LIMIT_BYTES};
use crate::formats::bytes::field;
use crate::formats::tables::{Source, check_range, for_each_unit, push_extent, read_stored};
use crate::formats::{FormatError, SECTOR_BYTES};
use crate::sparse::{RawDisk, ReadAt, StreamError, UNIT_BYTES};

/// The content of a fixed or dynamic VHD.
#[derive(Debug)]
pub struct VhdDisk {
    file: RawDisk,
    virtual_bytes: u64,
    extents: Vec<Range<u64>>,
    /// Nothing for a fixed disk.
    blocks: Option<Blocks>,
}

#[derive(Debug)]
struct Blocks {
    block_bytes: usize,
    /// Byte offsets of the blocks' data.
    data: Vec<Option<u64>>,
}

impl VhdDisk {
    /// Opens `path` and checks footer, header and block table.
    ///
    /// # Errors
    /// [`FormatError::Malformed`], [`FormatError::Unsupported`] for differencing disks, [`FormatError::Stream`].
    pub fn open(path: impl Into<Utf8PathBuf>) -> Result<Self, FormatError> {
        Self::from_file(RawDisk::open(path)?)
    }

    pub(crate) fn from_file(file: RawDisk) -> Result<Self, FormatError> {
        let source = Source { file: &file, format: FORMAT };
        let footer_at = file.size_bytes().checked_sub(FOOTER_BYTES as u64);
        let footer_at = footer_at.ok_or_else(|| source.malformed("it is too short"))?;
        let footer = source.read("the footer", footer_at, FOOTER_BYTES as u64)?;
        source.require(footer.starts_with(&MAGIC), "the footer is missing")?;
        let sum = u32::from_be_bytes(field(&footer, CHECKSUM_AT));
        source.require(
            sum == checksum(&footer, CHECKSUM_AT),
            "the checksum of the footer is wrong",
        )?;
        let virtual_bytes = u64::from_be_bytes(field(&footer, 48));
        let fits = virtual_bytes <= LIMIT_BYTES && virtual_bytes % SECTOR_BYTES == 0;
        source.require(fits, "the virtual size is out of range")?;
        let (blocks, extents) = match u32::from_be_bytes(field(&footer, 60)) {
            TYPE_FIXED => {
                source
                    .require(virtual_bytes <= footer_at, "it is shorter than its virtual size")?;
                let extents = crate::sparse::data_extents(&file, virtual_bytes)
                    .map_err(|error| StreamError::read(file.path(), error))?;
                (None, extents)
            },
            TYPE_DYNAMIC => {
                let header_at = u64::from_be_bytes(field(&footer, 16));
                let blocks = Blocks::parse(&source, header_at, virtual_bytes)?;
                let extents = blocks.extents(virtual_bytes);
                (Some(blocks), extents)
            },
            TYPE_DIFFERENCING => return Err(source.unsupported("a parent disk")),
            other => return Err(source.unsupported(format!("type {other}"))),
        };
        Ok(Self { file, virtual_bytes, extents, blocks })
    }
}

impl Blocks {
    fn parse(source: &Source<'_>, header_at: u64, size: u64) -> Result<Self, FormatError> {
        /// Windows makes 2 MiB and 512 KiB.
        const BLOCK_BYTES: std::ops::RangeInclusive<u32> = 256 << 10..=256 << 20;
        let header = source.read("the dynamic header", header_at, HEADER_BYTES as u64)?;
        source.require(header.starts_with(&HEADER_MAGIC), "the dynamic header is missing")?;
        let sum = u32::from_be_bytes(field(&header, HEADER_CHECKSUM_AT));
        let valid = sum == checksum(&header, HEADER_CHECKSUM_AT);
        source.require(valid, "the checksum of the dynamic header is wrong")?;
        let entries = u64::from(u32::from_be_bytes(field(&header, 28)));
        let block_bytes = u32::from_be_bytes(field(&header, 32));
        let usable = block_bytes.is_power_of_two() && BLOCK_BYTES.contains(&block_bytes);
        source.require(usable, "the block size is out of range")?;
        let needed = size.div_ceil(u64::from(block_bytes));
        source.require(entries >= needed, "the block table is too short for the virtual size")?;
        let table_at = u64::from_be_bytes(field(&header, 16));
        let table = source.read("the block table", table_at, needed * 4)?;
        let bitmap_bytes =
            (u64::from(block_bytes) / SECTOR_BYTES / 8).next_multiple_of(SECTOR_BYTES);
        let mut data = Vec::with_capacity(table.len() / 4);
        for entry in table.chunks_exact(4).map(|entry| u32::from_be_bytes(field(entry, 0))) {
            let offset = u64::from(entry) * SECTOR_BYTES + bitmap_bytes;
            let stored = entry != UNALLOCATED;
            let within = !stored || offset < source.file.size_bytes();
            source.require(within, "a block lies beyond the end of the file")?;
            data.push(stored.then_some(offset));
        }
        Ok(Self { block_bytes: block_bytes as usize, data })
    }

    fn extents(&self, size: u64) -> Vec<Range<u64>> {
        let mut extents = Vec::new();
        for (start, block) in (0..).step_by(self.block_bytes).zip(&self.data) {
            if block.is_some() {
                push_extent(&mut extents, start..(start + self.block_bytes as u64).min(size));
            }
        }
        extents
    }
}

impl ReadAt for VhdDisk {
    fn path(&self) -> &Utf8Path {
        self.file.path()
    }

    fn size_bytes(&self) -> u64 {
        self.virtual_bytes
    }

    fn data_extents(&self) -> io::Result<Vec<Range<u64>>> {
        Ok(self.extents.clone())
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        check_range(buffer, offset, self.virtual_bytes)?;
        let Some(blocks) = &self.blocks else {
            return self.file.read_exact_at(buffer, offset);
        };
        for_each_unit(buffer, offset, blocks.block_bytes, |part, block, within| {
            let block = usize::try_from(block).ok().and_then(|i| blocks.data.get(i));
            match block.copied().flatten() {
                Some(data) => read_stored(&self.file, part, data + within as u64)?,
                None => part.fill(0),
            }
            Ok(())
        })
    }

    fn preferred_read_bytes(&self) -> usize {
        UNIT_BYTES
    }
}

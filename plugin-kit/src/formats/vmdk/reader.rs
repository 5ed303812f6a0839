//! Reads `monolithicSparse` and `streamOptimized` files as disks.

use std::io::{self, ErrorKind};
use std::ops::Range;

use camino::{Utf8Path, Utf8PathBuf};
use libdeflater::Decompressor;

use super::descriptor;
use super::header::{
    COMPRESSION_DEFLATE, DIRECTORY_AT_END, FLAG_COMPRESSED, FLAG_MARKERS, FORMAT, GRAINS_PER_TABLE,
    MAGIC, TABLE_LEN,
};
use crate::formats::bytes::field;
use crate::formats::tables::{
    Source, check_range, damaged, for_each_unit, push_extent, read_stored,
};
use crate::formats::{FormatError, SECTOR_BYTES};
use crate::sparse::{RawDisk, ReadAt};

/// The content of a VMDK that is one file.
#[derive(Debug)]
pub struct VmdkDisk {
    file: RawDisk,
    header: Header,
    /// Byte offsets of the grain tables, 0 where there is none.
    directory: Vec<u64>,
    extents: Vec<Range<u64>>,
}

#[derive(Debug, Clone, Copy)]
struct Header {
    flags: u32,
    virtual_bytes: u64,
    grain_bytes: usize,
    descriptor_offset: u64,
    descriptor_bytes: u64,
    directory_sector: u64,
}

/// Grain table entry 1 is a grain of zeros where this flag is set.
const FLAG_ZERO_GRAINS: u32 = 1 << 2;
/// 32 TiB of 64 KiB grains, far more than VMware allows.
const MAX_TABLES: u64 = 1 << 20;
const MAX_DESCRIPTOR_BYTES: u64 = 1 << 20;

impl VmdkDisk {
    /// Opens `path` and checks its header, descriptor and all tables.
    ///
    /// # Errors
    /// [`FormatError::Malformed`]; [`FormatError::Unsupported`] for snapshots and for disks whose extents are
    /// other files; [`FormatError::Stream`].
    pub fn open(path: impl Into<Utf8PathBuf>) -> Result<Self, FormatError> {
        Self::from_file(RawDisk::open(path)?)
    }

    pub(crate) fn from_file(file: RawDisk) -> Result<Self, FormatError> {
        let source = Source { file: &file, format: FORMAT };
        let mut header = Header::parse(&source, &source.head()?)?;
        let descriptor =
            source.read("the descriptor", header.descriptor_offset, header.descriptor_bytes)?;
        descriptor::check(&source, &descriptor)?;
        if header.directory_sector == DIRECTORY_AT_END {
            // The file ends with footer marker, footer and end marker.
            let footer_at = file.size_bytes().checked_sub(1024);
            let footer_at = footer_at.ok_or_else(|| source.malformed("the footer is missing"))?;
            let footer = source.read("the footer", footer_at, 512)?;
            let footer = Header::parse(&source, &field(&footer, 0))?;
            let same = footer.virtual_bytes == header.virtual_bytes
                && footer.grain_bytes == header.grain_bytes
                && footer.directory_sector != DIRECTORY_AT_END;
            source.require(same, "header and footer disagree")?;
            header.directory_sector = footer.directory_sector;
        }
        let directory_at = header.directory_sector.saturating_mul(SECTOR_BYTES);
        let directory = source.read("the grain directory", directory_at, header.tables() * 4)?;
        let directory: Vec<u64> = le32(&directory).map(|sector| sector * SECTOR_BYTES).collect();
        source.require_apart(&directory, GRAINS_PER_TABLE * 4)?;

        let grain_bytes = header.grain_bytes as u64;
        let mut extents = Vec::new();
        for (table, first) in directory.iter().zip((0..).step_by(TABLE_LEN)) {
            if *table == 0 {
                continue;
            }
            let entries = source.read("a grain table", *table, GRAINS_PER_TABLE * 4)?;
            for (entry, grain) in le32(&entries).zip(first..) {
                let Some(offset) = header.locate(entry) else {
                    continue;
                };
                let start: u64 = grain * grain_bytes;
                if start < header.virtual_bytes {
                    let within = offset < file.size_bytes();
                    source.require(within, "a grain lies beyond the end of the file")?;
                    push_extent(
                        &mut extents,
                        start..(start + grain_bytes).min(header.virtual_bytes),
                    );
                }
            }
        }
        Ok(Self { file, header, directory, extents })
    }

    fn read_grain(&self, part: &mut [u8], grain: u64, within: usize) -> io::Result<()> {
        let table = usize::try_from(grain / GRAINS_PER_TABLE).ok();
        let table = table.and_then(|i| self.directory.get(i)).filter(|table| **table != 0);
        let mut entry = [0; 4];
        if let Some(table) = table {
            self.file.read_exact_at(&mut entry, table + grain % GRAINS_PER_TABLE * 4)?;
        }
        let Some(offset) = self.header.locate(u64::from(u32::from_le_bytes(entry))) else {
            part.fill(0);
            return Ok(());
        };
        if self.header.flags & FLAG_COMPRESSED == 0 {
            return read_stored(&self.file, part, offset + within as u64);
        }
        let beyond = |error: io::Error| match error.kind() {
            ErrorKind::UnexpectedEof => damaged("a compressed grain ends beyond the file"),
            _ => error,
        };
        let mut marker = [0; 12];
        self.file.read_exact_at(&mut marker, offset).map_err(beyond)?;
        let len = u32::from_le_bytes(field(&marker, 8)) as usize;
        if len > 2 * self.header.grain_bytes {
            return Err(damaged("a compressed grain is too long"));
        }
        let mut packed = vec![0; len];
        self.file.read_exact_at(&mut packed, offset + 12).map_err(beyond)?;
        // The last grain of a disk may decode to less than a grain.
        let mut data = vec![0; self.header.grain_bytes];
        Decompressor::new()
            .zlib_decompress(&packed, &mut data)
            .map_err(|_| damaged("a compressed grain does not decode"))?;
        part.copy_from_slice(&data[within..within + part.len()]);
        Ok(())
    }
}

impl ReadAt for VmdkDisk {
    fn path(&self) -> &Utf8Path {
        self.file.path()
    }

    fn size_bytes(&self) -> u64 {
        self.header.virtual_bytes
    }

    fn data_extents(&self) -> io::Result<Vec<Range<u64>>> {
        Ok(self.extents.clone())
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        check_range(buffer, offset, self.size_bytes())?;
        for_each_unit(buffer, offset, self.header.grain_bytes, |part, grain, within| {
            self.read_grain(part, grain, within)
        })
    }

    fn preferred_read_bytes(&self) -> usize {
        self.header.grain_bytes
    }
}

impl Header {
    fn parse(source: &Source<'_>, bytes: &[u8; 512]) -> Result<Self, FormatError> {
        let le32 = |at| u32::from_le_bytes(field(bytes, at));
        let le64 = |at| u64::from_le_bytes(field(bytes, at));
        if bytes.starts_with(b"# Disk") {
            return Err(source.unsupported("extents in other files"));
        }
        source.require(bytes.starts_with(&MAGIC), "the magic number is missing")?;
        let (version, flags) = (le32(4), le32(8));
        if !(1..=3).contains(&version) {
            return Err(source.unsupported(format!("version {version}")));
        }
        let (capacity, grain_sectors) = (le64(12), le64(20));
        let grain_fits = grain_sectors.is_power_of_two() && (8..=4096).contains(&grain_sectors);
        source.require(grain_fits, "the grain size is out of range")?;
        source.require(u64::from(le32(44)) == GRAINS_PER_TABLE, "grain tables are not of 512")?;
        let fits = capacity.div_ceil(grain_sectors * GRAINS_PER_TABLE) <= MAX_TABLES;
        source.require(capacity > 0 && fits, "the capacity is out of range")?;
        let compressed = flags & FLAG_COMPRESSED != 0;
        let known = u16::from_le_bytes(field(bytes, 77)) == COMPRESSION_DEFLATE;
        if compressed && !(known && flags & FLAG_MARKERS != 0) {
            return Err(source.unsupported("an unknown compression"));
        }
        let descriptor_offset = le64(28).saturating_mul(SECTOR_BYTES);
        let descriptor_bytes = le64(36).saturating_mul(SECTOR_BYTES);
        if descriptor_offset == 0 {
            return Err(source.unsupported("its descriptor in another file"));
        }
        source.require(descriptor_bytes <= MAX_DESCRIPTOR_BYTES, "the descriptor is too long")?;
        let virtual_bytes = capacity * SECTOR_BYTES;
        let grain_bytes = usize::try_from(grain_sectors * SECTOR_BYTES).unwrap_or(usize::MAX);
        Ok(Self {
            flags,
            virtual_bytes,
            grain_bytes,
            descriptor_offset,
            descriptor_bytes,
            directory_sector: le64(56),
        })
    }

    /// Grain tables that the capacity needs.
    fn tables(&self) -> u64 {
        self.virtual_bytes.div_ceil(self.grain_bytes as u64 * GRAINS_PER_TABLE)
    }

    /// Byte offset of the grain that a table entry means, if it is stored.
    fn locate(&self, entry: u64) -> Option<u64> {
        let zeros = entry == 0 || entry == 1 && self.flags & FLAG_ZERO_GRAINS != 0;
        (!zeros).then_some(entry * SECTOR_BYTES)
    }
}

fn le32(bytes: &[u8]) -> impl Iterator<Item = u64> + '_ {
    bytes.chunks_exact(4).map(|word| u64::from(u32::from_le_bytes(field(word, 0))))
}

//! The binary header, markers, and the dimensions of the tables.

use super::descriptor::DESCRIPTOR_SECTORS;
use crate::formats::bytes::put;
use crate::formats::{FormatError, SECTOR_BYTES};

pub(super) const FORMAT: &str = "VMDK";
pub(crate) const MAGIC: [u8; 4] = *b"KDMV";

pub(super) const GRAIN_BYTES: usize = 64 << 10;
pub(super) const GRAIN_SECTORS: u64 = GRAIN_BYTES as u64 / SECTOR_BYTES;
/// Four-byte entries of a grain table.
pub(super) const TABLE_LEN: usize = 512;
pub(super) const GRAINS_PER_TABLE: u64 = TABLE_LEN as u64;
pub(super) const TABLE_SECTORS: u64 = GRAINS_PER_TABLE * 4 / SECTOR_BYTES;

pub(super) const FLAG_NEWLINE_TEST: u32 = 1;
pub(super) const FLAG_REDUNDANT_TABLES: u32 = 1 << 1;
pub(super) const FLAG_COMPRESSED: u32 = 1 << 16;
pub(super) const FLAG_MARKERS: u32 = 1 << 17;
pub(super) const COMPRESSION_DEFLATE: u16 = 1;
/// Value of `gdOffset` in a stream: the footer has the real one.
pub(super) const DIRECTORY_AT_END: u64 = u64::MAX;

/// Entries of grain tables and of the directory are 32-bit sector numbers.
pub(super) const LIMIT_BYTES: u64 = (1 << 32) * SECTOR_BYTES;

/// Dimensions of the tables of one disk.
pub(super) struct Tables {
    pub(super) capacity_sectors: u64,
    /// Grain tables, which is the number of entries in the directory.
    pub(super) count: u64,
}

impl Tables {
    pub(super) fn for_disk(size_bytes: u64) -> Result<Self, FormatError> {
        if size_bytes >= LIMIT_BYTES {
            return Err(too_large(size_bytes));
        }
        let capacity_sectors = size_bytes.div_ceil(SECTOR_BYTES);
        let count = capacity_sectors.div_ceil(GRAIN_SECTORS * GRAINS_PER_TABLE);
        Ok(Self { capacity_sectors, count })
    }

    pub(super) fn directory_sectors(&self) -> u64 {
        (self.count * 4).div_ceil(SECTOR_BYTES)
    }
}

/// A sector number as tables hold it.
pub(super) fn sector_entry(sector: u64) -> Result<u32, FormatError> {
    u32::try_from(sector).map_err(|_| too_large(sector.saturating_mul(SECTOR_BYTES)))
}

fn too_large(size_bytes: u64) -> FormatError {
    FormatError::TooLarge { format: FORMAT, size_bytes, limit_bytes: LIMIT_BYTES }
}

/// `SparseExtentHeader` of the format note.
pub(super) struct Header {
    pub(super) version: u32,
    pub(super) flags: u32,
    pub(super) capacity_sectors: u64,
    pub(super) redundant_directory: u64,
    pub(super) directory: u64,
    pub(super) overhead_sectors: u64,
    pub(super) compression: u16,
}

impl Header {
    pub(super) fn to_bytes(&self) -> [u8; 512] {
        let mut bytes = [0; 512];
        put(&mut bytes, 0, &MAGIC);
        put(&mut bytes, 4, &self.version.to_le_bytes());
        put(&mut bytes, 8, &self.flags.to_le_bytes());
        put(&mut bytes, 12, &self.capacity_sectors.to_le_bytes());
        put(&mut bytes, 20, &GRAIN_SECTORS.to_le_bytes());
        // The descriptor follows the header.
        put(&mut bytes, 28, &1_u64.to_le_bytes());
        put(&mut bytes, 36, &DESCRIPTOR_SECTORS.to_le_bytes());
        put(&mut bytes, 44, &512_u32.to_le_bytes());
        put(&mut bytes, 48, &self.redundant_directory.to_le_bytes());
        put(&mut bytes, 56, &self.directory.to_le_bytes());
        put(&mut bytes, 64, &self.overhead_sectors.to_le_bytes());
        // Byte 72: not open for writing. Then the line ends that a text-mode transfer would change.
        put(&mut bytes, 73, b"\n \r\n");
        put(&mut bytes, 77, &self.compression.to_le_bytes());
        bytes
    }
}

/// Kinds of metadata that a stream announces.
#[derive(Clone, Copy)]
pub(super) enum Marker {
    EndOfStream = 0,
    GrainTable = 1,
    GrainDirectory = 2,
    Footer = 3,
}

impl Marker {
    /// The sector that goes before `sectors` of metadata.
    pub(super) fn to_bytes(self, sectors: u64) -> [u8; 512] {
        let mut bytes = [0; 512];
        put(&mut bytes, 0, &sectors.to_le_bytes());
        put(&mut bytes, 12, &(self as u32).to_le_bytes());
        bytes
    }
}

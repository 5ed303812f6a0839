//! The image header, written and parsed, and the entries whose meaning depends on it.

use super::layout::{
    CLUSTER_BITS, COMPRESSED, COMPRESSION_ZLIB, COMPRESSION_ZSTD, HEADER_BYTES,
    INCOMPATIBLE_COMPRESSION, INCOMPATIBLE_CORRUPT, INCOMPATIBLE_DATA_FILE, INCOMPATIBLE_DIRTY,
    MAGIC, MAX_L1_BYTES, OFFSET_MASK, READS_AS_ZERO, sector_count_shift,
};
use crate::formats::bytes::{field, put};
use crate::formats::tables::Source;
use crate::formats::{FormatError, SECTOR_BYTES};

/// What differs between the headers written here.
pub(super) struct NewHeader {
    pub(super) virtual_bytes: u64,
    pub(super) l1_entries: u32,
    pub(super) l1_offset: u64,
    pub(super) refcount_table_offset: u64,
    pub(super) refcount_table_clusters: u32,
    pub(super) compression_type: u8,
}

impl NewHeader {
    /// The header followed by the end marker of the (empty) extension list, eight zeros.
    pub(super) fn to_bytes(&self) -> [u8; HEADER_BYTES + 8] {
        let mut bytes = [0; HEADER_BYTES + 8];
        let incompatible =
            if self.compression_type == COMPRESSION_ZLIB { 0 } else { INCOMPATIBLE_COMPRESSION };
        put(&mut bytes, 0, &MAGIC);
        put(&mut bytes, 4, &3_u32.to_be_bytes());
        put(&mut bytes, 20, &CLUSTER_BITS.to_be_bytes());
        put(&mut bytes, 24, &self.virtual_bytes.to_be_bytes());
        put(&mut bytes, 36, &self.l1_entries.to_be_bytes());
        put(&mut bytes, 40, &self.l1_offset.to_be_bytes());
        put(&mut bytes, 48, &self.refcount_table_offset.to_be_bytes());
        put(&mut bytes, 56, &self.refcount_table_clusters.to_be_bytes());
        put(&mut bytes, 72, &incompatible.to_be_bytes());
        // Refcount order: 2^4 bits.
        put(&mut bytes, 96, &4_u32.to_be_bytes());
        put(&mut bytes, 100, &112_u32.to_be_bytes());
        bytes[104] = self.compression_type;
        bytes
    }
}

/// What reading needs from the header of any image.
#[derive(Debug, Clone, Copy)]
pub(super) struct Header {
    version: u32,
    pub(super) cluster_bits: u32,
    pub(super) virtual_bytes: u64,
    pub(super) l1_offset: u64,
    pub(super) compression_type: u8,
}

/// Where a cluster is.
pub(super) enum Cluster {
    Zeros,
    Plain(u64),
    Packed { offset: u64, len: usize },
}

impl Header {
    pub(super) fn parse(source: &Source<'_>) -> Result<Self, FormatError> {
        let bytes: [u8; 112] = source.head()?;
        let be32 = |at| u32::from_be_bytes(field(&bytes, at));
        let be64 = |at| u64::from_be_bytes(field(&bytes, at));
        source.require(bytes.starts_with(&MAGIC), "the magic number is missing")?;
        let version = be32(4);
        if !(2..=3).contains(&version) {
            return Err(source.unsupported(format!("version {version}")));
        }
        if be64(8) != 0 {
            return Err(source.unsupported("a backing file"));
        }
        if be32(32) != 0 {
            return Err(source.unsupported("encryption"));
        }
        let cluster_bits = be32(20);
        source.require((9..=21).contains(&cluster_bits), "the cluster size is out of range")?;
        let mut header = Self {
            version,
            cluster_bits,
            virtual_bytes: be64(24),
            l1_offset: be64(40),
            compression_type: COMPRESSION_ZLIB,
        };
        if version == 3 {
            let incompatible = be64(72);
            let known = INCOMPATIBLE_DIRTY | INCOMPATIBLE_COMPRESSION;
            if incompatible & INCOMPATIBLE_DATA_FILE != 0 {
                return Err(source.unsupported("an external data file"));
            }
            source.require(incompatible & INCOMPATIBLE_CORRUPT == 0, "it is marked as corrupt")?;
            if incompatible & !known != 0 {
                return Err(source.unsupported(format!("features {incompatible:#x}")));
            }
            source.require(be32(100) >= 104, "the header is too short")?;
            if incompatible & INCOMPATIBLE_COMPRESSION != 0 {
                header.compression_type = bytes[104];
            }
            if header.compression_type > COMPRESSION_ZSTD {
                return Err(source.unsupported("an unknown compression"));
            }
        }
        let limit = MAX_L1_BYTES / 8;
        source.require(header.l1_entries() <= limit, "the virtual size is out of range")?;
        let enough = u64::from(be32(36)) >= header.l1_entries();
        source.require(enough, "the L1 table is too short for the virtual size")?;
        Ok(header)
    }

    pub(super) fn cluster_bytes(&self) -> u64 {
        1 << self.cluster_bits
    }

    pub(super) fn l2_entries(&self) -> usize {
        1 << (self.cluster_bits - 3)
    }

    pub(super) fn l1_entries(&self) -> u64 {
        self.virtual_bytes.div_ceil(self.cluster_bytes() * self.l2_entries() as u64)
    }

    /// Decodes an L2 entry.
    pub(super) fn locate(&self, entry: u64, file_bytes: u64) -> Result<Cluster, &'static str> {
        if entry & COMPRESSED != 0 {
            let shift = sector_count_shift(self.cluster_bits);
            let offset = entry & ((1 << shift) - 1);
            let more_sectors = (entry & (COMPRESSED - 1)) >> shift;
            let end = (offset / SECTOR_BYTES + 1 + more_sectors) * SECTOR_BYTES;
            // The count may be one sector too high, and the file need not end at a sector.
            let len = end.min(file_bytes).checked_sub(offset).filter(|len| *len > 0);
            let len = len.and_then(|len| usize::try_from(len).ok());
            let len = len.ok_or("compressed data lies beyond the end of the file")?;
            return Ok(Cluster::Packed { offset, len });
        }
        let offset = entry & OFFSET_MASK;
        if offset == 0 || self.version >= 3 && entry & READS_AS_ZERO != 0 {
            Ok(Cluster::Zeros)
        } else if !offset.is_multiple_of(self.cluster_bytes()) {
            Err("a cluster is not aligned")
        } else {
            Ok(Cluster::Plain(offset))
        }
    }
}

//! Reads an image as a disk. The L1 table is in memory, L2 entries are looked up in the file.

use std::io::{self, Read};
use std::ops::Range;

use camino::{Utf8Path, Utf8PathBuf};
use libdeflater::Decompressor;

use super::layout::{
    COMPRESSED, COMPRESSION_ZLIB, COMPRESSION_ZSTD, FORMAT, INCOMPATIBLE_COMPRESSION,
    INCOMPATIBLE_CORRUPT, INCOMPATIBLE_DATA_FILE, INCOMPATIBLE_DIRTY, MAGIC, MAX_L1_BYTES,
    OFFSET_MASK, READS_AS_ZERO, sector_count_shift,
};
use crate::formats::bytes::field;
use crate::formats::tables::{
    Source, check_range, damaged, for_each_unit, push_extent, read_stored,
};
use crate::formats::{FormatError, SECTOR_BYTES};
use crate::sparse::{RawDisk, ReadAt};

/// The content of a QCOW2 image without backing file.
#[derive(Debug)]
pub struct Qcow2Disk {
    file: RawDisk,
    header: Header,
    /// Offsets of the L2 tables, 0 where there is none.
    l1: Vec<u64>,
    extents: Vec<Range<u64>>,
}

#[derive(Debug, Clone, Copy)]
struct Header {
    version: u32,
    cluster_bits: u32,
    virtual_bytes: u64,
    l1_offset: u64,
    compression_type: u8,
}

/// Where a cluster is.
enum Cluster {
    Zeros,
    Plain(u64),
    Packed { offset: u64, len: usize },
}

impl Qcow2Disk {
    /// Opens `path` and checks its header and all tables.
    ///
    /// # Errors
    /// [`FormatError::Malformed`]; [`FormatError::Unsupported`] for backing files, external data files,
    /// encryption and features that are not known; [`FormatError::Stream`].
    pub fn open(path: impl Into<Utf8PathBuf>) -> Result<Self, FormatError> {
        Self::from_file(RawDisk::open(path)?)
    }

    pub(crate) fn from_file(file: RawDisk) -> Result<Self, FormatError> {
        let source = Source {
            file: &file,
            format: FORMAT,
        };
        let header = Header::parse(&source)?;
        let l1 = source.read("the L1 table", header.l1_offset, header.l1_entries() * 8)?;
        let l1: Vec<u64> = be64(&l1).map(|entry| entry & OFFSET_MASK).collect();
        let aligned = l1
            .iter()
            .all(|table| table.is_multiple_of(header.cluster_bytes()));
        source.require(aligned, "an L2 table is not aligned to clusters")?;
        source.require_distinct(l1.iter().copied())?;

        let mut extents = Vec::new();
        for (table, first) in l1.iter().zip((0..).step_by(header.l2_entries())) {
            if *table == 0 {
                continue;
            }
            let entries = source.read("an L2 table", *table, header.cluster_bytes())?;
            for (entry, cluster) in be64(&entries).zip(first..) {
                match header.locate(entry, file.size_bytes()) {
                    Err(fault) => return Err(source.malformed(fault)),
                    Ok(Cluster::Zeros) => {},
                    Ok(Cluster::Plain(_) | Cluster::Packed { .. }) => {
                        let start = u64::saturating_mul(cluster, header.cluster_bytes());
                        let end = start.saturating_add(header.cluster_bytes());
                        push_extent(&mut extents, start..end.min(header.virtual_bytes));
                    },
                }
            }
        }
        Ok(Self {
            file,
            header,
            l1,
            extents,
        })
    }

    fn read_cluster(&self, part: &mut [u8], cluster: u64, within: usize) -> io::Result<()> {
        let header = &self.header;
        let entries = header.l2_entries() as u64;
        let table = usize::try_from(cluster / entries)
            .ok()
            .and_then(|i| self.l1.get(i));
        let location = match table {
            None | Some(0) => Cluster::Zeros,
            Some(table) => {
                let mut entry = [0; 8];
                self.file
                    .read_exact_at(&mut entry, table + cluster % entries * 8)?;
                let entry = u64::from_be_bytes(entry);
                header
                    .locate(entry, self.file.size_bytes())
                    .map_err(damaged)?
            },
        };
        match location {
            Cluster::Zeros => part.fill(0),
            Cluster::Plain(offset) => read_stored(&self.file, part, offset + within as u64)?,
            Cluster::Packed { offset, len } => {
                let mut packed = vec![0; len];
                self.file.read_exact_at(&mut packed, offset)?;
                let mut data = vec![0; self.preferred_read_bytes()];
                unpack(header.compression_type, &packed, &mut data)?;
                part.copy_from_slice(&data[within..within + part.len()]);
            },
        }
        Ok(())
    }
}

impl ReadAt for Qcow2Disk {
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
        for_each_unit(
            buffer,
            offset,
            self.preferred_read_bytes(),
            |part, cluster, within| self.read_cluster(part, cluster, within),
        )
    }

    fn preferred_read_bytes(&self) -> usize {
        1 << self.header.cluster_bits
    }
}

impl Header {
    fn parse(source: &Source<'_>) -> Result<Self, FormatError> {
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
        source.require(
            (9..=21).contains(&cluster_bits),
            "the cluster size is out of range",
        )?;
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
            source.require(
                incompatible & INCOMPATIBLE_CORRUPT == 0,
                "it is marked as corrupt",
            )?;
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
        source.require(
            header.l1_entries() <= limit,
            "the virtual size is out of range",
        )?;
        let enough = u64::from(be32(36)) >= header.l1_entries();
        source.require(enough, "the L1 table is too short for the virtual size")?;
        Ok(header)
    }

    fn cluster_bytes(&self) -> u64 {
        1 << self.cluster_bits
    }

    fn l2_entries(&self) -> usize {
        1 << (self.cluster_bits - 3)
    }

    fn l1_entries(&self) -> u64 {
        self.virtual_bytes
            .div_ceil(self.cluster_bytes() * self.l2_entries() as u64)
    }

    /// Decodes an L2 entry.
    fn locate(&self, entry: u64, file_bytes: u64) -> Result<Cluster, &'static str> {
        if entry & COMPRESSED != 0 {
            let shift = sector_count_shift(self.cluster_bits);
            let offset = entry & ((1 << shift) - 1);
            let more_sectors = (entry & (COMPRESSED - 1)) >> shift;
            let end = (offset / SECTOR_BYTES + 1 + more_sectors) * SECTOR_BYTES;
            // The count may be one sector too high, and the file need not end at a sector.
            let len = end
                .min(file_bytes)
                .checked_sub(offset)
                .filter(|len| *len > 0);
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

/// Decodes a whole cluster; what follows the compressed data up to its last sector is ignored.
fn unpack(compression_type: u8, packed: &[u8], data: &mut [u8]) -> io::Result<()> {
    /// 8 MiB: QEMU's frames need 2 MiB, hostile ones ask for more.
    const MAX_WINDOW_LOG: u32 = 23;
    if compression_type == COMPRESSION_ZSTD {
        let mut decoder = zstd::stream::read::Decoder::with_buffer(packed)?.single_frame();
        decoder.window_log_max(MAX_WINDOW_LOG)?;
        return decoder.read_exact(data);
    }
    match Decompressor::new().deflate_decompress(packed, data) {
        Ok(len) if len == data.len() => Ok(()),
        _ => Err(damaged("a compressed cluster does not decode")),
    }
}

fn be64(bytes: &[u8]) -> impl Iterator<Item = u64> + '_ {
    bytes
        .chunks_exact(8)
        .map(|word| u64::from_be_bytes(field(word, 0)))
}

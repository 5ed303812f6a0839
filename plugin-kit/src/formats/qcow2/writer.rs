//! Writes an image front to back: header and L1 table, then data and L2 tables as they come, refcounts last.

use camino::Utf8Path;

use super::header::NewHeader;
use super::layout::{
    CLUSTER_BITS, CLUSTER_BYTES, COMPRESSED, COMPRESSION_ZLIB, COMPRESSION_ZSTD, COPIED, FORMAT,
    L2_ENTRIES, MAX_L1_BYTES, REFCOUNTS_PER_BLOCK, sector_count_shift,
};
use crate::formats::bytes::be64_table;
use crate::formats::codec::{Codec, Encoded, Method};
use crate::formats::{FormatError, SECTOR_BYTES, Written};
use crate::sparse::{Control, Output, Pump, ReadAt, UNIT_BYTES, create_beside, pump};

/// Compression of the clusters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// None: largest and fastest, and a guest can use the image as it is.
    None,
    /// Deflate, readable by everything that knows QCOW2.
    ///
    /// Matches reach up to 32 KiB back. QEMU itself writes at most 4 KiB, but like every reader that
    /// decodes a cluster at once it accepts these.
    Zlib {
        /// 1 to 12.
        level: i32,
    },
    /// Zstandard, faster and smaller, readable by QEMU 5.1 (2020) and later.
    Zstd {
        /// 1 to 22.
        level: i32,
    },
}

impl Compression {
    /// Level 2, the cheapest that is not larger than what `qemu-img convert -c` writes (measured 2026-11).
    pub const ZLIB: Self = Self::Zlib { level: 2 };
    /// Level 3, the one that QEMU uses.
    pub const ZSTD: Self = Self::Zstd { level: 3 };
}

/// Options of [`write()`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Compression of the clusters; one that would not shrink is stored plain.
    pub compression: Compression,
}

/// Writes `disk` as a QCOW2 image. Its size is rounded up to whole sectors.
///
/// # Errors
/// [`FormatError::TooLarge`] above 2 PiB, [`FormatError::InvalidOption`] for a level that does not exist,
/// [`FormatError::Stream`].
pub fn write(
    disk: &dyn ReadAt,
    output: &Utf8Path,
    options: &Options,
    control: &Control<'_>,
) -> Result<Written, FormatError> {
    let (codec, compression_type) = match options.compression {
        Compression::None => (None, COMPRESSION_ZLIB),
        Compression::Zlib { level } => {
            (Some(Codec::new(Method::Deflate, level)?), COMPRESSION_ZLIB)
        },
        Compression::Zstd { level } => (Some(Codec::new(Method::Zstd, level)?), COMPRESSION_ZSTD),
    };
    let virtual_bytes = disk.size_bytes().div_ceil(SECTOR_BYTES) * SECTOR_BYTES;
    let l1_entries = virtual_bytes.div_ceil(CLUSTER_BYTES * L2_ENTRIES);
    let too_large = || FormatError::TooLarge {
        format: FORMAT,
        size_bytes: virtual_bytes,
        limit_bytes: MAX_L1_BYTES / 8 * L2_ENTRIES * CLUSTER_BYTES,
    };
    if l1_entries > MAX_L1_BYTES / 8 {
        return Err(too_large());
    }
    let l1_len = usize::try_from(l1_entries).map_err(|_| too_large())?;

    let mut image = Image::create(create_beside(disk, output)?, l1_len);
    pump(
        Pump { disk, unit_bytes: UNIT_BYTES, control },
        |_, data| match &codec {
            Some(codec) => codec.shrink(data),
            None => Ok(Encoded::Plain(data)),
        },
        |cluster, encoded| image.add(cluster, &encoded),
    )?;
    let file_bytes = image.finish(virtual_bytes, compression_type)?;
    Ok(Written { virtual_bytes, file_bytes })
}

struct Image {
    output: Output,
    /// One per cluster of the file.
    refcounts: Vec<u16>,
    /// Room for compressed data behind the last of it, within one or several clusters in use.
    packing: std::ops::Range<u64>,
    l1: Vec<u64>,
    /// The L2 table in work and its place in the L1 table.
    l2: Vec<u64>,
    l2_index: usize,
}

impl Image {
    fn create(output: Output, l1_len: usize) -> Self {
        let mut image = Self {
            output,
            refcounts: Vec::new(),
            packing: 0..0,
            l1: vec![0; l1_len],
            l2: Vec::new(),
            l2_index: 0,
        };
        // Header and L1 table; written by `finish`, when their content is known.
        image.allocate(1 + (l1_len as u64 * 8).div_ceil(CLUSTER_BYTES));
        image
    }

    /// Takes clusters from the end of the file, each used once. Gives the offset of the first.
    fn allocate(&mut self, clusters: u64) -> u64 {
        let offset = self.end();
        self.refcounts.extend((0..clusters).map(|_| 1));
        offset
    }

    fn end(&self) -> u64 {
        self.refcounts.len() as u64 * CLUSTER_BYTES
    }

    fn add(&mut self, cluster: u64, encoded: &Encoded) -> Result<(), FormatError> {
        let l2_index = index(cluster / L2_ENTRIES);
        if l2_index != self.l2_index {
            self.flush_l2()?;
            self.l2_index = l2_index;
        }
        let entry = match encoded {
            Encoded::Plain(data) => {
                let offset = self.allocate(1);
                self.output.write_all_at(data, offset)?;
                COPIED | offset
            },
            Encoded::Packed(data) => {
                let len = data.len() as u64;
                let offset = self.pack(len);
                self.output.write_all_at(data, offset)?;
                let more_sectors = (offset + len - 1) / SECTOR_BYTES - offset / SECTOR_BYTES;
                COMPRESSED | more_sectors << sector_count_shift(CLUSTER_BITS) | offset
            },
        };
        self.l2.resize(index(L2_ENTRIES), 0);
        self.l2[index(cluster % L2_ENTRIES)] = entry;
        Ok(())
    }

    /// Finds `len` bytes (less than a cluster) for compressed data and counts the use of their clusters.
    fn pack(&mut self, len: u64) -> u64 {
        if self.packing.end - self.packing.start < len {
            // Data may cross into the next cluster only where that is the next to be allocated.
            let at_end = self.packing.end == self.end();
            let next = self.end();
            if !at_end {
                self.packing.start = next;
            }
            self.packing.end = next + CLUSTER_BYTES;
            self.refcounts.push(0);
        }
        let offset = self.packing.start;
        self.packing.start += len;
        for cluster in offset / CLUSTER_BYTES..=(offset + len - 1) / CLUSTER_BYTES {
            self.refcounts[index(cluster)] += 1;
        }
        offset
    }

    fn flush_l2(&mut self) -> Result<(), FormatError> {
        if !self.l2.is_empty() {
            let offset = self.allocate(1);
            self.output.write_all_at(&be64_table(&self.l2), offset)?;
            self.l1[self.l2_index] = COPIED | offset;
            self.l2.clear();
        }
        Ok(())
    }

    /// Writes what is known only now and returns the size of the file.
    fn finish(mut self, virtual_bytes: u64, compression_type: u8) -> Result<u64, FormatError> {
        self.flush_l2()?;
        let used = self.refcounts.len() as u64;
        let (mut blocks, mut table_clusters) = (0, 0);
        // The refcount structures count themselves.
        while blocks * REFCOUNTS_PER_BLOCK < used + blocks + table_clusters {
            blocks += 1;
            table_clusters = (blocks * 8).div_ceil(CLUSTER_BYTES);
        }
        let blocks_offset = self.allocate(blocks);
        let refcount_table_offset = self.allocate(table_clusters);
        let file_bytes = self.end();

        let table: Vec<u64> = (0..blocks).map(|i| blocks_offset + i * CLUSTER_BYTES).collect();
        for (offset, refcounts) in
            table.iter().zip(self.refcounts.chunks(index(REFCOUNTS_PER_BLOCK)))
        {
            let block: Vec<u8> = refcounts.iter().flat_map(|count| count.to_be_bytes()).collect();
            self.output.write_all_at(&block, *offset)?;
        }
        self.output.write_all_at(&be64_table(&table), refcount_table_offset)?;
        self.output.write_all_at(&be64_table(&self.l1), CLUSTER_BYTES)?;
        let too_large = |_| FormatError::TooLarge {
            format: FORMAT,
            size_bytes: file_bytes,
            limit_bytes: u64::from(u32::MAX) * CLUSTER_BYTES,
        };
        let header = NewHeader {
            virtual_bytes,
            l1_entries: u32::try_from(self.l1.len() as u64).map_err(too_large)?,
            l1_offset: CLUSTER_BYTES,
            refcount_table_offset,
            refcount_table_clusters: u32::try_from(table_clusters).map_err(too_large)?,
            compression_type,
        };
        self.output.write_all_at(&header.to_bytes(), 0)?;
        self.output.set_len(file_bytes)?;
        self.output.finish();
        Ok(file_bytes)
    }
}

/// An index into a table that is in memory, hence within `usize`.
fn index(value: u64) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}

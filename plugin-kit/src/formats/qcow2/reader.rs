//! Reads an image as a disk. The L1 table is in memory, L2 entries are looked up in the file.

use std::io::{self, Read};
use std::ops::Range;

use camino::{Utf8Path, Utf8PathBuf};
use libdeflater::Decompressor;

use super::header::{Cluster, Header};
use super::layout::{COMPRESSION_ZSTD, FORMAT, OFFSET_MASK};
use crate::formats::FormatError;
use crate::formats::bytes::field;
use crate::formats::tables::{
    Source, check_range, damaged, for_each_unit, push_extent, read_stored,
};
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
        let source = Source { file: &file, format: FORMAT };
        let header = Header::parse(&source)?;
        let l1 = source.read("the L1 table", header.l1_offset, header.l1_entries() * 8)?;
        let l1: Vec<u64> = be64(&l1).map(|entry| entry & OFFSET_MASK).collect();
        let aligned = l1.iter().all(|table| table.is_multiple_of(header.cluster_bytes()));
        source.require(aligned, "an L2 table is not aligned to clusters")?;
        source.require_apart(&l1, header.cluster_bytes())?;

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
        Ok(Self { file, header, l1, extents })
    }

    fn read_cluster(&self, part: &mut [u8], cluster: u64, within: usize) -> io::Result<()> {
        let header = &self.header;
        let entries = header.l2_entries() as u64;
        let table = usize::try_from(cluster / entries).ok().and_then(|i| self.l1.get(i));
        let location = match table {
            None | Some(0) => Cluster::Zeros,
            Some(table) => {
                let mut entry = [0; 8];
                self.file.read_exact_at(&mut entry, table + cluster % entries * 8)?;
                let entry = u64::from_be_bytes(entry);
                header.locate(entry, self.file.size_bytes()).map_err(damaged)?
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
        for_each_unit(buffer, offset, self.preferred_read_bytes(), |part, cluster, within| {
            self.read_cluster(part, cluster, within)
        })
    }

    fn preferred_read_bytes(&self) -> usize {
        1 << self.header.cluster_bits
    }
}

/// Decodes a whole cluster; what follows the compressed data up to its last sector is ignored.
fn unpack(compression_type: u8, packed: &[u8], data: &mut [u8]) -> io::Result<()> {
    /// 8 MiB: QEMU's frames need 2 MiB, hostile ones ask for more.
    const MAX_WINDOW_LOG: u32 = 23;
    const UNDECODABLE: &str = "a compressed cluster does not decode";
    if compression_type == COMPRESSION_ZSTD {
        let mut decoder = zstd::stream::read::Decoder::with_buffer(packed)?.single_frame();
        decoder.window_log_max(MAX_WINDOW_LOG)?;
        return decoder.read_exact(data).map_err(|_| damaged(UNDECODABLE));
    }
    match Decompressor::new().deflate_decompress(packed, data) {
        Ok(len) if len == data.len() => Ok(()),
        _ => Err(damaged(UNDECODABLE)),
    }
}

fn be64(bytes: &[u8]) -> impl Iterator<Item = u64> + '_ {
    bytes.chunks_exact(8).map(|word| u64::from_be_bytes(field(word, 0)))
}

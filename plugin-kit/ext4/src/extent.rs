//! Extent trees: which blocks hold the content of a file.
//!
//! Up to 4 extents fit into the inode; beyond that they go to blocks of their own, found through as many
//! levels of index blocks as it takes.

use crate::checksum::Checksum;
use crate::field::{hi16, hi32, index, lo16, lo32, put16, put32};
use crate::geometry::{BLOCK_SIZE, Run};

/// Logical blocks have 32-bit numbers, the last of which is not used.
pub(crate) const MAX_FILE_BYTES: u64 = (u32::MAX as u64) * BLOCK_SIZE;
/// Longer extents are marked as unwritten.
pub(crate) const MAX_EXTENT_BLOCKS: u64 = 32768;
pub(crate) const MAGIC: u16 = 0xf30a;
/// Header and records have 12 bytes each.
pub(crate) const RECORD: usize = 12;
const ROOT_BYTES: usize = 60;
const PER_ROOT: usize = ROOT_BYTES / RECORD - 1;
const PER_BLOCK: usize = (4096 - RECORD) / RECORD;

/// The `i_block` field of an inode.
pub(crate) type InodeBlocks = [u8; ROOT_BYTES];

/// Number of blocks that the extents of `runs` need outside of the inode.
pub(crate) fn index_blocks(runs: &[Run]) -> u64 {
    let mut count = extent_count(runs);
    let mut total = 0;
    while count > PER_ROOT {
        count = count.div_ceil(PER_BLOCK);
        total += count;
    }
    total as u64
}

/// The inode's root of the tree for `runs`, and the content of `blocks`, which are as many as
/// [`index_blocks`] says.
pub(crate) fn encode(
    runs: &[Run],
    blocks: &[u64],
    seed: Checksum,
) -> (InodeBlocks, Vec<(u64, Vec<u8>)>) {
    let mut records = leaf_records(runs);
    let mut depth = 0;
    let mut encoded = Vec::with_capacity(blocks.len());
    let mut numbers = blocks.iter();
    while records.len() > PER_ROOT {
        let mut parents = Vec::new();
        for (chunk, number) in records.chunks(PER_BLOCK).zip(&mut numbers) {
            let mut block = vec![0; index(BLOCK_SIZE)];
            put_node(&mut block, chunk, PER_BLOCK, depth);
            let tail = RECORD * (PER_BLOCK + 1);
            let checksum = seed.update(&block[..tail]).value();
            put32(&mut block, tail, checksum);
            parents.push(index_record(&chunk[0], *number));
            encoded.push((*number, block));
        }
        records = parents;
        depth += 1;
    }
    let mut root = [0; ROOT_BYTES];
    put_node(&mut root, &records, PER_ROOT, depth);
    (root, encoded)
}

type Record = [u8; RECORD];

fn extent_count(runs: &[Run]) -> usize {
    runs.iter().map(|run| index(run.count.div_ceil(MAX_EXTENT_BLOCKS))).sum()
}

fn leaf_records(runs: &[Run]) -> Vec<Record> {
    let mut records = Vec::with_capacity(extent_count(runs));
    let mut logical = 0_u64;
    for run in runs {
        let mut start = run.start;
        while start < run.end() {
            let count = (run.end() - start).min(MAX_EXTENT_BLOCKS);
            let mut record = [0; RECORD];
            put32(&mut record, 0, lo32(logical));
            put16(&mut record, 4, lo16(lo32(count)));
            put16(&mut record, 6, lo16(hi32(start)));
            put32(&mut record, 8, lo32(start));
            records.push(record);
            logical += count;
            start += count;
        }
    }
    records
}

/// Points to `block`, the first record of which is `first`.
fn index_record(first: &Record, block: u64) -> Record {
    let mut record = [0; RECORD];
    record[..4].copy_from_slice(&first[..4]);
    put32(&mut record, 4, lo32(block));
    put16(&mut record, 8, lo16(hi32(block)));
    record
}

fn put_node(buffer: &mut [u8], records: &[Record], max: usize, depth: u16) {
    put16(buffer, 0, MAGIC);
    put16(buffer, 2, count16(records.len()));
    put16(buffer, 4, count16(max));
    put16(buffer, 6, depth);
    for (slot, record) in buffer[RECORD..].chunks_exact_mut(RECORD).zip(records) {
        slot.copy_from_slice(record);
    }
}

/// Counts of records in a node are at most [`PER_BLOCK`].
fn count16(count: usize) -> u16 {
    debug_assert!(count <= PER_BLOCK, "a node has {count} records");
    let count = lo32(count as u64);
    debug_assert_eq!(hi16(count), 0, "at most 340");
    lo16(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scattered(count: u64) -> Vec<Run> {
        (0..count).map(|n| Run { start: 100 + 2 * n, count: 1 }).collect()
    }

    #[test]
    fn a_long_run_is_cut_into_extents_of_128_mib() {
        let runs = [Run { start: 5, count: 70000 }];
        let (root, blocks) = encode(&runs, &[], Checksum::START);
        assert!(blocks.is_empty());
        assert_eq!(root[2..4], [3, 0]);
        assert_eq!(root[12 + 4..12 + 6], 32768_u16.to_le_bytes());
        assert_eq!(root[36..40], 65536_u32.to_le_bytes());
        assert_eq!(root[44..48], 65541_u32.to_le_bytes());
    }

    #[test]
    fn levels_grow_with_the_number_of_runs() {
        for (runs, blocks, depth) in [(4, 0, 0), (5, 1, 1), (1360, 4, 1), (1361, 6, 2)] {
            let runs = scattered(runs);
            assert_eq!(index_blocks(&runs), blocks);
            let numbers: Vec<u64> = (1..=blocks).collect();
            let (root, encoded) = encode(&runs, &numbers, Checksum::START);
            assert_eq!(encoded.len() as u64, blocks);
            assert_eq!(root[6], depth);
        }
    }
}

//! Block group descriptors and the bitmaps that they vouch for.
//!
//! Groups that nothing was put into keep their bitmaps and inode tables unwritten and say so by flags, so
//! that a large file system costs little.

use crate::checksum::Checksum;
use crate::field::{hi16, hi32, index, lo16, lo32, put16, put32};
use crate::geometry::{BLOCK_SIZE, Geometry, Run, has_superblock};

/// Bytes of a descriptor with the `64bit` feature.
pub(crate) const DESCRIPTOR_SIZE: usize = 64;

const INODES_UNUSED: u16 = 1;
const BLOCKS_UNUSED: u16 = 2;
const INODE_TABLE_ZEROED: u16 = 4;

/// What is in use, by group.
#[derive(Debug)]
pub(crate) struct Usage {
    /// The first block that is free but for metadata after it.
    pub(crate) end: u64,
    /// Inodes 1 to this one are in use.
    pub(crate) last_inode: u32,
    /// Directories by group.
    pub(crate) directories: Vec<u32>,
}

/// A group's descriptor and the bitmaps to be written.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) descriptor: [u8; DESCRIPTOR_SIZE],
    pub(crate) block_bitmap: Option<Vec<u8>>,
    pub(crate) inode_bitmap: Option<Vec<u8>>,
    pub(crate) free_blocks: u64,
}

impl Usage {
    pub(crate) fn free_inodes(&self, geometry: &Geometry) -> u32 {
        geometry.inodes() - self.last_inode
    }

    /// Inodes of `group` in use.
    pub(crate) fn used_inodes(&self, geometry: &Geometry, group: u32) -> u32 {
        let before = geometry.inodes_per_group * group;
        self.last_inode.saturating_sub(before).min(geometry.inodes_per_group)
    }
}

pub(crate) fn encode(geometry: &Geometry, usage: &Usage, number: u32, seed: Checksum) -> Group {
    let blocks = geometry.group_blocks(number);
    let used = used_blocks(geometry, usage, blocks);
    let used_blocks: u64 = used.iter().map(|run| run.count).sum();
    let used_inodes = usage.used_inodes(geometry, number);
    let own = if has_superblock(number) { geometry.superblock_blocks() } else { 0 };
    let last = number + 1 == geometry.groups;

    let mut flags = INODE_TABLE_ZEROED;
    let mut block_bitmap = None;
    let mut inode_bitmap = None;
    // As in mke2fs, the first and the last group are always spelled out.
    if used_blocks == own && number > 0 && !last {
        flags |= BLOCKS_UNUSED;
    } else {
        let mut bitmap = vec![0; index(BLOCK_SIZE)];
        for run in used {
            set_bits(&mut bitmap, index(run.start - blocks.start), index(run.count));
        }
        set_bits(&mut bitmap, index(blocks.count), index(8 * BLOCK_SIZE - blocks.count));
        block_bitmap = Some(bitmap);
    }
    if used_inodes == 0 {
        flags |= INODES_UNUSED;
    } else {
        let mut bitmap = vec![0; index(BLOCK_SIZE)];
        let inodes = geometry.inodes_per_group;
        set_bits(&mut bitmap, 0, used_inodes as usize);
        set_bits(&mut bitmap, inodes as usize, index(8 * BLOCK_SIZE) - inodes as usize);
        inode_bitmap = Some(bitmap);
    }

    let checksum = |bitmap: &Option<Vec<u8>>, bits: u64| {
        bitmap.as_ref().map_or(0, |bitmap| seed.update(&bitmap[..index(bits / 8)]).value())
    };
    let fields = Fields {
        free_blocks: lo32(blocks.count - used_blocks),
        free_inodes: geometry.inodes_per_group - used_inodes,
        directories: usage.directories[number as usize],
        flags,
        block_checksum: checksum(&block_bitmap, 8 * BLOCK_SIZE),
        inode_checksum: checksum(&inode_bitmap, geometry.inodes_per_group.into()),
    };
    let descriptor = descriptor(geometry, number, &fields, seed);
    Group { descriptor, block_bitmap, inode_bitmap, free_blocks: blocks.count - used_blocks }
}

struct Fields {
    free_blocks: u32,
    free_inodes: u32,
    directories: u32,
    flags: u16,
    block_checksum: u32,
    inode_checksum: u32,
}

fn descriptor(
    geometry: &Geometry,
    number: u32,
    fields: &Fields,
    seed: Checksum,
) -> [u8; DESCRIPTOR_SIZE] {
    let tables = geometry.tables[number as usize];
    let mut bytes = [0; DESCRIPTOR_SIZE];
    for (at, block) in
        [(0x00, tables.block_bitmap), (0x04, tables.inode_bitmap), (0x08, tables.inode_table)]
    {
        put32(&mut bytes, at, lo32(block));
        put32(&mut bytes, at + 0x20, hi32(block));
    }
    // Halves of 16 bits, 32 bytes apart but for the last three.
    for (low, high, value) in [
        (0x0c, 0x2c, fields.free_blocks),
        (0x0e, 0x2e, fields.free_inodes),
        (0x10, 0x30, fields.directories),
        (0x18, 0x38, fields.block_checksum),
        (0x1a, 0x3a, fields.inode_checksum),
        (0x1c, 0x32, fields.free_inodes), // never used, at the end of the table
    ] {
        put16(&mut bytes, low, lo16(value));
        put16(&mut bytes, high, hi16(value));
    }
    put16(&mut bytes, 0x12, fields.flags);
    let checksum = seed.update(&number.to_le_bytes()).update(&bytes).value();
    put16(&mut bytes, 0x1e, lo16(checksum));
    bytes
}

/// The runs of `blocks` in use: all up to the end of what was handed out, metadata beyond it.
fn used_blocks(geometry: &Geometry, usage: &Usage, blocks: Run) -> Vec<Run> {
    let mut used = Vec::new();
    if usage.end > blocks.start {
        used.push(Run { start: blocks.start, count: usage.end.min(blocks.end()) - blocks.start });
    }
    let first = geometry.metadata.partition_point(|run| run.end() <= blocks.start);
    for run in geometry.metadata[first..].iter().take_while(|run| run.start < blocks.end()) {
        let start = run.start.max(blocks.start).max(usage.end);
        let end = run.end().min(blocks.end());
        if start < end {
            used.push(Run { start, count: end - start });
        }
    }
    used
}

fn set_bits(bitmap: &mut [u8], start: usize, count: usize) {
    let end = start + count;
    let mut bit = start;
    while bit < end {
        if bit.is_multiple_of(8) && end - bit >= 8 {
            bitmap[bit / 8] = 0xff;
            bit += 8;
        } else {
            bitmap[bit / 8] |= 1 << (bit % 8);
            bit += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_set_across_bytes() {
        let mut bitmap = [0; 4];
        set_bits(&mut bitmap, 3, 18);
        assert_eq!(bitmap, [0xf8, 0xff, 0x1f, 0]);
        set_bits(&mut bitmap, 30, 2);
        assert_eq!(bitmap[3], 0xc0);
    }
}

//! The resize inode: holds the blocks after each copy of the descriptors, so that the kernel can grow a
//! mounted file system into them.
//!
//! Its double-indirect block points to the reserved blocks of group 0, and each of those, taken as an
//! indirect block, points to its counterparts after the other copies.

use crate::extent::InodeBlocks;
use crate::field::{index, lo32, put32};
use crate::geometry::{BLOCK_SIZE, BLOCKS_PER_GROUP, Geometry};

/// Inode of the reserved blocks.
pub(crate) const INODE: u32 = 7;
const POINTERS: u64 = BLOCK_SIZE / 4;
const DIRECT: u64 = 12;
/// Index of the double-indirect pointer.
const DOUBLE_INDIRECT: usize = 13;
/// As if everything up to the last double-indirect block were there.
pub(crate) const SIZE_BYTES: u64 = (POINTERS * POINTERS + POINTERS + DIRECT) * BLOCK_SIZE;

/// `i_block` of the inode.
pub(crate) fn root(double_indirect: u64) -> InodeBlocks {
    let mut block = [0; 60];
    put32(&mut block, 4 * DOUBLE_INDIRECT, lo32(double_indirect));
    block
}

/// Blocks that belong to the inode.
pub(crate) fn used_blocks(geometry: &Geometry) -> u64 {
    1 + geometry.reserved_descriptor_blocks * geometry.superblock_groups().count() as u64
}

/// The blocks to write: the double-indirect one at `double_indirect` and those that it points to.
pub(crate) fn encode(geometry: &Geometry, double_indirect: u64) -> Vec<(u64, Vec<u8>)> {
    let first = 1 + geometry.descriptor_blocks;
    let mut top = vec![0; index(BLOCK_SIZE)];
    let mut blocks = Vec::new();
    for offset in 0..geometry.reserved_descriptor_blocks {
        let number = first + offset;
        // A reserved block has the slot of the descriptor block that it may become.
        let slot = index((geometry.descriptor_blocks + offset) % POINTERS);
        put32(&mut top, 4 * slot, lo32(number));
        let mut copies = vec![0; index(BLOCK_SIZE)];
        for (slot, group) in geometry.superblock_groups().skip(1).enumerate() {
            put32(&mut copies, 4 * slot, lo32(number + u64::from(group) * BLOCKS_PER_GROUP));
        }
        blocks.push((number, copies));
    }
    blocks.push((double_indirect, top));
    blocks
}

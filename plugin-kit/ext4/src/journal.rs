//! The superblock of an empty journal.
//!
//! The rest of the journal is never written: it reads as zeros, and a clean journal's log is not looked at.
//! Unlike the rest of ext4 the journal's fields are big-endian.

use crate::field::{index, lo32};
use crate::geometry::BLOCK_SIZE;

/// Inode of the journal.
pub(crate) const INODE: u32 = 8;
const MAGIC: u32 = 0xc03b_3998;
/// A journal's superblock of the second version.
const SUPERBLOCK_V2: u32 = 4;

/// The journal's first block.
pub(crate) fn superblock(blocks: u64, uuid: &[u8; 16]) -> Vec<u8> {
    let mut block = vec![0; index(BLOCK_SIZE)];
    let mut put = |at: usize, value: u32| block[at..at + 4].copy_from_slice(&value.to_be_bytes());
    put(0x00, MAGIC);
    put(0x04, SUPERBLOCK_V2);
    put(0x0c, lo32(BLOCK_SIZE));
    put(0x10, lo32(blocks));
    put(0x14, 1); // first block of the log
    put(0x18, 1); // first transaction expected
    put(0x40, 1); // file systems that use it
    block[0x30..0x40].copy_from_slice(uuid);
    block
}

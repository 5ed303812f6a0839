//! The superblock: what every reader looks at first.
//!
//! The features are those of Debian 12's `mke2fs`, which GRUB 2.06 can read; in particular there is no
//! `metadata_csum_seed` and no `orphan_file`.

use crate::checksum::Checksum;
use crate::extent::InodeBlocks;
use crate::field::{bits, hi32, index, lo8, lo16, lo32, put16, put32};
use crate::geometry::{BLOCKS_PER_GROUP, FIRST_INODE, Geometry, INODE_SIZE};
use crate::inode::EXTRA_BYTES;
use crate::options::Options;
use crate::{group, journal};

/// Where the superblock starts, from the start of the file system.
pub(crate) const OFFSET: u64 = 1024;
pub(crate) const BYTES: usize = 1024;
pub(crate) const MAGIC: u16 = 0xef53;

/// `has_journal` is added when there is one.
const COMPATIBLE: u32 = EXT_ATTR | RESIZE_INODE | DIR_INDEX;
const HAS_JOURNAL: u32 = 0x4;
const EXT_ATTR: u32 = 0x8;
const RESIZE_INODE: u32 = 0x10;
const DIR_INDEX: u32 = 0x20;

/// `filetype`, `extent`, `64bit`, `flex_bg`.
const INCOMPATIBLE: u32 = 0x2 | 0x40 | 0x80 | 0x200;

/// `sparse_super`, `large_file`, `huge_file`, `dir_nlink`, `extra_isize`, `metadata_csum`.
const READ_ONLY_COMPATIBLE: u32 = 0x1 | 0x2 | 0x8 | 0x20 | 0x40 | 0x400;

/// Mounted with `user_xattr` and `acl`.
const MOUNT_OPTIONS: u32 = 0x4 | 0x8;
/// Directory hashes take bytes as unsigned.
const UNSIGNED_HASH: u32 = 0x2;
const CRC32C: u8 = 1;

/// What the superblock counts.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Counts {
    pub(crate) free_blocks: u64,
    pub(crate) free_inodes: u32,
}

/// The copy of the superblock for `group_number`; `journal` is the journal inode's root and size.
pub(crate) fn encode(
    options: &Options,
    geometry: &Geometry,
    counts: Counts,
    journal: Option<(InodeBlocks, u64)>,
    group_number: u32,
) -> Vec<u8> {
    let mut block = vec![0; BYTES];
    put_sizes(&mut block, options, geometry, counts);
    put_times(&mut block, options.timestamp);

    let block_slice = &mut block[..];
    put16(block_slice, 0x36, u16::MAX); // no check after a number of mounts
    put16(block_slice, 0x38, MAGIC);
    put16(block_slice, 0x3a, 1); // cleanly unmounted
    put16(block_slice, 0x3c, 1); // errors: continue
    put32(block_slice, 0x4c, 1); // revision with features
    put16(block_slice, 0x5a, lo16(group_number));
    put32(block_slice, 0x5c, COMPATIBLE | if journal.is_some() { HAS_JOURNAL } else { 0 });
    put32(block_slice, 0x60, INCOMPATIBLE);
    put32(block_slice, 0x64, READ_ONLY_COMPATIBLE);
    block_slice[0x68..0x78].copy_from_slice(&options.uuid);
    block_slice[0x78..][..options.label.len()].copy_from_slice(options.label.as_bytes());
    block_slice[0xec..0xfc].copy_from_slice(&options.hash_seed);
    block_slice[0xfc] = crate::directory_hash::HALF_MD4;
    put32(block_slice, 0x100, MOUNT_OPTIONS);
    put32(block_slice, 0x160, UNSIGNED_HASH);
    block_slice[0x175] = CRC32C;
    if let Some((root, size)) = journal {
        put32(block_slice, 0xe0, journal::INODE);
        block_slice[0xfd] = 1; // the next field is a copy of the journal's inode
        block_slice[0x10c..][..root.len()].copy_from_slice(&root);
        put32(block_slice, 0x148, hi32(size));
        put32(block_slice, 0x14c, lo32(size));
    }
    let checksum = Checksum::START.update(&block[..0x3fc]).value();
    put32(&mut block, 0x3fc, checksum);
    block
}

fn put_sizes(block: &mut [u8], options: &Options, geometry: &Geometry, counts: Counts) {
    let reserved = geometry.blocks * u64::from(options.reserved_percent) / 100;
    put32(block, 0x00, geometry.inodes());
    put32(block, 0x04, lo32(geometry.blocks));
    put32(block, 0x08, lo32(reserved));
    put32(block, 0x0c, lo32(counts.free_blocks));
    put32(block, 0x10, counts.free_inodes);
    put32(block, 0x18, 2); // blocks of 2^(10 + 2) bytes
    put32(block, 0x1c, 2); // clusters of one block
    put32(block, 0x20, lo32(BLOCKS_PER_GROUP));
    put32(block, 0x24, lo32(BLOCKS_PER_GROUP));
    put32(block, 0x28, geometry.inodes_per_group);
    put32(block, 0x54, FIRST_INODE);
    put16(block, 0x58, lo16(lo32(INODE_SIZE)));
    put16(block, 0xce, lo16(lo32(geometry.reserved_descriptor_blocks)));
    put16(block, 0xfe, lo16(lo32(group::DESCRIPTOR_SIZE as u64)));
    put32(block, 0x150, hi32(geometry.blocks));
    put32(block, 0x154, hi32(reserved));
    put32(block, 0x158, hi32(counts.free_blocks));
    put16(block, 0x15c, lo16(lo32(EXTRA_BYTES as u64))); // every inode has these
    put16(block, 0x15e, lo16(lo32(EXTRA_BYTES as u64))); // new ones shall have these
    block[0x174] = geometry.log_flex;
    put32(block, 0x248, lo32(geometry.metadata_blocks() + geometry.journal_blocks));
}

/// When it was made, written and checked; it was never mounted.
fn put_times(block: &mut [u8], timestamp: i64) {
    let seconds = bits(timestamp);
    for (at, high) in [(0x30, 0x274), (0x40, 0x277), (0x108, 0x276)] {
        put32(block, at, lo32(seconds));
        block[index(high)] = lo8(hi32(seconds));
    }
}

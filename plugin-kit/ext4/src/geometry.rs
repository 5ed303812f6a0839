//! How a file system of a given size is divided: block groups, inode tables, copies of the superblock.
//!
//! Only the size, the number of inodes and the journal's size matter here, never the tree. The bitmaps and
//! inode tables of up to 16 groups lie together at the start of the first of them (`flex_bg`); groups 0, 1
//! and the powers of 3, 5 and 7 hold the superblock and the descriptors (`sparse_super`), followed by blocks
//! that wait for the descriptors of a grown file system (`resize_inode`).

use crate::error::Error;
use crate::options::{Journal, Options};

/// Bytes of a block; the only size offered, it is the page size of the machines that images are for.
pub(crate) const BLOCK_SIZE: u64 = 4096;
/// A block's worth of bits in the block bitmap.
pub(crate) const BLOCKS_PER_GROUP: u64 = 8 * BLOCK_SIZE;
/// Bytes of an inode: 128 of old, 32 of extra fields, 96 for extended attributes.
pub(crate) const INODE_SIZE: u64 = 256;
/// A block's worth of bits in the inode bitmap.
pub(crate) const MAX_INODES_PER_GROUP: u64 = 8 * BLOCK_SIZE;
pub(crate) const INODES_PER_BLOCK: u32 = 16;
/// Inodes 1 to 10 are reserved; 11 is `lost+found`.
pub(crate) const FIRST_INODE: u32 = 11;
/// Descriptors have 64 bytes (`64bit`), 64 of them fill a block.
const DESCRIPTORS_PER_BLOCK: u64 = BLOCK_SIZE / 64;
/// The resize inode's double-indirect block has this many pointers.
const MAX_RESERVED_DESCRIPTOR_BLOCKS: u64 = BLOCK_SIZE / 4;
/// The resize inode maps blocks by 32-bit numbers.
const MAX_BLOCKS: u64 = u32::MAX as u64;
/// A last group with fewer free blocks is left out, as `mke2fs` does.
const MIN_FREE_IN_LAST_GROUP: u64 = 50;
const MAX_LOG_FLEX: u8 = 4;

/// Consecutive blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) start: u64,
    pub(crate) count: u64,
}

impl Run {
    pub(crate) fn end(self) -> u64 {
        self.start + self.count
    }
}

/// Where a group's bitmaps and inode table lie.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct GroupTables {
    pub(crate) block_bitmap: u64,
    pub(crate) inode_bitmap: u64,
    pub(crate) inode_table: u64,
}

#[derive(Debug)]
pub(crate) struct Geometry {
    /// Blocks of the file system; may be a little less than the partition has.
    pub(crate) blocks: u64,
    pub(crate) groups: u32,
    pub(crate) inodes_per_group: u32,
    pub(crate) descriptor_blocks: u64,
    pub(crate) reserved_descriptor_blocks: u64,
    pub(crate) log_flex: u8,
    pub(crate) journal_blocks: u64,
    /// By group.
    pub(crate) tables: Vec<GroupTables>,
    /// Every block that the division itself takes, sorted, without overlap.
    pub(crate) metadata: Vec<Run>,
}

impl Geometry {
    /// Divides `options.size_bytes` for a tree that needs `needed_inodes` with the reserved ones.
    pub(crate) fn new(options: &Options, needed_inodes: u64) -> Result<Self, Error> {
        let too_small = || Error::TooSmall { size: options.size_bytes };
        let mut blocks = options.size_bytes / BLOCK_SIZE;
        if blocks > MAX_BLOCKS {
            return Err(Error::Option { option: "size_bytes", reason: "16 TiB are the most" });
        }
        loop {
            let groups = u32::try_from(blocks.div_ceil(BLOCKS_PER_GROUP)).unwrap_or(u32::MAX);
            if groups == 0 {
                return Err(too_small());
            }
            let geometry = Self::divide(options, needed_inodes, blocks, groups)?;
            let rest = blocks % BLOCKS_PER_GROUP;
            if rest == 0 || rest >= geometry.overhead(groups - 1) + MIN_FREE_IN_LAST_GROUP {
                return Ok(geometry);
            }
            if groups == 1 {
                return Err(too_small());
            }
            blocks -= rest;
        }
    }

    fn divide(options: &Options, needed: u64, blocks: u64, groups: u32) -> Result<Self, Error> {
        let descriptor_blocks = u64::from(groups).div_ceil(DESCRIPTORS_PER_BLOCK);
        let mut geometry = Self {
            blocks,
            groups,
            inodes_per_group: inodes_per_group(options, needed, blocks, groups)?,
            descriptor_blocks,
            reserved_descriptor_blocks: reserved_descriptor_blocks(blocks, descriptor_blocks),
            log_flex: MAX_LOG_FLEX,
            journal_blocks: journal_blocks(options.journal, blocks),
            tables: Vec::new(),
            metadata: Vec::new(),
        };
        // The tables of a flex group have to fit into its first group and leave some of it free.
        let room = BLOCKS_PER_GROUP * 3 / 4 - geometry.superblock_blocks();
        while geometry.log_flex > 0 && geometry.table_blocks() << geometry.log_flex > room {
            geometry.log_flex -= 1;
        }
        geometry.place_metadata();
        Ok(geometry)
    }

    fn place_metadata(&mut self) {
        let flex = 1_u32 << self.log_flex;
        let inode_table_blocks = self.inode_table_blocks();
        for group in 0..self.groups {
            let start = u64::from(group) * BLOCKS_PER_GROUP;
            let mut end = start;
            if has_superblock(group) {
                end += self.superblock_blocks();
            }
            if group.is_multiple_of(flex) {
                let members = u64::from(flex.min(self.groups - group));
                for member in 0..members {
                    self.tables.push(GroupTables {
                        block_bitmap: end + member,
                        inode_bitmap: end + members + member,
                        inode_table: end + 2 * members + member * inode_table_blocks,
                    });
                }
                end += members * self.table_blocks();
            }
            if end > start {
                self.metadata.push(Run { start, count: end - start });
            }
        }
    }

    /// Blocks at the start of `group` that the division takes.
    fn overhead(&self, group: u32) -> u64 {
        let start = u64::from(group) * BLOCKS_PER_GROUP;
        self.metadata.iter().rev().find(|run| run.start == start).map_or(0, |run| run.count)
    }

    /// Superblock, descriptors and reserved descriptors.
    pub(crate) fn superblock_blocks(&self) -> u64 {
        1 + self.descriptor_blocks + self.reserved_descriptor_blocks
    }

    pub(crate) fn inode_table_blocks(&self) -> u64 {
        u64::from(self.inodes_per_group / INODES_PER_BLOCK)
    }

    /// Two bitmaps and the inode table of one group.
    fn table_blocks(&self) -> u64 {
        2 + self.inode_table_blocks()
    }

    pub(crate) fn inodes(&self) -> u32 {
        self.inodes_per_group * self.groups
    }

    /// Blocks of `group`; the last one may be short.
    pub(crate) fn group_blocks(&self, group: u32) -> Run {
        let start = u64::from(group) * BLOCKS_PER_GROUP;
        Run { start, count: BLOCKS_PER_GROUP.min(self.blocks - start) }
    }

    /// The groups that hold a copy of the superblock and the descriptors, 0 first.
    pub(crate) fn superblock_groups(&self) -> impl Iterator<Item = u32> + '_ {
        (0..self.groups).filter(|group| has_superblock(*group))
    }

    pub(crate) fn metadata_blocks(&self) -> u64 {
        self.metadata.iter().map(|run| run.count).sum()
    }
}

/// `sparse_super`: groups 0, 1 and the powers of 3, 5 and 7.
pub(crate) fn has_superblock(group: u32) -> bool {
    group <= 1
        || [3, 5, 7].into_iter().any(|base| {
            let mut rest = group;
            while rest.is_multiple_of(base) {
                rest /= base;
            }
            rest == 1
        })
}

fn inodes_per_group(
    options: &Options,
    needed: u64,
    blocks: u64,
    groups: u32,
) -> Result<u32, Error> {
    let wanted = match options.inodes {
        Some(inodes) => u64::from(inodes).max(u64::from(FIRST_INODE) + 1),
        None => (blocks * BLOCK_SIZE / 16384).max(needed + needed / 4),
    };
    let per_group = wanted.div_ceil(u64::from(groups)).next_multiple_of(INODES_PER_BLOCK.into());
    let per_group = per_group.min(MAX_INODES_PER_GROUP).min(u64::from(u32::MAX / groups) & !15);
    let available = per_group * u64::from(groups);
    if available < needed {
        return Err(Error::TooFewInodes { needed, available });
    }
    u32::try_from(per_group).map_err(|_| Error::TooFewInodes { needed, available })
}

/// Room to grow by a factor of 1024, as `mke2fs` leaves.
fn reserved_descriptor_blocks(blocks: u64, descriptor_blocks: u64) -> u64 {
    let grown = (blocks * 1024).min(MAX_BLOCKS);
    grown
        .div_ceil(BLOCKS_PER_GROUP)
        .div_ceil(DESCRIPTORS_PER_BLOCK)
        .saturating_sub(descriptor_blocks)
        .clamp(1, MAX_RESERVED_DESCRIPTOR_BLOCKS)
}

/// The sizes that `mke2fs` chooses (e2fsprogs 1.47), in blocks.
fn journal_blocks(journal: Journal, blocks: u64) -> u64 {
    match journal {
        Journal::None => 0,
        Journal::Bytes(bytes) => bytes.div_ceil(BLOCK_SIZE),
        Journal::Auto => match blocks {
            0..2048 => 0,
            2048..0x8000 => 1024,
            0x8000..0x4_0000 => 4096,
            0x4_0000..0x8_0000 => 8192,
            0x8_0000..0x40_0000 => 16384,
            0x40_0000..0x80_0000 => 32768,
            0x80_0000..0x100_0000 => 65536,
            0x100_0000..0x200_0000 => 0x2_0000,
            _ => 0x4_0000,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_size(size: u64) -> Geometry {
        Geometry::new(&Options::new(size, [1; 16], 0), 20).unwrap()
    }

    #[test]
    fn superblocks_are_in_powers_of_3_5_and_7() {
        let groups: Vec<u32> = (0..130).filter(|group| has_superblock(*group)).collect();
        assert_eq!(groups, [0, 1, 3, 5, 7, 9, 25, 27, 49, 81, 125]);
    }

    #[test]
    fn metadata_runs_are_sorted_and_apart_at_every_size() {
        for size in [8 << 20, 100 << 20, 300 << 20, 5 << 30, 100 << 30, 2 << 40] {
            let geometry = of_size(size);
            assert!(geometry.metadata.windows(2).all(|pair| pair[0].end() <= pair[1].start));
            assert!(geometry.metadata.iter().all(|run| run.end() <= geometry.blocks));
            assert_eq!(geometry.tables.len(), geometry.groups as usize);
        }
    }

    #[test]
    fn a_last_group_without_room_for_its_own_tables_is_left_out() {
        let whole = (1 << 30) + 16 * BLOCKS_PER_GROUP * BLOCK_SIZE;
        assert_eq!(of_size(whole + 10 * BLOCK_SIZE).blocks, whole / BLOCK_SIZE);
    }

    #[test]
    fn many_inodes_make_flex_groups_smaller() {
        let mut options = Options::new(4 << 30, [1; 16], 0);
        options.inodes = Some(1 << 20);
        let geometry = Geometry::new(&options, 20).unwrap();
        assert_eq!((geometry.inodes(), geometry.log_flex), (1 << 20, 3));
    }
}

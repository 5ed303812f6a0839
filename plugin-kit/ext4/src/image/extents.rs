//! The blocks of a file: an extent tree, read from its root in the inode.

use super::error::ImageError;
use super::inode::Inode;
use super::superblock::Volume;
use crate::extent::{MAGIC, MAX_EXTENT_BLOCKS, RECORD};
use crate::field::{get16, get32, joined};

/// Levels below the root; what the largest file needs.
const MAX_DEPTH: u16 = 5;

/// Consecutive blocks of a file that lie together.
#[derive(Clone, Copy, Debug)]
pub(super) struct Extent {
    /// Block of the file.
    pub(super) logical: u64,
    /// Block of the file system.
    pub(super) physical: u64,
    pub(super) count: u64,
}

impl Volume {
    /// The extents of `inode` that hold data, in ascending order; what is between them reads as zeros.
    /// Takes the blocks from `blocks_left`.
    pub(super) fn extents(
        &self,
        inode: &Inode,
        blocks_left: &mut u64,
    ) -> Result<Vec<Extent>, ImageError> {
        if !inode.has_extents() {
            // Not even an empty file has a root of extents then.
            if inode.block.iter().all(|byte| *byte == 0) {
                return Ok(Vec::new());
            }
            return Err(ImageError::Unsupported { feature: "block maps of ext2 and ext3" });
        }
        let mut extents = Vec::new();
        let mut next_logical = 0;
        // Nodes by their bytes and their depth; the last one is read next.
        let root = inode.block.to_vec();
        let depth = get16(&root, 6);
        if depth > MAX_DEPTH {
            return Err(ImageError::damaged("its extents are too deep"));
        }
        let mut waiting = vec![(Node::Read(root), depth)];
        while let Some((node, depth)) = waiting.pop() {
            let bytes = match node {
                Node::Read(bytes) => bytes,
                Node::At(block) => {
                    take(blocks_left, 1)?;
                    self.block(block)?
                },
            };
            let records = records(&bytes, depth)?;
            if depth > 0 {
                for record in records.rev() {
                    let block = joined(get16(record, 8).into(), get32(record, 4));
                    waiting.push((Node::At(block), depth - 1));
                }
                continue;
            }
            for record in records {
                let length = u64::from(get16(record, 4));
                let unwritten = length > MAX_EXTENT_BLOCKS;
                let extent = Extent {
                    logical: get32(record, 0).into(),
                    physical: joined(get16(record, 6).into(), get32(record, 8)),
                    count: if unwritten { length - MAX_EXTENT_BLOCKS } else { length },
                };
                if extent.count == 0 || extent.logical < next_logical {
                    return Err(ImageError::damaged("its extents are out of order"));
                }
                next_logical = extent.logical + extent.count;
                self.check_block(extent.physical)?;
                self.check_block(extent.physical + extent.count - 1)?;
                take(blocks_left, extent.count)?;
                if !unwritten {
                    extents.push(extent);
                }
            }
        }
        Ok(extents)
    }
}

enum Node {
    Read(Vec<u8>),
    At(u64),
}

/// The records of a node that is `depth` levels above the leaves.
fn records(node: &[u8], depth: u16) -> Result<std::slice::ChunksExact<'_, u8>, ImageError> {
    let count = usize::from(get16(node, 2)) * RECORD;
    let records = node.get(RECORD..RECORD + count);
    match records {
        Some(records) if get16(node, 0) == MAGIC && get16(node, 6) == depth => {
            Ok(records.chunks_exact(RECORD))
        },
        _ => Err(ImageError::damaged("its extents cannot be read")),
    }
}

/// Blocks that are reached twice are more than there are, in the end.
fn take(blocks_left: &mut u64, count: u64) -> Result<(), ImageError> {
    *blocks_left = blocks_left
        .checked_sub(count)
        .ok_or_else(|| ImageError::damaged("its blocks belong to another file as well"))?;
    Ok(())
}

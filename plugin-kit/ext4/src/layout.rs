//! Gives every inode its blocks.
//!
//! Order: resize inode, journal, directories, then the files in the order of their numbers, each after its
//! attributes and before the index of its extents. So what is read together lies together, and the end of
//! the file system stays empty.

use crate::allocation::Allocator;
use crate::catalog::{Body, Catalog, Record};
use crate::error::Error;
use crate::extent;
use crate::geometry::{BLOCK_SIZE, BLOCKS_PER_GROUP, Geometry, MAX_INODES_PER_GROUP, Run};
use crate::options::Options;

/// Blocks of one inode.
#[derive(Debug, Default)]
pub(crate) struct Placement {
    pub(crate) data: Vec<Run>,
    /// Outside of the inode, for the extents.
    pub(crate) index: Vec<u64>,
    pub(crate) xattrs: Option<u64>,
}

#[derive(Debug)]
pub(crate) struct Layout {
    pub(crate) geometry: Geometry,
    pub(crate) double_indirect: u64,
    pub(crate) journal: Placement,
    /// As the catalog's records.
    pub(crate) placements: Vec<Placement>,
    /// The first block that was not handed out; beyond the file system when it is too small.
    pub(crate) end: u64,
}

impl Placement {
    fn of_data(length: u64, allocator: &mut Allocator<'_>) -> Self {
        let data = allocator.take(length.div_ceil(BLOCK_SIZE));
        let index = (0..extent::index_blocks(&data)).map(|_| allocator.take_one()).collect();
        Self { data, index, xattrs: None }
    }

    pub(crate) fn used_blocks(&self) -> u64 {
        self.data.iter().map(|run| run.count).sum::<u64>()
            + self.index.len() as u64
            + u64::from(self.xattrs.is_some())
    }
}

impl Layout {
    /// Plans to the end even when the tree does not fit.
    pub(crate) fn new(catalog: &Catalog<'_>, options: &Options) -> Result<Self, Error> {
        let geometry = Geometry::new(options, u64::from(catalog.last_inode()))?;
        let mut allocator = Allocator::new(&geometry.metadata);
        let double_indirect = allocator.take_one();
        let journal = Placement::of_data(geometry.journal_blocks * BLOCK_SIZE, &mut allocator);
        let mut placements = Vec::new();
        placements.resize_with(catalog.records.len(), Placement::default);
        for directories in [true, false] {
            for (record, placement) in catalog.records.iter().zip(&mut placements) {
                if matches!(record.body, Body::Directory(_)) == directories {
                    *placement = place(record, &mut allocator);
                }
            }
        }
        let end = allocator.end();
        Ok(Self { geometry, double_indirect, journal, placements, end })
    }

    pub(crate) fn fits(&self) -> bool {
        self.end <= self.geometry.blocks
    }
}

/// The smallest size, to within [`STEP_BLOCKS`], with room for the catalog.
pub(crate) fn minimum_size(catalog: &Catalog<'_>, options: &Options) -> Result<u64, Error> {
    let mut options = options.clone();
    options.size_bytes = STEP_BLOCKS * BLOCK_SIZE;
    loop {
        let blocks = options.size_bytes / BLOCK_SIZE;
        // Metadata beyond the end of a file system that is too small is not counted in `end`, so `end`
        // never exceeds what is needed.
        let lower_bound = match Layout::new(catalog, &options) {
            Ok(layout) if layout.fits() && layout.geometry.blocks == blocks => {
                return Ok(options.size_bytes);
            },
            Ok(layout) => layout.end,
            Err(Error::TooSmall { .. }) => 0,
            Err(Error::TooFewInodes { needed, .. }) if options.inodes.is_none() => {
                (needed - 1) / MAX_INODES_PER_GROUP * BLOCKS_PER_GROUP
            },
            Err(error) => return Err(error),
        };
        let next = lower_bound.next_multiple_of(STEP_BLOCKS).max(blocks + STEP_BLOCKS);
        options.size_bytes = next * BLOCK_SIZE;
    }
}

/// 256 KiB.
const STEP_BLOCKS: u64 = 64;

fn place(record: &Record<'_>, allocator: &mut Allocator<'_>) -> Placement {
    let xattrs = record.xattrs.block.is_some().then(|| allocator.take_one());
    Placement { xattrs, ..Placement::of_data(record.body.length(), allocator) }
}

//! VMDK, the format of VMware: `streamOptimized` for upload (OVF, ESX, AWS) and `monolithicSparse` for desktops.
//!
//! The source is VMware's "Virtual Disk Format 5.0" note. A grain is 64 KiB, a grain table points to 512
//! grains, the grain directory to the grain tables. [`write()`] makes either kind; [`VmdkDisk`] reads both
//! and refuses everything that keeps its data in other files.

mod descriptor;
mod header;
mod reader;
mod sparse;
mod stream;

use camino::Utf8Path;

use crate::formats::{FormatError, Written};
use crate::sparse::{Control, ReadAt};

pub use descriptor::Adapter;
pub(crate) use header::MAGIC;
pub use reader::VmdkDisk;

/// How the grains are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// Compressed grains in the order of the disk, readable front to back; version 3, with footer.
    StreamOptimized {
        /// Level of zlib compression, 1 to 12.
        level: i32,
    },
    /// Plain grains behind two copies of the grain tables; version 1, writable in place.
    MonolithicSparse,
}

impl Layout {
    /// Level 5, the cheapest that is not larger than what `qemu-img` writes (measured 2026-11).
    pub const STREAM_OPTIMIZED: Self = Self::StreamOptimized { level: 5 };
}

/// Options of [`write()`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// How the grains are kept.
    pub layout: Layout,
    /// Disk controller for which the descriptor asks.
    pub adapter: Adapter,
    /// Identifies the content: its last four bytes become the content id (`CID`), all of it
    /// `ddb.longContentID` and `ddb.uuid`. Two disks with the same content may share it.
    pub unique_id: [u8; 16],
    /// File name that the embedded descriptor gives its extent, without `/`, quotes and control characters.
    /// Readers ignore it, so it need not be the name of the output.
    pub extent_name: String,
}

/// Writes `disk` as a VMDK. Its size is rounded up to whole sectors.
///
/// # Errors
/// [`FormatError::TooLarge`] when disk or file exceed 2 TiB, [`FormatError::InvalidOption`],
/// [`FormatError::Stream`].
pub fn write(
    disk: &dyn ReadAt,
    output: &Utf8Path,
    options: &Options,
    control: &Control<'_>,
) -> Result<Written, FormatError> {
    let tables = header::Tables::for_disk(disk.size_bytes())?;
    let descriptor = descriptor::render(options, tables.capacity_sectors)?;
    match options.layout {
        Layout::StreamOptimized { level } => {
            stream::write(disk, output, &tables, &descriptor, level, control)
        },
        Layout::MonolithicSparse => sparse::write(disk, output, &tables, &descriptor, control),
    }
}

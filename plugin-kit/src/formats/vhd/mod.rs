//! VHD, the format of Virtual PC and Hyper-V, and in its fixed form the only one that Azure accepts.
//!
//! The source is Microsoft's "Virtual Hard Disk Image Format Specification" 1.0 (2006). [`write()`] makes fixed
//! and dynamic disks; [`VhdDisk`] reads both and refuses differencing disks.

mod dynamic;
mod fixed;
mod footer;
mod reader;

use camino::Utf8Path;

use crate::formats::{FormatError, SECTOR_BYTES, Written};
use crate::sparse::{Control, ReadAt};

pub(crate) use footer::MAGIC;
pub use reader::VhdDisk;

/// How blocks are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// The raw disk and a footer; zeros stay holes of the file.
    Fixed,
    /// Blocks of 2 MiB, those with data only.
    Dynamic,
}

/// Options of [`write()`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// How blocks are kept.
    pub layout: Layout,
    /// Rounds the size up to a whole MiB, without which Azure refuses the disk.
    pub align_to_mib: bool,
    /// Identifier of the disk.
    pub unique_id: [u8; 16],
    /// Creation time in seconds since 2000-01-01 00:00 UTC, as the format counts.
    pub timestamp: u32,
}

/// The greatest size that Hyper-V takes, 2040 GiB.
const LIMIT_BYTES: u64 = 2040 << 30;
const FORMAT: &str = "VHD";

/// Writes `disk` as a VHD. Its size is rounded up to whole sectors or MiB.
///
/// # Errors
/// [`FormatError::TooLarge`] above 2040 GiB, [`FormatError::Stream`].
pub fn write(
    disk: &dyn ReadAt,
    output: &Utf8Path,
    options: &Options,
    control: &Control<'_>,
) -> Result<Written, FormatError> {
    if disk.size_bytes() > LIMIT_BYTES {
        return Err(FormatError::TooLarge {
            format: FORMAT,
            size_bytes: disk.size_bytes(),
            limit_bytes: LIMIT_BYTES,
        });
    }
    let alignment = if options.align_to_mib { 1 << 20 } else { SECTOR_BYTES };
    let virtual_bytes = disk.size_bytes().next_multiple_of(alignment);
    let footer = footer::render(options, virtual_bytes);
    let file_bytes = match options.layout {
        Layout::Fixed => fixed::write(disk, output, virtual_bytes, &footer, control)?,
        Layout::Dynamic => dynamic::write(disk, output, virtual_bytes, &footer, control)?,
    };
    Ok(Written { virtual_bytes, file_bytes })
}

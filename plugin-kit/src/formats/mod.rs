//! Disk image formats: QCOW2, VMDK, VHD and raw, written in parallel and in one pass, and read back.
//!
//! Every writer takes a [`ReadAt`](crate::sparse::ReadAt) disk and an output path, visits the data extents only, leaves zeros
//! unallocated, and gives the same bytes for the same content and options: identifiers and times are
//! options, never drawn or looked up. A failed or cancelled write removes its output.
//! [`inspect`] tells what a file from elsewhere is, [`open`] reads it; both treat it as hostile.

mod bytes;
mod codec;
mod error;
mod inspect;
pub mod qcow2;
pub mod raw;
mod tables;
pub mod vhd;
pub mod vmdk;

pub use error::FormatError;
pub use inspect::{ImageFormat, Inspection, inspect, open};

/// Size of a finished image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    /// Bytes that a guest sees, rounded up as the format demands.
    pub virtual_bytes: u64,
    /// Apparent size of the file.
    pub file_bytes: u64,
}

/// Bytes of a sector, the unit in which all of these formats count.
const SECTOR_LEN: usize = 512;
const SECTOR_BYTES: u64 = SECTOR_LEN as u64;

//! Sparse streams: a disk as the bytes that somebody wrote, without the holes between them.
//!
//! [`ReadAt`] is a disk that can be read at any offset and names its data extents; [`RawDisk`] is the one
//! that reads a file, [`formats`](crate::formats) has others. Everything here visits the extents only:
//! a hole is neither read nor written, so a terabyte disk with a gigabyte of data costs a gigabyte.
//! Start at [`RawDisk::open`]; [`clone_file`] copies a file, [`Appender`]
//! writes one that comes from elsewhere, [`sha256`] digests a disk. Nothing here calls
//! `fsync`: whether a file must outlive a power cut is for the caller to know.

mod append;
mod control;
mod copy;
mod digest;
mod disk;
mod error;
mod extents;
mod output;
mod pump;
mod zeros;

pub use append::Appender;
pub use control::Control;
pub use copy::{Copied, CopyMethod, Zeros, clone_file};
pub use digest::sha256;
pub use disk::{RawDisk, ReadAt};
pub use error::StreamError;
pub use extents::data_extents;
pub use zeros::is_zero;

pub(crate) use copy::{copy_data, create_beside};
pub(crate) use output::Output;
pub(crate) use pump::{Pump, pump};

/// Bytes in the unit of zero detection and copying: what QCOW2 calls a cluster and VMDK a grain.
pub const UNIT_BYTES: usize = 64 << 10;

//! QCOW2 version 3 with 64 KiB clusters, the native format of QEMU (its docs/interop/qcow2.txt is the source).
//!
//! [`write()`] makes images without backing file, snapshots or encryption; [`Qcow2Disk`] reads such images,
//! version 2 and other cluster sizes included. `layout` has the numbers and `header` the header that both share.

mod header;
mod layout;
mod reader;
mod writer;

pub(crate) use layout::MAGIC;
pub use reader::Qcow2Disk;
pub use writer::{Compression, Options, write};

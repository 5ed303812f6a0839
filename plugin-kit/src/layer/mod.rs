//! Layers of container images: a tree as a tar archive, byte for byte the same for the same tree.
//!
//! [`write()`] makes the archive as the OCI image specification 1.1 wants it (`layer.md`): names sorted, owners as
//! numbers, whole seconds, no holes, extended attributes in pax headers. [`Compressor`] packs it on all cores,
//! with the same bytes for any number of them, and [`Digested`] takes the digest of what flows through it. No
//! more than a few MiB are in memory.

mod archive;
mod compress;
mod digest;
mod error;
mod pax;
#[cfg(test)]
mod tests;

pub use archive::{LayerOptions, Written, write};
pub use compress::{Compression, Compressor};
pub use digest::Digested;
pub use error::LayerError;

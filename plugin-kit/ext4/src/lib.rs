//! Writes ext4 file systems in user space, byte for byte the same for the same input, and reads them.
//!
//! A [`Tree`] is filled by [`Tree::add`], or read by [`Tree::from_dir`] or [`Tree::from_tar`]; [`Tree::write`]
//! turns it into a file system anywhere in a file that reads as zeros. Nothing is mounted, no privilege is
//! needed, and neither the order of adding nor the clock of the machine shows in the result.
//! [`Tree::from_image`] is the way back.
//!
//! ```
//! let mut tree = ext4::Tree::new();
//! tree.add("/etc/hostname", ext4::Entry::file("image\n"))?;
//! tree.add("/bin", ext4::Entry::symlink("usr/bin"))?;
//! let options = ext4::Options::new(16 << 20, [7; 16], 1_700_000_000).label("root");
//! let mut image = Vec::new();
//! let summary = tree.write(&options, &mut image)?;
//! assert_eq!(summary.size_bytes, 16 << 20);
//! # Ok::<(), ext4::Error>(())
//! ```

mod allocation;
mod archive;
mod catalog;
mod checksum;
mod directory;
mod directory_hash;
mod entry;
mod error;
mod extent;
mod field;
mod geometry;
mod group;
mod image;
mod inode;
mod journal;
mod layout;
mod options;
mod resize_inode;
mod scan;
mod sink;
mod sparse_file;
mod superblock;
mod tree;
mod writer;
mod xattr;

pub use entry::{Content, Entry, Kind, Opener, Time};
pub use error::Error;
pub use image::{ImageError, ReadAt};
pub use options::{Journal, Options};
pub use sink::{Region, WriteAt};
pub use tree::Tree;
pub use writer::Summary;

//! What can go wrong, one variant per cause.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

/// Why a tree could not be described or a file system not be written.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// A path has a component that names nothing below the root.
    #[error("path `{}` is not below the root of the file system: {reason}", path.display())]
    BadPath {
        /// The path as given.
        path: PathBuf,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A component of a path has more than 255 bytes.
    #[error("a name in path `{}` has {length} bytes, ext4 allows 255", path.display())]
    NameTooLong {
        /// The path as given.
        path: PathBuf,
        /// Bytes of the name that is too long.
        length: usize,
    },
    /// Two entries have one path.
    #[error("path `{}` is given twice", path.display())]
    Duplicate {
        /// The path of both.
        path: PathBuf,
    },
    /// Something is to lie below an entry that is no directory.
    #[error("`{}` cannot hold `{}`: it is not a directory", parent.display(), path.display())]
    ParentNotDirectory {
        /// The path as given.
        path: PathBuf,
        /// The entry in its way.
        parent: PathBuf,
    },
    /// The entry is of a kind that this path cannot have.
    #[error("`{}` must be a directory", path.display())]
    MustBeDirectory {
        /// The root or `lost+found`.
        path: PathBuf,
    },
    /// The target of a hard link does not exist, is a directory, or leads back to the link.
    #[error("hard link `{}` leads to `{}`, which is not a file of the tree", path.display(), target.display())]
    HardLinkTarget {
        /// The link.
        path: PathBuf,
        /// Its target as given.
        target: PathBuf,
    },
    /// More hard links to one file than ext4 counts.
    #[error("`{}` has {links} hard links, ext4 allows 65000", path.display())]
    TooManyLinks {
        /// One of the names of the file.
        path: PathBuf,
        /// Number of its names.
        links: u32,
    },
    /// A symbolic link is empty or longer than the kernel can follow.
    #[error("symbolic link `{}` has a target of {length} bytes, ext4 allows 1 to 4095", path.display())]
    SymlinkLength {
        /// The link.
        path: PathBuf,
        /// Bytes of its target.
        length: usize,
    },
    /// A file is longer than ext4 can address with 4 KiB blocks.
    #[error("`{}` has {length} bytes, ext4 allows {max}", path.display(), max = crate::extent::MAX_FILE_BYTES)]
    FileTooLong {
        /// The file.
        path: PathBuf,
        /// Its length.
        length: u64,
    },
    /// An extended attribute cannot be stored.
    #[error("extended attribute `{name}` of `{}` cannot be stored: {reason}", path.display())]
    Xattr {
        /// The entry that has it.
        path: PathBuf,
        /// Name of the attribute.
        name: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A kind of entry that ext4 does not have.
    #[error("`{}` is of a kind that cannot be stored: {kind}", path.display())]
    UnsupportedKind {
        /// The entry.
        path: PathBuf,
        /// What the source calls it.
        kind: String,
    },
    /// The label is longer than 16 bytes.
    #[error("label `{label}` has more than 16 bytes")]
    LabelTooLong {
        /// The label as given.
        label: String,
    },
    /// An option lies outside of its range.
    #[error("option `{option}` is out of range: {reason}")]
    Option {
        /// Name of the option.
        option: &'static str,
        /// Its range.
        reason: &'static str,
    },
    /// The size is too small for even an empty file system.
    #[error("{size} bytes are too few for an ext4 file system with these options")]
    TooSmall {
        /// Size as given.
        size: u64,
    },
    /// The tree needs more room.
    #[error("the tree needs a file system of {needed} bytes, {available} are given")]
    DoesNotFit {
        /// What [`Tree::minimum_size`](crate::Tree::minimum_size) says.
        needed: u64,
        /// The size as given.
        available: u64,
    },
    /// The tree has more entries than the file system is to have inodes.
    #[error("the tree needs {needed} inodes, {available} can be had")]
    TooFewInodes {
        /// Inodes of the tree, with those that ext4 reserves.
        needed: u64,
        /// Inodes that the size or the option allow.
        available: u64,
    },
    /// A source could not be read.
    #[error("cannot read `{}`", path.display())]
    Read {
        /// The file on the machine, or the entry that a reader belongs to.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A file has another length than when it was added.
    #[error("content of `{}` changed: {expected} bytes were announced, {found}", path.display())]
    ContentLength {
        /// The entry.
        path: PathBuf,
        /// Bytes announced.
        expected: u64,
        /// `more follow`, or how many were found.
        found: String,
    },
    /// The output could not be written.
    #[error("cannot write {length} bytes at byte {offset} of the file system")]
    Write {
        /// Where, from the start of the file system.
        offset: u64,
        /// How many.
        length: usize,
        /// What the output said.
        #[source]
        source: io::Error,
    },
}

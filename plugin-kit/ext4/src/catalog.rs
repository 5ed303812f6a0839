//! Numbers the inodes of a tree and works out everything about them that does not depend on where blocks lie.
//!
//! Inode 2 is the root, 11 `lost+found`; the others follow in the order of their names, all entries of a
//! directory before those of its first subdirectory. A file with several names is numbered at the first.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::directory::{self, Link};
use crate::directory_hash::DirectoryHash;
use crate::entry::{Content, Entry, Kind};
use crate::error::Error;
use crate::extent::{InodeBlocks, MAX_FILE_BYTES};
use crate::geometry::FIRST_INODE;
use crate::inode;
use crate::tree::{LOST_FOUND, NodeId, ROOT, Tree};
use crate::xattr;

pub(crate) const ROOT_INODE: u32 = 2;
/// `lost+found` has this many blocks, so that a repair finds room without allocating.
const LOST_FOUND_BLOCKS: usize = 4;
/// Most links that are counted; a directory with more subdirectories says 1 (`dir_nlink`).
const MAX_LINKS: u32 = 65000;
/// Longer targets of symbolic links do not fit into the inode.
const MAX_FAST_SYMLINK: usize = 59;
/// `PATH_MAX` without its zero byte.
const MAX_SYMLINK: usize = 4095;

/// All inodes of a tree, by number.
#[derive(Debug)]
pub(crate) struct Catalog<'t> {
    pub(crate) records: Vec<Record<'t>>,
}

/// An inode but for its blocks.
#[derive(Debug)]
pub(crate) struct Record<'t> {
    pub(crate) number: u32,
    /// One of its paths.
    pub(crate) path: PathBuf,
    pub(crate) entry: &'t Entry,
    pub(crate) file_type: u16,
    pub(crate) links: u16,
    pub(crate) body: Body<'t>,
    pub(crate) xattrs: xattr::Encoded,
}

#[derive(Debug)]
pub(crate) enum Body<'t> {
    /// Nothing but `i_block`; with the inode's size.
    Inline(InodeBlocks, u64),
    Directory(directory::Encoded),
    /// Target of a long symbolic link.
    Target(&'t [u8]),
    File(&'t Content),
}

impl Body<'_> {
    /// Bytes that lie in blocks of their own.
    pub(crate) fn length(&self) -> u64 {
        match self {
            Self::Inline(..) => 0,
            Self::Directory(encoded) => encoded.blocks.len() as u64,
            Self::Target(target) => target.len() as u64,
            Self::File(content) => content.length(),
        }
    }
}

impl<'t> Catalog<'t> {
    pub(crate) fn new(tree: &'t Tree, hash_seed: &[u8; 16]) -> Result<Self, Error> {
        let numbering = Numbering::new(tree)?;
        let hash = DirectoryHash::new(hash_seed);
        let mut records = Vec::with_capacity(numbering.order.len());
        for found in &numbering.order {
            records.push(numbering.record(found, hash)?);
        }
        records.sort_by_key(|record| record.number);
        Ok(Self { records })
    }

    pub(crate) fn last_inode(&self) -> u32 {
        self.records.last().map_or(FIRST_INODE, |record| record.number)
    }
}

/// An inode in the order of numbers, but for `lost+found`.
struct Found {
    id: NodeId,
    parent: NodeId,
    path: PathBuf,
}

struct Numbering<'t> {
    tree: &'t Tree,
    order: Vec<Found>,
    /// By node; 0 where none is given.
    numbers: Vec<u32>,
    /// Number of names, by node.
    links: Vec<u32>,
}

impl<'t> Numbering<'t> {
    fn new(tree: &'t Tree) -> Result<Self, Error> {
        let mut this = Self {
            tree,
            order: Vec::new(),
            numbers: vec![0; tree.node_count()],
            links: vec![0; tree.node_count()],
        };
        this.numbers[ROOT] = ROOT_INODE;
        this.order.push(Found { id: ROOT, parent: ROOT, path: PathBuf::new() });
        let mut next = FIRST_INODE + 1;
        let mut waiting = vec![(ROOT, PathBuf::new())];
        while let Some((directory, path)) = waiting.pop() {
            let first = waiting.len();
            for (name, child) in &tree.node(directory).children {
                let path = path.join(OsStr::from_bytes(name));
                let id = this.target(*child, &path)?;
                this.links[id] += 1;
                if this.numbers[id] != 0 {
                    continue;
                }
                if directory == ROOT && name.as_ref() == LOST_FOUND.as_bytes() {
                    this.numbers[id] = FIRST_INODE;
                } else {
                    this.numbers[id] = next;
                    next = next.checked_add(1).ok_or(Error::TooFewInodes {
                        needed: 1 << 32,
                        available: u64::from(u32::MAX),
                    })?;
                }
                if matches!(tree.node(id).entry.kind, Kind::Directory) {
                    waiting.push((id, path.clone()));
                }
                this.order.push(Found { id, parent: directory, path });
            }
            waiting[first..].reverse();
        }
        Ok(this)
    }

    /// The node that a name stands for.
    fn target(&self, id: NodeId, path: &Path) -> Result<NodeId, Error> {
        let Kind::HardLink(target) = &self.tree.node(id).entry.kind else {
            return Ok(id);
        };
        self.tree
            .resolve_hard_link(target)
            .ok_or_else(|| Error::HardLinkTarget { path: path.to_owned(), target: target.clone() })
    }

    fn record(&self, found: &Found, hash: DirectoryHash) -> Result<Record<'t>, Error> {
        let entry = &self.tree.node(found.id).entry;
        let number = self.numbers[found.id];
        let mut links = self.links[found.id];
        let (file_type, body) = match &entry.kind {
            Kind::Directory => {
                let (encoded, subdirectories) = self.directory(found, hash)?;
                links = 2 + subdirectories;
                links = if links > MAX_LINKS { 1 } else { links };
                (inode::TYPE_DIRECTORY, Body::Directory(encoded))
            },
            Kind::File(content) => (inode::TYPE_FILE, file(content, &found.path)?),
            Kind::Symlink(target) => (inode::TYPE_SYMLINK, symlink(target, &found.path)?),
            Kind::CharDevice { major, minor } => {
                (inode::TYPE_CHAR, Body::Inline(inode::device(*major, *minor), 0))
            },
            Kind::BlockDevice { major, minor } => {
                (inode::TYPE_BLOCK, Body::Inline(inode::device(*major, *minor), 0))
            },
            Kind::Fifo => (inode::TYPE_FIFO, Body::Inline([0; 60], 0)),
            Kind::Socket | Kind::HardLink(_) => (inode::TYPE_SOCKET, Body::Inline([0; 60], 0)),
        };
        let xattrs =
            xattr::encode(&entry.xattrs).map_err(|problem| xattr::error(&found.path, problem))?;
        let path = found.path.clone();
        match u16::try_from(links) {
            Ok(links) if u32::from(links) <= MAX_LINKS => {
                Ok(Record { number, path, entry, file_type, links, body, xattrs })
            },
            _ => Err(Error::TooManyLinks { path, links }),
        }
    }

    /// The directory's blocks and the number of its subdirectories.
    fn directory(
        &self,
        found: &Found,
        hash: DirectoryHash,
    ) -> Result<(directory::Encoded, u32), Error> {
        let children = &self.tree.node(found.id).children;
        let mut names = Vec::with_capacity(children.len());
        let mut subdirectories = 0;
        for (name, child) in children {
            let id = self.target(*child, &found.path)?;
            let file_type = type_in_directory(&self.tree.node(id).entry.kind);
            subdirectories += u32::from(file_type == 2);
            names.push(Link { name, inode: self.numbers[id], file_type });
        }
        let number = self.numbers[found.id];
        let mut encoded = directory::encode(number, self.numbers[found.parent], &names, hash);
        if number == FIRST_INODE {
            directory::pad(&mut encoded, LOST_FOUND_BLOCKS);
        }
        Ok((encoded, subdirectories))
    }
}

fn file<'t>(content: &'t Content, path: &Path) -> Result<Body<'t>, Error> {
    let length = content.length();
    if length > MAX_FILE_BYTES {
        return Err(Error::FileTooLong { path: path.to_owned(), length });
    }
    Ok(Body::File(content))
}

fn symlink<'t>(target: &'t OsStr, path: &Path) -> Result<Body<'t>, Error> {
    let target = target.as_bytes();
    if target.is_empty() || target.len() > MAX_SYMLINK {
        return Err(Error::SymlinkLength { path: path.to_owned(), length: target.len() });
    }
    if target.len() > MAX_FAST_SYMLINK {
        return Ok(Body::Target(target));
    }
    let mut block = [0; 60];
    block[..target.len()].copy_from_slice(target);
    Ok(Body::Inline(block, target.len() as u64))
}

fn type_in_directory(kind: &Kind) -> u8 {
    match kind {
        Kind::File(_) => 1,
        Kind::Directory => 2,
        Kind::CharDevice { .. } => 3,
        Kind::BlockDevice { .. } => 4,
        Kind::Fifo => 5,
        Kind::Socket | Kind::HardLink(_) => 6,
        Kind::Symlink(_) => 7,
    }
}

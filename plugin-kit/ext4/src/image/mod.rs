//! Reads the tree of a file system out of an image, without mounting it.
//!
//! [`Tree::from_image`] is the way in. Metadata is read at once, contents only when somebody opens them. The
//! image is not trusted: every number is checked before it is used, each directory is visited once, and all
//! blocks that are reached may not be more than there are, so that any image ends in a tree or in an error.
//! Checksums are not verified; that is `e2fsck`'s work. The layout is that of the kernel's documentation
//! (`Documentation/filesystems/ext4`, read 2026-11).

mod attributes;
mod content;
mod error;
mod extents;
mod inode;
mod names;
mod source;
mod superblock;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use error::ImageError;
use inode::Inode;
pub use source::ReadAt;
use superblock::Volume;

use crate::entry::{Content, Entry, Kind};
use crate::inode::{
    TYPE_BLOCK, TYPE_CHAR, TYPE_DIRECTORY, TYPE_FIFO, TYPE_FILE, TYPE_SOCKET, TYPE_SYMLINK,
};
use crate::tree::{LOST_FOUND, Tree};

const ROOT_INODE: u32 = 2;
/// The longest path that the kernel takes.
const MAX_PATH_BYTES: usize = 4096;
/// Names of a tree; a tree is kept in memory.
const MAX_NAMES: usize = 10_000_000;
/// The kernel follows no longer target.
const MAX_SYMLINK_BYTES: u64 = 4095;

impl Tree {
    /// The tree of the ext4 file system that `image` starts with. Of several names of one file the first in
    /// the order of [`Tree::paths`] has the content and the others are hard links to it.
    ///
    /// `keep` is asked about every path but the root, without a leading `/`; what it answers `false` to is
    /// left out, with everything below it.
    ///
    /// # Errors
    /// [`ImageError`], one variant per cause.
    pub fn from_image(
        image: Arc<dyn ReadAt>,
        keep: impl Fn(&Path) -> bool,
    ) -> Result<Self, ImageError> {
        let volume = Arc::new(Volume::open(image)?);
        let mut walk = Walk {
            blocks_left: volume.blocks,
            volume,
            tree: Self::new(),
            directories: HashSet::new(),
            linked: HashMap::new(),
            names: 0,
        };
        let root = walk.volume.inode(ROOT_INODE)?;
        if root.kind() != TYPE_DIRECTORY {
            return Err(ImageError::damaged("the root is no directory"));
        }
        let mut waiting = vec![(PathBuf::from("/"), ROOT_INODE, root)];
        while let Some((path, number, inode)) = waiting.pop() {
            let below = walk.visit(&path, number, &inode)?;
            // The last one pushed is visited next.
            for (name, number) in below.into_iter().rev() {
                let path = child(&path, &name)?;
                if keep(path.strip_prefix("/").unwrap_or(&path)) {
                    let inode = walk.volume.inode(number)?;
                    waiting.push((path, number, inode));
                }
            }
        }
        Ok(walk.tree)
    }
}

struct Walk {
    volume: Arc<Volume>,
    tree: Tree,
    /// Those that were visited.
    directories: HashSet<u32>,
    /// Where a file with several names was met first.
    linked: HashMap<u32, PathBuf>,
    /// No block belongs to two files.
    blocks_left: u64,
    names: usize,
}

impl Walk {
    /// Adds the entry at `path` and answers what is below it, sorted by name.
    fn visit(
        &mut self,
        path: &Path,
        number: u32,
        inode: &Inode,
    ) -> Result<Vec<(Vec<u8>, u32)>, ImageError> {
        self.names += 1;
        if self.names > MAX_NAMES {
            return Err(ImageError::TooManyNames { limit: MAX_NAMES });
        }
        let directory = inode.kind() == TYPE_DIRECTORY;
        if !directory && let Some(first) = self.linked.get(&number) {
            let link = Entry::hard_link(first.clone());
            self.place(path, link)?;
            return Ok(Vec::new());
        }
        if !directory && inode.links > 1 {
            self.linked.insert(number, path.to_owned());
        }
        let mut below = Vec::new();
        let kind = match inode.kind() {
            TYPE_DIRECTORY => {
                if !self.directories.insert(number) {
                    let path = path.display();
                    return Err(ImageError::damaged(format!("directory `{path}` has two places")));
                }
                below = self.names_in(path, inode)?;
                Kind::Directory
            },
            TYPE_FILE => Kind::File(self.content(path, inode)?),
            TYPE_SYMLINK => Kind::Symlink(self.target(path, inode)?),
            TYPE_CHAR => {
                let (major, minor) = inode.device();
                Kind::CharDevice { major, minor }
            },
            TYPE_BLOCK => {
                let (major, minor) = inode.device();
                Kind::BlockDevice { major, minor }
            },
            TYPE_FIFO => Kind::Fifo,
            TYPE_SOCKET => Kind::Socket,
            other => {
                let path = path.display();
                return Err(ImageError::damaged(format!("`{path}` is of kind {other:#o}")));
            },
        };
        let mut entry = Entry::new(kind).mode(inode.mode.into()).owner(inode.uid, inode.gid);
        entry.mode &= 0o7777;
        entry.mtime = Some(inode.mtime);
        entry.xattrs = self.volume.attributes(inode).map_err(|error| error.of(path))?;
        self.place(path, entry)?;
        Ok(below)
    }

    fn place(&mut self, path: &Path, entry: Entry) -> Result<(), ImageError> {
        let added = self.tree.add(path, entry);
        added.map_err(|error| ImageError::damaged(error.to_string()))
    }

    fn names_in(&mut self, path: &Path, inode: &Inode) -> Result<Vec<(Vec<u8>, u32)>, ImageError> {
        let mut names =
            self.volume.names(inode, &mut self.blocks_left).map_err(|error| error.of(path))?;
        names.sort();
        // Not to be in the way of the one that every tree has.
        if path == Path::new("/")
            && let Some((_, number)) = names.iter().find(|(name, _)| name == LOST_FOUND.as_bytes())
            && self.volume.inode(*number)?.kind() != TYPE_DIRECTORY
        {
            return Err(ImageError::damaged(format!("`{LOST_FOUND}` is no directory")));
        }
        Ok(names)
    }

    fn content(&mut self, path: &Path, inode: &Inode) -> Result<Content, ImageError> {
        let extents =
            self.volume.extents(inode, &mut self.blocks_left).map_err(|error| error.of(path))?;
        Ok(content::of(&self.volume, inode.size, extents))
    }

    /// Short targets lie where extents would.
    fn target(&mut self, path: &Path, inode: &Inode) -> Result<OsString, ImageError> {
        if inode.size == 0 || inode.size > MAX_SYMLINK_BYTES {
            let path = path.display();
            return Err(ImageError::damaged(format!(
                "symbolic link `{path}` has a target of {} bytes",
                inode.size
            )));
        }
        if let Some(target) = inode.short_target() {
            return Ok(OsString::from_vec(target.to_vec()));
        }
        let extents =
            self.volume.extents(inode, &mut self.blocks_left).map_err(|error| error.of(path))?;
        let target = content::read_all(&self.volume, inode.size, extents)?;
        Ok(OsString::from_vec(target))
    }
}

fn child(directory: &Path, name: &[u8]) -> Result<PathBuf, ImageError> {
    let path = directory.join(std::ffi::OsStr::from_bytes(name));
    if path.as_os_str().len() > MAX_PATH_BYTES {
        return Err(ImageError::PathTooLong { limit: MAX_PATH_BYTES });
    }
    Ok(path)
}

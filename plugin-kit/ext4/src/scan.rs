//! Reads a tree from a directory of this machine.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use fs_err as fs;

use crate::entry::{Content, Entry, Kind, Time};
use crate::error::Error;
use crate::sink::read_error;
use crate::tree::Tree;

impl Tree {
    /// The tree below `root` with owners, modes, times, devices, extended attributes and hard links, as
    /// this process sees them. File contents are read when the tree is written and must not change until
    /// then.
    ///
    /// Directories on which something is mounted stay, without what is mounted.
    ///
    /// # Errors
    /// [`Error::Read`] when something cannot be read; [`Error::MustBeDirectory`] when `root` is none.
    pub fn from_dir(root: &Path) -> Result<Self, Error> {
        let mut scan = Scan { tree: Self::new(), root, device: 0, linked: HashMap::new() };
        let metadata = fs::symlink_metadata(root).map_err(|source| read_error(root, source))?;
        if !metadata.is_dir() {
            return Err(Error::MustBeDirectory { path: root.to_owned() });
        }
        scan.device = metadata.dev();
        scan.add(PathBuf::from("/"), &metadata)?;
        let mut waiting = vec![PathBuf::from("/")];
        while let Some(directory) = waiting.pop() {
            scan.directory(&directory, &mut waiting)?;
        }
        Ok(scan.tree)
    }
}

struct Scan<'r> {
    tree: Tree,
    root: &'r Path,
    device: u64,
    /// The first path of each file with several, by device and inode.
    linked: HashMap<(u64, u64), PathBuf>,
}

impl Scan<'_> {
    fn directory(&mut self, directory: &Path, waiting: &mut Vec<PathBuf>) -> Result<(), Error> {
        let source = self.source(directory);
        let problem = |error| read_error(&source, error);
        let mut names = Vec::new();
        for entry in fs::read_dir(&source).map_err(problem)? {
            names.push(entry.map_err(problem)?.file_name());
        }
        names.sort();
        for name in names {
            let path = directory.join(&name);
            let source = source.join(&name);
            let metadata =
                fs::symlink_metadata(&source).map_err(|error| read_error(&source, error))?;
            if metadata.is_dir() && metadata.dev() == self.device {
                waiting.push(path.clone());
            }
            self.add(path, &metadata)?;
        }
        Ok(())
    }

    fn add(&mut self, path: PathBuf, metadata: &std::fs::Metadata) -> Result<(), Error> {
        let source = self.source(&path);
        if !metadata.is_dir() && metadata.nlink() > 1 {
            let key = (metadata.dev(), metadata.ino());
            if let Some(first) = self.linked.get(&key) {
                return self.tree.add(path, Entry::hard_link(first));
            }
            self.linked.insert(key, path.clone());
        }
        let mut entry = Entry::new(kind(&source, metadata)?)
            .mode(metadata.mode())
            .owner(metadata.uid(), metadata.gid());
        entry.mtime = Some(Time {
            seconds: metadata.mtime(),
            nanoseconds: u32::try_from(metadata.mtime_nsec()).unwrap_or(0),
        });
        read_xattrs(&source, &mut entry)?;
        self.tree.add(path, entry)
    }

    /// Where `path` of the tree is on this machine.
    fn source(&self, path: &Path) -> PathBuf {
        self.root.join(path.strip_prefix("/").unwrap_or(path))
    }
}

fn kind(source: &Path, metadata: &std::fs::Metadata) -> Result<Kind, Error> {
    let file_type = metadata.file_type();
    let device = metadata.rdev();
    let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
    Ok(if file_type.is_dir() {
        Kind::Directory
    } else if file_type.is_file() {
        Kind::File(Content::Path { path: source.to_owned(), length: metadata.len() })
    } else if file_type.is_symlink() {
        let target = fs::read_link(source).map_err(|error| read_error(source, error))?;
        Kind::Symlink(target.into_os_string())
    } else if file_type.is_char_device() {
        Kind::CharDevice { major, minor }
    } else if file_type.is_block_device() {
        Kind::BlockDevice { major, minor }
    } else if file_type.is_fifo() {
        Kind::Fifo
    } else if file_type.is_socket() {
        Kind::Socket
    } else {
        let kind = "neither file, directory, link, device, fifo nor socket".to_owned();
        return Err(Error::UnsupportedKind { path: source.to_owned(), kind });
    })
}

/// The kernel's limit on the list of names as on a value (`XATTR_LIST_MAX`, `XATTR_SIZE_MAX`).
const XATTR_MAX: usize = 65536;

fn read_xattrs(source: &Path, entry: &mut Entry) -> Result<(), Error> {
    use rustix::buffer::spare_capacity;
    use rustix::fs::{lgetxattr, llistxattr, llistxattr_query};
    use rustix::io::Errno;

    let problem = |error: Errno| read_error(source, error.into());
    // Most files have none.
    match llistxattr_query(source) {
        Ok(0) | Err(Errno::NOTSUP) => return Ok(()),
        Ok(_) => {},
        Err(error) => return Err(problem(error)),
    }
    let mut names = Vec::with_capacity(XATTR_MAX);
    llistxattr(source, spare_capacity(&mut names)).map_err(problem)?;
    for name in names.split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        let mut value = Vec::with_capacity(XATTR_MAX);
        match lgetxattr(source, OsStr::from_bytes(name), spare_capacity(&mut value)) {
            Ok(_) => {},
            Err(Errno::NODATA) => continue,
            Err(error) => return Err(problem(error)),
        }
        let name = String::from_utf8(name.to_vec()).map_err(|error| Error::Xattr {
            path: source.to_owned(),
            name: error.to_string(),
            reason: "its name is not UTF-8",
        })?;
        value.shrink_to_fit();
        entry.xattrs.insert(name, value);
    }
    Ok(())
}

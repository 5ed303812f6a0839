//! Empty folders over full ones.
//!
//! A cover is a file system in memory, read-only, that holds nothing but what others are mounted
//! on, and the links that lead there.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use fs_err::os::unix::fs::symlink;
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use super::{located, make_read_only};

/// What hides a folder.
pub(super) struct Cover {
    folder: PathBuf,
    permissions: std::fs::Permissions,
    /// What is in it, a folder before what is in that.
    pieces: BTreeMap<PathBuf, Piece>,
}

enum Piece {
    Folder(std::fs::Permissions),
    File,
    Link(PathBuf),
}

impl Cover {
    /// One over `folder`, in which others can be mounted at `places`. Changes nothing.
    pub(super) fn new(folder: &Path, places: &[&Path]) -> io::Result<Self> {
        let mut pieces = BTreeMap::new();
        for place in places {
            let Ok(names) = place.strip_prefix(folder) else {
                continue;
            };
            let mut path = folder.to_owned();
            for name in names {
                path.push(name);
                let found = fs_err::symlink_metadata(&path)?;
                if found.is_symlink() {
                    pieces.insert(path.clone(), Piece::Link(fs_err::read_link(&path)?));
                    break;
                }
                let is_folder = found.is_dir();
                let piece =
                    if is_folder { Piece::Folder(found.permissions()) } else { Piece::File };
                pieces.insert(path.clone(), piece);
            }
        }
        let permissions = fs_err::metadata(folder)?.permissions();
        Ok(Self { folder: folder.to_owned(), permissions, pieces })
    }

    fn put(&self) -> io::Result<()> {
        let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
        mount("tmpfs", &self.folder, "tmpfs", flags, None)
            .map_err(|errno| located(&self.folder, errno))?;
        self.fill().inspect_err(|_| self.take_away())
    }

    fn fill(&self) -> io::Result<()> {
        for (path, piece) in &self.pieces {
            match piece {
                Piece::Folder(permissions) => {
                    fs_err::create_dir(path)?;
                    fs_err::set_permissions(path, permissions.clone())?;
                },
                Piece::File => fs_err::write(path, "")?,
                Piece::Link(target) => symlink(target, path)?,
            }
        }
        fs_err::set_permissions(&self.folder, self.permissions.clone())?;
        make_read_only(&self.folder)
    }

    fn take_away(&self) {
        // With all that is mounted below.
        unmount(&self.folder, UnmountFlags::DETACH).ok();
    }
}

/// Puts all `covers`, then does `rest`; when something of this fails, none of them stays.
pub(super) fn put_all(covers: &[Cover], rest: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
    let mut put = Vec::new();
    let all = covers.iter().try_for_each(|cover| {
        cover.put()?;
        put.push(cover);
        Ok(())
    });
    all.and_then(|()| rest()).inspect_err(|_| put.into_iter().rev().for_each(Cover::take_away))
}

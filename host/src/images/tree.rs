//! Removal of folders that a build may have filled with anything.
//!
//! Never follows a symbolic link, never leaves the file system that it started on, and refuses to begin
//! when something is mounted below the folder. Depth is no limit: what lies too deep is first moved up.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::Stdio;

use camino::{Utf8Path, Utf8PathBuf};
use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags};
use rustix::io::Errno;

use crate::process;

/// Folders open at once, at most; the usual limit of a process is 1024 files.
const MAX_DEPTH: usize = 64;

/// Why a folder was not removed, or not entirely.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TreeError {
    /// Something is mounted in it. Nothing was removed.
    #[error("`{mount}` is mounted below `{path}`")]
    Mounted {
        /// The folder.
        path: Utf8PathBuf,
        /// The first mount point in it.
        mount: String,
    },
    /// A folder in it is on another file system.
    #[error("`{name}` below `{path}` is on another file system")]
    OtherFileSystem {
        /// The folder that was to be removed.
        path: Utf8PathBuf,
        /// The name of the folder in it.
        name: String,
    },
    /// The kernel refused.
    #[error("cannot remove `{path}`")]
    Remove {
        /// The folder.
        path: Utf8PathBuf,
        /// What it said.
        #[source]
        source: io::Error,
    },
}

/// Removes the folder `path` and everything in it. A folder that is not there is removed already.
///
/// # Errors
/// [`TreeError`].
pub fn remove_tree(path: &Utf8Path) -> Result<(), TreeError> {
    match remove_own(path) {
        // What an ordinary user's build made belongs to that user's subordinate ids.
        Err(TreeError::Remove { source, .. })
            if source.kind() == io::ErrorKind::PermissionDenied && remove_as_owner(path) =>
        {
            Ok(())
        },
        done => done,
    }
}

/// Removes `path` as root of a user namespace with the caller's subordinate ids; says whether it is
/// gone. [`remove_own`] has made sure that nothing is mounted there.
fn remove_as_owner(path: &Utf8Path) -> bool {
    if rustix::process::geteuid().is_root() || !path.is_absolute() {
        return false;
    }
    let rm = process::command("unshare")
        .args(["--user", "--map-root-user", "--map-auto"])
        .args(["rm", "--recursive", "--force", "--one-file-system", "--", path.as_str()])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    rm.is_ok_and(|status| status.success())
}

fn remove_own(path: &Utf8Path) -> Result<(), TreeError> {
    let remove = |source: io::Error| TreeError::Remove { path: path.to_owned(), source };
    let mounts = fs_err::read_to_string("/proc/self/mountinfo").map_err(remove)?;
    let real = match fs_err::canonicalize(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other.map_err(remove)?,
    };
    if let Some(mount) = mount_points(&mounts).find(|mount| {
        let mount = std::path::Path::new(mount);
        mount.starts_with(&real) && fs_err::symlink_metadata(mount).is_ok()
    }) {
        return Err(TreeError::Mounted { path: path.to_owned(), mount });
    }
    let top = match open_folder(CWD, path.as_str().as_ref()) {
        Err(Errno::NOENT) => return Ok(()),
        other => other.map_err(|errno| remove(errno.into()))?,
    };
    let removal = Removal { path, top: top.as_fd(), device: device(&top).map_err(remove)? };
    // Moving deep folders up adds entries to the top, hence the loop.
    while removal.empty(top.as_fd(), 0)? > 0 {}
    rustix::fs::unlinkat(CWD, path.as_std_path(), AtFlags::REMOVEDIR)
        .map_err(|errno| remove(errno.into()))
}

struct Removal<'a> {
    path: &'a Utf8Path,
    top: BorrowedFd<'a>,
    device: u64,
}

impl Removal<'_> {
    /// Removes everything in `folder`; answers how many folders it moved to the top instead.
    fn empty(&self, folder: BorrowedFd<'_>, depth: usize) -> Result<usize, TreeError> {
        let mut moved = 0;
        for entry in Dir::read_from(folder).map_err(|errno| self.error(errno))? {
            let entry = entry.map_err(|errno| self.error(errno))?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            // Some file systems do not tell the type; unlinking tells then.
            if entry.file_type() != FileType::Directory {
                match rustix::fs::unlinkat(folder, name, AtFlags::empty()) {
                    Ok(()) | Err(Errno::NOENT) => continue,
                    Err(Errno::ISDIR | Errno::PERM) if entry.file_type() == FileType::Unknown => {},
                    Err(errno) => return Err(self.error(errno)),
                }
            }
            if depth == MAX_DEPTH {
                let up = format!(".deep-{}", uuid::Uuid::new_v4().simple());
                rustix::fs::renameat(folder, name, self.top, up.as_str())
                    .map_err(|errno| self.error(errno))?;
                moved += 1;
                continue;
            }
            let below = match open_folder(folder, name.to_bytes()) {
                Err(Errno::NOENT) => continue,
                other => other.map_err(|errno| self.error(errno))?,
            };
            let device = device(&below).map_err(|source| self.io_error(source))?;
            if device != self.device {
                let name = name.to_string_lossy().into_owned();
                return Err(TreeError::OtherFileSystem { path: self.path.to_owned(), name });
            }
            moved += self.empty(below.as_fd(), depth + 1)?;
            rustix::fs::unlinkat(folder, name, AtFlags::REMOVEDIR)
                .map_err(|errno| self.error(errno))?;
        }
        Ok(moved)
    }

    fn error(&self, errno: Errno) -> TreeError {
        self.io_error(errno.into())
    }

    fn io_error(&self, source: io::Error) -> TreeError {
        TreeError::Remove { path: self.path.to_owned(), source }
    }
}

/// Opens a folder itself, never what a link points to, and makes it one that can be emptied.
fn open_folder(parent: BorrowedFd<'_>, name: &[u8]) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let folder = match rustix::fs::openat(parent, name, flags, Mode::empty()) {
        Err(Errno::ACCESS) => {
            rustix::fs::chmodat(parent, name, Mode::RWXU, AtFlags::empty())?;
            rustix::fs::openat(parent, name, flags, Mode::empty())?
        },
        other => other?,
    };
    if !Mode::from_raw_mode(rustix::fs::fstat(&folder)?.st_mode).contains(Mode::RWXU) {
        // Somebody else's folder cannot be changed; emptying it will say why not.
        let _ = rustix::fs::fchmod(&folder, Mode::RWXU);
    }
    Ok(folder)
}

fn device(folder: &OwnedFd) -> io::Result<u64> {
    Ok(rustix::fs::fstat(folder)?.st_dev)
}

/// The mount points of a `mountinfo` table (proc(5): field 5, with octal escapes).
fn mount_points(table: &str) -> impl Iterator<Item = String> {
    table.lines().filter_map(|line| line.split(' ').nth(4)).map(|field| {
        [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
            .iter()
            .fold(field.to_owned(), |text, (escape, plain)| text.replace(escape, plain))
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn folder() -> (tempfile::TempDir, Utf8PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = Utf8PathBuf::from_path_buf(folder.path().to_owned()).unwrap();
        (folder, path)
    }

    #[test]
    fn a_link_is_removed_and_what_it_points_to_stays() {
        let (_guard, folder) = folder();
        let (kept, tree) = (folder.join("kept"), folder.join("tree"));
        fs_err::create_dir_all(tree.join("a/b")).unwrap();
        fs_err::create_dir(&kept).unwrap();
        fs_err::write(kept.join("file"), "x").unwrap();
        fs_err::os::unix::fs::symlink(&kept, tree.join("a/link")).unwrap();
        remove_tree(&tree).unwrap();
        assert!(!tree.exists());
        assert_eq!(fs_err::read_to_string(kept.join("file")).unwrap(), "x");
        remove_tree(&tree).unwrap();
    }

    #[test]
    fn a_link_in_place_of_the_folder_is_not_followed() {
        let (_guard, folder) = folder();
        let (kept, link) = (folder.join("kept"), folder.join("link"));
        fs_err::create_dir(&kept).unwrap();
        fs_err::write(kept.join("file"), "x").unwrap();
        fs_err::os::unix::fs::symlink(&kept, &link).unwrap();
        assert!(matches!(remove_tree(&link), Err(TreeError::Remove { .. })));
        assert!(kept.join("file").exists());
    }

    #[test]
    fn folders_deeper_than_the_limit_and_without_permissions_are_removed() {
        let (_guard, folder) = folder();
        let tree = folder.join("tree");
        let mut deep = tree.clone();
        for _ in 0..(3 * MAX_DEPTH) {
            deep.push("d");
        }
        fs_err::create_dir_all(&deep).unwrap();
        fs_err::write(deep.join("file"), "x").unwrap();
        fs_err::set_permissions(tree.join("d"), PermissionsExt::from_mode(0o000)).unwrap();
        remove_tree(&tree).unwrap();
        assert!(!tree.exists());
    }

    #[test]
    fn a_folder_with_a_mount_below_it_is_refused_before_anything_is_touched() {
        let error = remove_tree("/proc/../dev/..".into()).unwrap_err();
        assert!(matches!(error, TreeError::Mounted { .. }), "{error}");
    }

    #[test]
    fn escaped_mount_points_are_read() {
        let line = "36 35 98:0 / /mnt/a\\040b\\134c rw,noatime - ext3 /dev/root rw";
        assert_eq!(mount_points(line).collect::<Vec<_>>(), ["/mnt/a b\\c"]);
    }
}

//! Files that appear under their name only when they are complete.
//!
//! Content goes to a hidden file in the same directory, is flushed to the disk, and is renamed; then the
//! directory is flushed. A reader sees the old file or the new one, also after a power cut. A hidden
//! file that is not committed is removed when it is dropped. A killed process leaves one behind; since
//! it is locked while somebody writes it, [`remove_abandoned`] tells it from one in use.

use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};

use camino::{Utf8Path, Utf8PathBuf};
use fs_err::{File, OpenOptions};
use rustix::fs::{AtFlags, CWD, RenameFlags, linkat, renameat_with, unlinkat};
use rustix::io::Errno;
use uuid::Uuid;

/// Whether a file that is there already may be replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// Replace it.
    Replace,
    /// Fail with [`AtomicFileError::Exists`] and leave it untouched.
    Refuse,
}

/// Why a file could not be put in place.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AtomicFileError {
    /// There is such a file, and it may not be replaced.
    #[error("`{path}` exists already")]
    Exists {
        /// The file.
        path: Utf8PathBuf,
    },
    /// The path has no file name.
    #[error("`{path}` does not name a file")]
    NoFileName {
        /// The path.
        path: Utf8PathBuf,
    },
    /// The file system refused.
    #[error("cannot write `{path}`")]
    Write {
        /// The file under its final name.
        path: Utf8PathBuf,
        /// What it said.
        #[source]
        source: io::Error,
    },
}

/// A file being written beside its final place.
#[derive(Debug)]
pub struct AtomicFile {
    path: Utf8PathBuf,
    temporary: Utf8PathBuf,
    file: File,
    in_place: bool,
}

impl AtomicFile {
    /// Begins the file `path` with permission bits `mode` (before the umask).
    ///
    /// # Errors
    /// [`AtomicFileError`].
    pub fn create(path: &Utf8Path, mode: u32) -> Result<Self, AtomicFileError> {
        Self::create_as(path, temporary_name(path)?, mode)
    }

    /// Like [`AtomicFile::create`] with a name from [`temporary_name`], for callers that note it down first.
    ///
    /// # Errors
    /// [`AtomicFileError`].
    pub fn create_as(
        path: &Utf8Path,
        temporary: Utf8PathBuf,
        mode: u32,
    ) -> Result<Self, AtomicFileError> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true);
        options.options_mut().mode(mode);
        let file = loop {
            let file = options.open(&temporary).map_err(|source| write_error(path, source))?;
            // Where there are no locks, nobody removes it either.
            drop(file.lock());
            // Before it was locked, it looked abandoned.
            if file.metadata().map_err(|source| write_error(path, source))?.nlink() > 0 {
                break file;
            }
        };
        Ok(Self { path: path.to_owned(), temporary, file, in_place: false })
    }

    /// The hidden file, for writers that want a path.
    pub fn temporary_path(&self) -> &Utf8Path {
        &self.temporary
    }

    /// The open file.
    pub fn file(&mut self) -> &mut File {
        &mut self.file
    }

    /// Flushes the content and gives the file its name.
    ///
    /// # Errors
    /// [`AtomicFileError`]; the hidden file is removed.
    pub fn commit(mut self, existing: Existing) -> Result<(), AtomicFileError> {
        let error = |source| write_error(&self.path, source);
        self.file.sync_all().map_err(error)?;
        match existing {
            Existing::Replace => fs_err::rename(&self.temporary, &self.path).map_err(error)?,
            Existing::Refuse => rename_new(&self.temporary, &self.path)?,
        }
        self.in_place = true;
        sync_parent(&self.path).map_err(|source| write_error(&self.path, source))
    }
}

impl Drop for AtomicFile {
    fn drop(&mut self) {
        if !self.in_place {
            // The error that led here is the one to report.
            drop(fs_err::remove_file(&self.temporary));
        }
    }
}

/// Writes `bytes` to `path`, replacing a file that is there.
///
/// # Errors
/// [`AtomicFileError`]; the old file is untouched.
pub fn write(path: &Utf8Path, bytes: &[u8], mode: u32) -> Result<(), AtomicFileError> {
    let mut file = AtomicFile::create(path, mode)?;
    file.file().write_all(bytes).map_err(|source| write_error(path, source))?;
    file.commit(Existing::Replace)
}

/// Makes `link` a symbolic link to `target`, replacing a link or file that is there.
///
/// # Errors
/// [`AtomicFileError`]; what was at `link` is untouched.
pub fn symlink(target: &Utf8Path, link: &Utf8Path) -> Result<(), AtomicFileError> {
    let temporary = temporary_name(link)?;
    let error = |source| write_error(link, source);
    fs_err::os::unix::fs::symlink(target, &temporary).map_err(error)?;
    if let Err(source) = fs_err::rename(&temporary, link) {
        drop(fs_err::remove_file(&temporary));
        return Err(error(source));
    }
    sync_parent(link).map_err(error)
}

/// Gives the file `from` the name `to`, on the same file system, unless there is something called so.
///
/// # Errors
/// [`AtomicFileError::Exists`], [`AtomicFileError::Write`].
pub fn rename_new(from: &Utf8Path, to: &Utf8Path) -> Result<(), AtomicFileError> {
    let (old, new) = (from.as_std_path(), to.as_std_path());
    let renamed = match renameat_with(CWD, old, CWD, new, RenameFlags::NOREPLACE) {
        // File systems without the flag, such as NFS: two steps, each of them atomic.
        Err(Errno::INVAL | Errno::NOSYS) => linkat(CWD, old, CWD, new, AtFlags::empty())
            .and_then(|()| unlinkat(CWD, old, AtFlags::empty())),
        other => other,
    };
    renamed.map_err(|errno| match errno {
        Errno::EXIST => AtomicFileError::Exists { path: to.to_owned() },
        other => write_error(to, other.into()),
    })
}

/// Flushes the directory that `path` is in, so that its name outlives a power cut.
///
/// # Errors
/// The directory does not open or flush.
pub fn sync_parent(path: &Utf8Path) -> io::Result<()> {
    let parent = match path.parent() {
        Some(parent) if !parent.as_str().is_empty() => parent,
        _ => Utf8Path::new("."),
    };
    File::open(parent)?.sync_all()
}

/// A new name for the hidden file that becomes `path`.
///
/// # Errors
/// [`AtomicFileError::NoFileName`].
pub fn temporary_name(path: &Utf8Path) -> Result<Utf8PathBuf, AtomicFileError> {
    let name =
        path.file_name().ok_or_else(|| AtomicFileError::NoFileName { path: path.to_owned() })?;
    // A name may have 255 bytes; the identifier needs some of them.
    let kept: String = name.chars().take(48).collect();
    Ok(path.with_file_name(format!(".{kept}.{}.tmp", Uuid::new_v4().simple())))
}

/// Whether `path` may be an answer of [`temporary_name`].
pub fn is_temporary_name(path: &Utf8Path) -> bool {
    let id = path.file_name().and_then(|name| name.strip_prefix('.')?.strip_suffix(".tmp"));
    id.and_then(|name| name.rsplit_once('.')).is_some_and(|(_, id)| Uuid::try_parse(id).is_ok())
}

/// Removes a hidden file that a killed process left; `false` when somebody writes it.
///
/// # Errors
/// It is not there, or may not be removed.
pub fn remove_abandoned(temporary: &Utf8Path) -> io::Result<bool> {
    let file = File::open(temporary)?;
    match file.try_lock() {
        Ok(()) => fs_err::remove_file(temporary).map(|()| true),
        Err(_) => Ok(false),
    }
}

fn write_error(path: &Utf8Path, source: io::Error) -> AtomicFileError {
    AtomicFileError::Write { path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> (tempfile::TempDir, Utf8PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = Utf8PathBuf::from_path_buf(folder.path().to_owned()).unwrap();
        (folder, path)
    }

    fn names(folder: &Utf8Path) -> Vec<String> {
        let mut names: Vec<String> = fs_err::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_written_file_replaces_the_old_one_and_leaves_nothing_beside_it() {
        let (_guard, folder) = folder();
        let path = folder.join("file");
        write(&path, b"old", 0o600).unwrap();
        write(&path, b"new", 0o600).unwrap();
        assert_eq!(fs_err::read(&path).unwrap(), b"new");
        assert_eq!(names(&folder), ["file"]);
    }

    #[test]
    fn a_file_that_is_not_committed_never_appears() {
        let (_guard, folder) = folder();
        let mut file = AtomicFile::create(&folder.join("file"), 0o600).unwrap();
        file.file().write_all(b"half").unwrap();
        drop(file);
        assert!(names(&folder).is_empty());
    }

    #[test]
    fn a_hidden_file_is_removed_once_nobody_writes_it() {
        let (_guard, folder) = folder();
        let file = AtomicFile::create(&folder.join("file"), 0o600).unwrap();
        let hidden = file.temporary_path().to_owned();
        assert!(!remove_abandoned(&hidden).unwrap());
        // A kill closes it, and removes nothing.
        fs_err::copy(&hidden, folder.join("copy")).unwrap();
        fs_err::rename(folder.join("copy"), &hidden).unwrap();
        assert!(remove_abandoned(&hidden).unwrap());
        assert!(names(&folder).is_empty());
    }

    #[test]
    fn an_existing_file_is_refused_and_kept() {
        let (_guard, folder) = folder();
        let path = folder.join("file");
        write(&path, b"old", 0o600).unwrap();
        let error = AtomicFile::create(&path, 0o600).unwrap().commit(Existing::Refuse).unwrap_err();
        assert!(matches!(error, AtomicFileError::Exists { .. }));
        assert_eq!(fs_err::read(&path).unwrap(), b"old");
        assert_eq!(names(&folder), ["file"]);
    }

    #[test]
    fn a_symlink_is_replaced_by_another() {
        let (_guard, folder) = folder();
        let link = folder.join("link");
        symlink("one".into(), &link).unwrap();
        symlink("two".into(), &link).unwrap();
        assert_eq!(fs_err::read_link(&link).unwrap(), Utf8Path::new("two"));
        assert_eq!(names(&folder), ["link"]);
    }

    #[test]
    fn a_missing_directory_is_named_in_the_error() {
        let (_guard, folder) = folder();
        let error = write(&folder.join("absent/file"), b"", 0o600).unwrap_err();
        assert!(error.to_string().contains("absent/file"), "{error}");
        assert!(matches!(write("..".into(), b"", 0o600), Err(AtomicFileError::NoFileName { .. })));
    }
}

//! Locks that are known by the path of a file, and that leave no file behind.
//!
//! The kernel drops the lock when its holder dies, however it dies; the file of a holder that was
//! killed stays until somebody takes the lock again. Whoever gets the lock looks whether the file
//! still has its name: a holder removes it, and somebody else may have made a new one since.

use std::fs::TryLockError;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use fs_err::{File, OpenOptions};

/// A lock that is held until this is dropped.
#[derive(Debug)]
#[must_use = "the lock is given back when this is dropped"]
pub struct NamedLock {
    path: Utf8PathBuf,
    _file: File,
}

impl NamedLock {
    /// Takes the lock at `path`, whose folder exists; `None` while somebody else has it.
    ///
    /// # Errors
    /// The file cannot be opened, or its file system knows no locks.
    pub fn try_take(path: &Utf8Path) -> io::Result<Option<Self>> {
        loop {
            let file = OpenOptions::new().write(true).create(true).truncate(false).open(path)?;
            match file.try_lock() {
                Ok(()) => {},
                Err(TryLockError::WouldBlock) => return Ok(None),
                Err(TryLockError::Error(error)) => return Err(error),
            }
            if is_named(&file, path)? {
                return Ok(Some(Self { path: path.to_owned(), _file: file }));
            }
        }
    }

    /// Waits for the lock at `path`, with a `pause` between two looks; `None` once `given_up` says so.
    ///
    /// # Errors
    /// Those of [`NamedLock::try_take`].
    pub fn take(
        path: &Utf8Path,
        pause: Duration,
        given_up: impl Fn() -> bool,
    ) -> io::Result<Option<Self>> {
        loop {
            if let Some(lock) = Self::try_take(path)? {
                return Ok(Some(lock));
            }
            if given_up() {
                return Ok(None);
            }
            std::thread::sleep(pause);
        }
    }
}

/// Whether `file` is still the one at `path`, links followed: it may have been removed or replaced since it
/// was opened.
///
/// # Errors
/// What the file system answers.
pub(crate) fn is_named(file: &File, path: &Utf8Path) -> io::Result<bool> {
    let open = file.metadata()?;
    match fs_err::metadata(path) {
        Ok(named) => Ok((named.dev(), named.ino()) == (open.dev(), open.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

impl Drop for NamedLock {
    fn drop(&mut self) {
        // While the lock is held: nobody else can have taken this very file for his. A file that
        // stays does no harm.
        drop(fs_err::remove_file(&self.path));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    fn place() -> (tempfile::TempDir, Utf8PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = Utf8PathBuf::from_path_buf(folder.path().join("one.lock")).unwrap();
        (folder, path)
    }

    #[test]
    fn a_lock_is_held_by_one_and_leaves_no_file() {
        let (_folder, path) = place();
        let lock = NamedLock::try_take(&path).unwrap().unwrap();
        assert!(NamedLock::try_take(&path).unwrap().is_none());
        drop(lock);
        assert!(!path.exists());
        assert!(NamedLock::try_take(&path).unwrap().is_some());
    }

    #[test]
    fn the_file_of_a_killed_holder_is_no_obstacle() {
        let (_folder, path) = place();
        fs_err::write(&path, "").unwrap();
        drop(NamedLock::try_take(&path).unwrap().unwrap());
        assert!(!path.exists());
    }

    #[test]
    fn many_that_take_and_give_back_are_never_two_at_once() {
        let (_folder, path) = place();
        let (inside, taken) = (AtomicU32::new(0), AtomicU32::new(0));
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    while taken.load(Ordering::SeqCst) < 400 {
                        let Some(_lock) = NamedLock::try_take(&path).unwrap() else {
                            continue;
                        };
                        assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                        taken.fetch_add(1, Ordering::SeqCst);
                        inside.fetch_sub(1, Ordering::SeqCst);
                    }
                });
            }
        });
        assert!(!path.exists());
    }
}

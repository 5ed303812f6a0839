//! Copies of libraries, which workers load instead of the originals.
//!
//! Whoever replaces, truncates or deletes a library while a build uses it must not hurt the build: a
//! mapped file that is truncated ends the process with SIGBUS. So each state of a library is copied
//! once (a reflink where the file system can, a few milliseconds where not) and shared by all builds.
//! A copy is locked while somebody may load it; those of libraries that are gone are removed.

use std::io;
use std::sync::Arc;

use camino::{Utf8Path, Utf8PathBuf};
use fs_err::File;
use rustix::fs::stat;

use super::identity::FileIdentity;
use super::library::FoundLibrary;

/// Changes with each start of the machine. A copy is not flushed to the disk, so it is trusted only
/// until then.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// As many copies are kept although nobody uses them.
const KEPT: usize = 16;

/// A library that stays what it is while this value lives.
#[derive(Clone, Debug)]
pub struct LibraryCopy {
    /// Where it is.
    pub path: Utf8PathBuf,
    /// SHA-256 of its bytes in lower-case hexadecimal.
    pub sha256: String,
    _lock: Option<Arc<File>>,
}

impl LibraryCopy {
    /// The library itself, for what cannot be loaded from elsewhere.
    pub(super) fn in_place(library: &FoundLibrary, sha256: String) -> Self {
        Self { path: library.path.clone(), sha256, _lock: None }
    }

    /// Of no library: whoever loads it fails.
    #[cfg(test)]
    pub(crate) fn absent() -> Self {
        Self { path: "/nonexistent/library.so".into(), sha256: String::new(), _lock: None }
    }

    /// The copy of `library` in `folder`, made now if there is none.
    ///
    /// # Errors
    /// The library changed since it was found, or the copy cannot be made.
    pub(super) fn of(
        library: &FoundLibrary,
        sha256: String,
        folder: &Utf8Path,
    ) -> io::Result<Self> {
        fs_err::create_dir_all(folder)?;
        // One at a time: nobody removes what another is about to lock.
        let guard = File::create(folder.join("lock"))?;
        guard.file().lock()?;
        let boot = fs_err::read_to_string(BOOT_ID).unwrap_or_default();
        let boot: String = boot.chars().take(8).collect();
        let own = folder.join(format!("{sha256}-{boot}"));
        let path = own.join(library.path.file_name().unwrap_or("library"));
        let is_whole =
            fs_err::metadata(&path).is_ok_and(|found| found.len() == library.identity.size);
        if !is_whole {
            remove_unused(folder);
            fs_err::create_dir_all(&own)?;
            let partial = own.join(".partial");
            fs_err::copy(&library.path, &partial)?;
            let is_same = stat(library.path.as_std_path())
                .is_ok_and(|stat| FileIdentity::of(&stat) == library.identity);
            if !is_same {
                fs_err::remove_file(&partial)?;
                return Err(io::Error::other("it changed while it was copied"));
            }
            fs_err::rename(&partial, &path)?;
        }
        let lock = File::open(&path)?;
        lock.file().lock_shared()?;
        Ok(Self { path, sha256, _lock: Some(Arc::new(lock)) })
    }
}

/// When they are many, removes every copy that nobody has locked; whoever wants one of them makes it
/// anew. What cannot be removed stays.
fn remove_unused(folder: &Utf8Path) {
    let entries = fs_err::read_dir(folder).into_iter().flatten().flatten();
    let copies: Vec<_> = entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect();
    if copies.len() < KEPT {
        return;
    }
    for copy in copies {
        let files: Vec<_> = fs_err::read_dir(&copy).into_iter().flatten().flatten().collect();
        let is_used = |path| File::open(path).is_ok_and(|file| file.file().try_lock().is_err());
        if !files.iter().any(|file| is_used(file.path())) {
            for file in files {
                fs_err::remove_file(file.path()).ok();
            }
            fs_err::remove_dir(copy).ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Place {
        _guard: tempfile::TempDir,
        folder: Utf8PathBuf,
    }

    fn place() -> Place {
        let guard = tempfile::tempdir().unwrap();
        let folder = Utf8PathBuf::from_path_buf(guard.path().to_owned()).unwrap();
        Place { _guard: guard, folder }
    }

    impl Place {
        fn library(&self, content: &str) -> FoundLibrary {
            let path = self.folder.join("liba.so");
            fs_err::write(&path, content).unwrap();
            let identity = FileIdentity::of(&stat(path.as_std_path()).unwrap());
            FoundLibrary { path, identity }
        }

        fn copy(&self, library: &FoundLibrary, sha256: &str) -> io::Result<LibraryCopy> {
            LibraryCopy::of(library, sha256.to_owned(), &self.folder.join("copies"))
        }
    }

    #[test]
    fn a_copy_stays_what_it_is_whatever_becomes_of_the_library() {
        let place = place();
        let library = place.library("one");
        let copy = place.copy(&library, "1").unwrap();
        File::create(&library.path).unwrap();
        assert_eq!(fs_err::read_to_string(&copy.path).unwrap(), "one");
        fs_err::remove_file(&library.path).unwrap();
        assert_eq!(fs_err::read_to_string(&copy.path).unwrap(), "one");
    }

    #[test]
    fn a_copy_is_made_once_and_of_many_those_that_nobody_uses_are_removed() {
        let place = place();
        let library = place.library("one");
        let first = place.copy(&library, "1").unwrap();
        let again = place.copy(&library, "1").unwrap();
        assert_eq!(first.path, again.path);
        drop(again);
        let second = place.copy(&place.library("second"), "2").unwrap();
        assert!(first.path.exists(), "it is in use");
        let old = first.path.clone();
        drop(first);
        for number in 2..KEPT {
            assert!(old.exists(), "there are few");
            let library = place.library(&format!("number {number}"));
            place.copy(&library, &format!("more-{number}")).unwrap();
        }
        place.copy(&place.library("one more"), "more").unwrap();
        assert!(!old.exists());
        assert!(second.path.exists(), "it is in use");
    }

    #[test]
    fn a_library_that_changed_since_it_was_found_is_not_copied() {
        let place = place();
        let library = place.library("one");
        fs_err::write(&library.path, "other").unwrap();
        place.copy(&library, "1").unwrap_err();
    }
}

//! Downloaded packages, kept between builds.
//!
//! A build gets a folder of hard links to all of them. apt compares their
//! sizes before it uses them and dpkg the checksums within; a damaged package is downloaded anew. What
//! apt downloads is linked back, so the cache needs no lock.

use camino::{Utf8Path, Utf8PathBuf};
use fs_err as fs;
use plugin_api::DelegateError;

/// A cache that grew beyond this is emptied: it costs one download.
const MAX_BYTES: u64 = 8 << 30;

/// Links to the cached packages, for one build.
#[derive(Debug)]
pub struct PackageLinks {
    cache: Utf8PathBuf,
    /// The folder to give to apt.
    pub dir: Utf8PathBuf,
}

impl PackageLinks {
    /// Links everything in `cache` into the new folder `dir`.
    ///
    /// # Errors
    /// One of them cannot be read or written.
    pub fn make(cache: &Utf8Path, dir: Utf8PathBuf) -> Result<Self, DelegateError> {
        fs::create_dir_all(dir.join("partial"))?;
        let packages = packages(cache)?;
        let bytes: u64 = packages.iter().map(|(_, bytes)| bytes).sum();
        for (name, _) in &packages {
            if bytes > MAX_BYTES {
                let _another_build_was_first = fs::remove_file(cache.join(name));
            } else {
                link(&cache.join(name), &dir.join(name))?;
            }
        }
        Ok(Self { cache: cache.to_owned(), dir })
    }

    /// Puts what apt has downloaded into the cache.
    ///
    /// # Errors
    /// The cache cannot be written.
    pub fn harvest(&self) -> Result<(), DelegateError> {
        for (name, bytes) in packages(&self.dir)? {
            let place = self.cache.join(&name);
            // apt has replaced what has another size.
            if fs::metadata(&place).is_ok_and(|cached| cached.len() != bytes) {
                remove(&place)?;
            }
            link(&self.dir.join(&name), &place)?;
        }
        Ok(())
    }

    /// Takes all packages of this build out of the cache, so that apt downloads them anew.
    ///
    /// # Errors
    /// The cache cannot be written.
    pub fn forget(&self) -> Result<(), DelegateError> {
        for (name, _) in packages(&self.dir)? {
            remove(&self.cache.join(&name))?;
            remove(&self.dir.join(&name))?;
        }
        Ok(())
    }
}

fn remove(path: &Utf8Path) -> Result<(), DelegateError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}

/// Links, or copies where a link is not possible; a file that is there already will do.
fn link(from: &Utf8Path, to: &Utf8Path) -> Result<(), DelegateError> {
    match fs::hard_link(from, to) {
        Err(error) if error.kind() == std::io::ErrorKind::CrossesDevices => {
            let part = format!("{to}.part");
            fs::copy(from, &part)?;
            Ok(fs::rename(&part, to)?)
        },
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        // Another build emptied the cache; apt downloads what it misses.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        result => Ok(result?),
    }
}

/// Names and sizes of the packages in `dir`.
fn packages(dir: &Utf8Path) -> Result<Vec<(String, u64)>, DelegateError> {
    let mut found = Vec::new();
    for entry in dir.read_dir_utf8()? {
        let entry = entry?;
        if entry.path().extension() == Some("deb") {
            found.push((
                entry.file_name().to_owned(),
                entry.metadata().map_or(0, |meta| meta.len()),
            ));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_that_apt_replaced_is_replaced_in_the_cache() {
        let dir = tempfile::tempdir().unwrap();
        let root = Utf8Path::from_path(dir.path()).unwrap();
        let cache = root.join("cache");
        fs::create_dir(&cache).unwrap();
        fs::write(cache.join("a_1_all.deb"), "trunc").unwrap();
        let links = PackageLinks::make(&cache, root.join("build")).unwrap();
        fs::remove_file(links.dir.join("a_1_all.deb")).unwrap();
        fs::write(links.dir.join("a_1_all.deb"), "truncated no more").unwrap();
        links.harvest().unwrap();
        assert_eq!(fs::read_to_string(cache.join("a_1_all.deb")).unwrap(), "truncated no more");
        links.forget().unwrap();
        assert!(!cache.join("a_1_all.deb").exists() && !links.dir.join("a_1_all.deb").exists());
    }

    #[test]
    fn what_one_build_downloads_the_next_one_finds() {
        let dir = tempfile::tempdir().unwrap();
        let root = Utf8Path::from_path(dir.path()).unwrap();
        let cache = root.join("cache");
        fs::create_dir(&cache).unwrap();
        let first = PackageLinks::make(&cache, root.join("first")).unwrap();
        fs::write(first.dir.join("a_1_all.deb"), "a").unwrap();
        fs::write(first.dir.join("lock"), "").unwrap();
        first.harvest().unwrap();
        fs::remove_file(first.dir.join("a_1_all.deb")).unwrap();
        let second = PackageLinks::make(&cache, root.join("second")).unwrap();
        assert_eq!(fs::read_to_string(second.dir.join("a_1_all.deb")).unwrap(), "a");
        assert!(!cache.join("lock").exists());
    }
}

//! Writing into a root file system that is not ours.
//!
//! A symbolic link in the image means a path in the image. Followed by the build machine it would lead
//! out of it, so every path is walked name by name.

use std::io;
use std::os::unix::fs::PermissionsExt;

use camino::{Utf8Component, Utf8Path, Utf8PathBuf};
use fs_err as fs;
use fs_err::os::unix::fs::OpenOptionsExt;

/// As many links as Linux follows before it gives up.
const MAX_LINKS: u32 = 40;

/// The place on the build machine of `path` in the root file system `root`, all links followed.
///
/// # Errors
/// Too many links, or a folder that cannot be read.
pub fn resolve(root: &Utf8Path, path: &Utf8Path) -> io::Result<Utf8PathBuf> {
    let mut waiting: Vec<String> = names(path).rev().collect();
    let mut walked: Vec<String> = Vec::new();
    let mut links = 0;
    while let Some(name) = waiting.pop() {
        if name == ".." {
            walked.pop();
            continue;
        }
        walked.push(name);
        let here = root.join(walked.join("/"));
        if !fs::symlink_metadata(&here).is_ok_and(|meta| meta.is_symlink()) {
            continue;
        }
        links += 1;
        if links > MAX_LINKS {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("too many links in `{path}`"),
            ));
        }
        let target = fs::read_link(&here)?;
        let target = Utf8PathBuf::try_from(target).map_err(io::Error::other)?;
        walked.pop();
        if target.is_absolute() {
            walked.clear();
        }
        waiting.extend(names(&target).rev());
    }
    Ok(root.join(walked.join("/")))
}

fn names(path: &Utf8Path) -> impl DoubleEndedIterator<Item = String> {
    path.components().filter_map(|component| match component {
        Utf8Component::Normal(name) => Some(name.to_owned()),
        Utf8Component::ParentDir => Some("..".to_owned()),
        _ => None,
    })
}

/// Writes a file of root with the permission bits `mode`, and the folders above it.
///
/// # Errors
/// It cannot be written.
pub fn write(root: &Utf8Path, path: &str, contents: &[u8], mode: u32) -> io::Result<()> {
    let place = resolve(root, path.into())?;
    if let Some(folder) = place.parent() {
        fs::create_dir_all(folder)?;
    }
    let mut file =
        fs::OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(&place)?;
    io::Write::write_all(&mut file, contents)?;
    fs::set_permissions(&place, std::fs::Permissions::from_mode(mode))
}

/// Makes a symbolic link, in place of what is there.
///
/// # Errors
/// It cannot be made.
pub fn link(root: &Utf8Path, path: &str, target: &str) -> io::Result<()> {
    let path = Utf8Path::new(path);
    let folder = resolve(root, path.parent().unwrap_or("/".into()))?;
    fs::create_dir_all(&folder)?;
    let place = folder.join(path.file_name().unwrap_or_default());
    if fs::symlink_metadata(&place).is_ok() {
        fs::remove_file(&place)?;
    }
    fs::os::unix::fs::symlink(target, place)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root() -> (tempfile::TempDir, Utf8PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = Utf8PathBuf::try_from(dir.path().to_owned()).unwrap();
        (dir, path)
    }

    #[test]
    fn a_link_of_the_image_never_leads_out_of_it() {
        let (_dir, root) = root();
        fs::create_dir_all(root.join("a")).unwrap();
        fs::os::unix::fs::symlink("/etc", root.join("a/absolute")).unwrap();
        fs::os::unix::fs::symlink("../../../../etc", root.join("a/relative")).unwrap();
        assert_eq!(resolve(&root, "/a/absolute/passwd".into()).unwrap(), root.join("etc/passwd"));
        assert_eq!(resolve(&root, "/a/relative/passwd".into()).unwrap(), root.join("etc/passwd"));
        write(&root, "/a/absolute/motd", b"hi", 0o640).unwrap();
        let meta = fs::metadata(root.join("etc/motd")).unwrap();
        assert_eq!(meta.permissions().mode() & 0o7777, 0o640);
    }

    #[test]
    fn links_in_a_circle_are_an_error() {
        let (_dir, root) = root();
        fs::os::unix::fs::symlink("b", root.join("a")).unwrap();
        fs::os::unix::fs::symlink("a", root.join("b")).unwrap();
        assert!(resolve(&root, "/a".into()).unwrap_err().to_string().contains("too many links"));
    }

    #[test]
    fn a_link_replaces_what_is_there() {
        let (_dir, root) = root();
        write(&root, "/etc/localtime", b"x", 0o644).unwrap();
        link(&root, "/etc/localtime", "../usr/share/zoneinfo/UTC").unwrap();
        let target = fs::read_link(root.join("etc/localtime")).unwrap();
        assert_eq!(target.to_str(), Some("../usr/share/zoneinfo/UTC"));
    }
}

//! The archive that the kernel unpacks into its first file system
//! (Documentation/driver-api/early-userspace/buffer-format.rst of Linux).

use std::collections::BTreeMap;
use std::io::{self, Write};

/// One file of a [`Ramdisk`]; everything belongs to root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Node {
    /// A folder with these permission bits.
    Directory(u32),
    /// A regular file.
    File {
        /// Permission bits.
        mode: u32,
        /// What is in it.
        contents: Vec<u8>,
    },
    /// A symbolic link to this target.
    Symlink(String),
    /// A character device.
    CharDevice {
        /// Permission bits.
        mode: u32,
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
}

/// How an archive is packed. Every Debian kernel since 11 unpacks both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compression {
    /// gzip by libdeflate, level 0 to 12.
    Gzip(u8),
    /// Zstandard, level 1 to 19: quickest to unpack.
    Zstd(u8),
    /// As it is.
    #[default]
    None,
}

/// A path that cannot stand in an archive.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a path that an initial RAM disk can hold")]
pub struct InvalidPath(pub String);

/// A tree of files that is written as a `newc` archive.
///
/// Entries come out sorted, with ascending inode numbers and time stamps of zero, so that equal
/// trees give equal bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ramdisk {
    nodes: BTreeMap<String, Node>,
}

impl Ramdisk {
    /// A tree with nothing but its root folder.
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts `node` at `path`, which may begin with `/`; missing folders above it get mode 0755 and
    /// an older node at the same place is replaced.
    ///
    /// # Errors
    /// The path is empty, has a `.` or `..` in it, or leads through a file.
    pub fn insert(&mut self, path: &str, node: Node) -> Result<(), InvalidPath> {
        let relative = path.trim_matches('/');
        let refused = || InvalidPath(path.to_owned());
        let valid = |part: &str| !matches!(part, "" | "." | "..") && !part.contains('\0');
        if relative == TRAILER || !relative.split('/').all(valid) {
            return Err(refused());
        }
        for (end, _) in relative.match_indices('/') {
            let folder = self.nodes.entry(relative[..end].to_owned());
            if !matches!(folder.or_insert(Node::Directory(0o755)), Node::Directory(_)) {
                return Err(refused());
            }
        }
        self.nodes.insert(relative.to_owned(), node);
        Ok(())
    }

    /// Puts a regular file at `path`.
    ///
    /// # Errors
    /// As [`Ramdisk::insert`].
    pub fn file(
        &mut self,
        path: &str,
        mode: u32,
        contents: impl Into<Vec<u8>>,
    ) -> Result<(), InvalidPath> {
        self.insert(path, Node::File { mode, contents: contents.into() })
    }

    /// Puts a symbolic link at `path`.
    ///
    /// # Errors
    /// As [`Ramdisk::insert`].
    pub fn symlink(&mut self, path: &str, target: &str) -> Result<(), InvalidPath> {
        self.insert(path, Node::Symlink(target.to_owned()))
    }

    /// What lies at `path`, without following links.
    pub fn node(&self, path: &str) -> Option<&Node> {
        self.nodes.get(path.trim_matches('/'))
    }

    /// The uncompressed archive.
    ///
    /// # Errors
    /// A file has 4 GiB or more.
    pub fn to_bytes(&self) -> io::Result<Vec<u8>> {
        let mut archive = Vec::new();
        for (ino, (path, node)) in (1..).zip(&self.nodes) {
            let entry = cpio::newc::Builder::new(path).ino(ino);
            let (entry, contents) = match node {
                Node::Directory(mode) => (entry.mode(S_IFDIR | mode), &[][..]),
                Node::File { mode, contents } => (entry.mode(S_IFREG | mode), contents.as_slice()),
                Node::Symlink(target) => (entry.mode(S_IFLNK | 0o777), target.as_bytes()),
                Node::CharDevice { mode, major, minor } => {
                    let entry = entry.mode(S_IFCHR | mode);
                    (entry.rdev_major(*major).rdev_minor(*minor), &[][..])
                },
            };
            let len = u32::try_from(contents.len())
                .map_err(|_| io::Error::other(format!("`{path}` has 4 GiB or more")))?;
            let mut writer = entry.write(&mut archive, len);
            writer.write_all(contents)?;
            writer.finish()?;
        }
        cpio::newc::trailer(&mut archive)?;
        Ok(archive)
    }

    /// The archive, packed.
    ///
    /// # Errors
    /// As [`Ramdisk::to_bytes`], or the level of compression does not exist.
    pub fn packed(&self, compression: Compression) -> io::Result<Vec<u8>> {
        let archive = self.to_bytes()?;
        match compression {
            Compression::None => Ok(archive),
            Compression::Zstd(level) => zstd::bulk::compress(&archive, i32::from(level)),
            Compression::Gzip(level) => {
                let level = libdeflater::CompressionLvl::new(i32::from(level))
                    .map_err(|_| io::Error::other(format!("no gzip level {level}")))?;
                let mut compressor = libdeflater::Compressor::new(level);
                let mut packed = vec![0; compressor.gzip_compress_bound(archive.len())];
                let len = compressor
                    .gzip_compress(&archive, &mut packed)
                    .map_err(|error| io::Error::other(error.to_string()))?;
                packed.truncate(len);
                Ok(packed)
            },
        }
    }
}

/// The name that ends an archive.
const TRAILER: &str = "TRAILER!!!";
const S_IFDIR: u32 = 0o040_000;
const S_IFREG: u32 = 0o100_000;
const S_IFLNK: u32 = 0o120_000;
const S_IFCHR: u32 = 0o020_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn tree() -> Ramdisk {
        let mut tree = Ramdisk::new();
        tree.file("/sbin/init", 0o755, *b"#!/bin/sh\n").unwrap();
        tree.symlink("bin", "usr/bin").unwrap();
        let console = Node::CharDevice { mode: 0o600, major: 5, minor: 1 };
        tree.insert("dev/console", console).unwrap();
        tree
    }

    /// Paths, modes, device numbers and contents in the order of the archive.
    fn listing(archive: &[u8]) -> Vec<(String, u32, u32, Vec<u8>)> {
        let mut rest = archive;
        let mut seen = Vec::new();
        loop {
            let mut reader = cpio::newc::Reader::new(rest).unwrap();
            if reader.entry().is_trailer() {
                return seen;
            }
            let mut contents = Vec::new();
            io::Read::read_to_end(&mut reader, &mut contents).unwrap();
            let entry = reader.entry();
            let minor = entry.rdev_minor();
            seen.push((entry.name().to_owned(), entry.mode(), minor, contents));
            rest = reader.finish().unwrap();
        }
    }

    #[test]
    fn an_archive_holds_folders_before_their_files() {
        let seen = listing(&tree().to_bytes().unwrap());
        let expected = [
            ("bin", 0o120_777, 0, b"usr/bin".to_vec()),
            ("dev", 0o040_755, 0, Vec::new()),
            ("dev/console", 0o020_600, 1, Vec::new()),
            ("sbin", 0o040_755, 0, Vec::new()),
            ("sbin/init", 0o100_755, 0, b"#!/bin/sh\n".to_vec()),
        ];
        assert_eq!(seen, expected.map(|(path, a, b, c)| (path.to_owned(), a, b, c)));
    }

    #[test]
    fn every_packing_unpacks_to_the_same_archive() {
        let plain = tree().packed(Compression::None).unwrap();
        let zstd = tree().packed(Compression::Zstd(3)).unwrap();
        assert_eq!(zstd::bulk::decompress(&zstd, plain.len()).unwrap(), plain);
        let gzip = tree().packed(Compression::Gzip(6)).unwrap();
        let mut unpacked = Vec::new();
        io::Read::read_to_end(&mut flate2::read::GzDecoder::new(&gzip[..]), &mut unpacked).unwrap();
        assert_eq!(unpacked, plain);
        assert!(tree().packed(Compression::Gzip(99)).is_err());
    }

    #[test]
    fn a_path_that_leaves_the_tree_is_refused() {
        let mut tree = tree();
        for path in ["", "/", "../etc/passwd", "a/../b", "a//b", "TRAILER!!!", "bin/sh"] {
            assert_eq!(tree.file(path, 0o644, *b""), Err(InvalidPath(path.to_owned())), "{path}");
        }
    }
}

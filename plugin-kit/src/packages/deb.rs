//! Reading the files of a Debian package (`deb(5)`) without unpacking it to disk.
//!
//! A package is an `ar` archive whose member `data.tar.*` holds the files. The compressions are
//! those that dpkg writes: none, gzip, xz, Zstandard.

use super::PackageError;
use camino::Utf8Path;
use fs_err::File;
use std::io::{self, BufReader, Read};

/// A regular file out of a package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackagedFile {
    /// Its path without leading `./` or `/`.
    pub path: String,
    /// Permission bits.
    pub mode: u32,
    /// What is in it.
    pub contents: Vec<u8>,
}

/// Reads the regular files of the package `deb` whose paths `wanted` accepts, in their order.
///
/// # Errors
/// The file cannot be read or is no Debian package.
pub fn files(
    deb: &Utf8Path,
    mut wanted: impl FnMut(&str) -> bool,
) -> Result<Vec<PackagedFile>, PackageError> {
    let mut read = || -> io::Result<Vec<PackagedFile>> {
        let mut archive = tar::Archive::new(data(deb)?);
        let mut files = Vec::new();
        for entry in archive.entries()? {
            let mut entry = entry?;
            let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
            let path = path.trim_start_matches("./").trim_start_matches('/').to_owned();
            if entry.header().entry_type().is_file() && wanted(&path) {
                let mode = entry.header().mode()? & 0o7777;
                let mut contents = Vec::new();
                entry.read_to_end(&mut contents)?;
                files.push(PackagedFile { path, mode, contents });
            }
        }
        Ok(files)
    };
    read().map_err(|source| PackageError::Deb { path: deb.to_owned(), source })
}

/// The uncompressed tar archive of the package's files, to be read once.
///
/// # Errors
/// The file cannot be read or is no Debian package.
pub fn tar_stream(deb: &Utf8Path) -> Result<Box<dyn Read>, PackageError> {
    data(deb).map_err(|source| PackageError::Deb { path: deb.to_owned(), source })
}

fn data(deb: &Utf8Path) -> io::Result<Box<dyn Read>> {
    let mut file = BufReader::new(File::open(deb)?);
    let invalid = |text: &str| io::Error::new(io::ErrorKind::InvalidData, text.to_owned());
    let mut magic = [0; 8];
    file.read_exact(&mut magic)?;
    if magic != *b"!<arch>\n" {
        return Err(invalid("not a Debian package"));
    }
    loop {
        // Name 16, time 12, owner 6, group 6, mode 8, size 10, end 2 (`ar(5)`).
        let mut header = [0; 60];
        file.read_exact(&mut header).map_err(|_| invalid("the package has no `data.tar`"))?;
        let text = std::str::from_utf8(&header).map_err(|_| invalid("damaged member header"))?;
        let name = text[..16].trim_end().trim_end_matches('/').to_owned();
        let len: u64 =
            text[48..58].trim_end().parse().map_err(|_| invalid("damaged member header"))?;
        if !name.starts_with("data.tar") {
            io::copy(&mut (&mut file).take(len.next_multiple_of(2)), &mut io::sink())?;
            continue;
        }
        let member = file.take(len);
        return Ok(match name.as_str() {
            "data.tar" => Box::new(member),
            "data.tar.gz" => Box::new(flate2::read::GzDecoder::new(member)),
            "data.tar.xz" => Box::new(lzma_rust2::XzReader::new(member, true)),
            "data.tar.zst" => Box::new(zstd::Decoder::new(member)?),
            _ => return Err(invalid(&format!("unknown compression of `{name}`"))),
        });
    }
}

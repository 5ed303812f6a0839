//! Fetching from an archive that is played by a closure.

use super::*;
use crate::run::{CommandLine, RunError};
use camino::Utf8PathBuf;
use sha2::{Digest, Sha256};
use std::cell::{Cell, RefCell};
use std::io::Write;

/// Answers like apt for one package and counts how often it is asked to download.
struct Server {
    contents: Vec<u8>,
    announced: String,
    downloads: Cell<u32>,
    asked: RefCell<Vec<Vec<String>>>,
}

impl Server {
    fn new(contents: &[u8]) -> Self {
        let announced = hex::encode(Sha256::digest(contents));
        let (downloads, asked) = (Cell::new(0), RefCell::default());
        Self { contents: contents.to_vec(), announced, downloads, asked }
    }

    fn answer(&self, command: &CommandLine) -> Result<String, RunError> {
        let words = &command.argv;
        self.asked.borrow_mut().push(words.clone());
        let has = |word: &str| words.iter().any(|other| other == word);
        if has("--print-uris") {
            let digest = &self.announced;
            return Ok(format!(
                "'http://m.invalid/b.deb' box_1%3a2-3_amd64.deb 9 SHA256:{digest}\n"
            ));
        }
        if has("download-file") {
            self.downloads.set(self.downloads.get() + 1);
            let uri = words.iter().position(|word| word.starts_with("http")).unwrap();
            fs_err::write(&words[uri + 1], &self.contents)?;
        }
        Ok(String::new())
    }
}

fn archive() -> Archive {
    Archive::debian("http://m.invalid/debian", "bookworm", "amd64")
}

fn cache() -> (tempfile::TempDir, Utf8PathBuf) {
    let keep = tempfile::tempdir().unwrap();
    let path = Utf8PathBuf::from_path_buf(keep.path().join("cache")).unwrap();
    (keep, path)
}

#[test]
fn what_was_fetched_once_needs_no_network_again() {
    let (_keep, cache) = cache();
    let server = Server::new(b"a package");
    let run = |command: &CommandLine| server.answer(command);
    let fetcher = Fetcher::new(&cache, &run);
    let refused = fetcher.fetch(&archive(), &["box"], Freshness::Offline).unwrap_err();
    assert!(matches!(refused, PackageError::Offline { .. }));
    assert!(refused.to_string().contains("`box` of `bookworm`"), "{refused}");
    let first = fetcher.fetch(&archive(), &["box"], Freshness::Reuse).unwrap();
    assert_eq!((first[0].name.as_str(), first[0].version.as_str()), ("box", "1:2-3"));
    assert_eq!(fs_err::read(&first[0].path).unwrap(), b"a package");
    let asked = server.asked.borrow().len();
    assert_eq!(fetcher.fetch(&archive(), &["box"], Freshness::Reuse).unwrap(), first);
    assert_eq!(fetcher.fetch(&archive(), &["box"], Freshness::Offline).unwrap(), first);
    assert_eq!(server.asked.borrow().len(), asked);
    assert_eq!(fetcher.fetch(&archive(), &["box"], Freshness::Refresh).unwrap(), first);
    assert_eq!(server.downloads.get(), 1);
}

#[test]
fn a_package_that_left_the_cache_is_fetched_again() {
    let (_keep, cache) = cache();
    let server = Server::new(b"a package");
    let run = |command: &CommandLine| server.answer(command);
    let fetcher = Fetcher::new(&cache, &run);
    let first = fetcher.fetch(&archive(), &["box"], Freshness::Reuse).unwrap();
    fs_err::remove_file(&first[0].path).unwrap();
    fetcher.fetch(&archive(), &["box"], Freshness::Reuse).unwrap();
    assert_eq!(server.downloads.get(), 2);
}

#[test]
fn a_download_with_another_digest_never_enters_the_cache() {
    let (_keep, cache) = cache();
    let mut server = Server::new(b"a package");
    server.contents = b"a forgery".to_vec();
    let run = |command: &CommandLine| server.answer(command);
    let refused = Fetcher::new(&cache, &run).fetch(&archive(), &["box"], Freshness::Reuse);
    assert!(matches!(refused, Err(PackageError::Digest { .. })));
    assert_eq!(fs_err::read_dir(cache.join("packages")).unwrap().count(), 0);
    let left = fs_err::read_dir(&cache).unwrap().map(|entry| entry.unwrap().file_name());
    assert!(left.into_iter().all(|name| !name.to_string_lossy().starts_with("download")));
}

#[test]
fn nothing_that_is_no_name_reaches_a_command_line_or_a_sources_list() {
    let (_keep, cache) = cache();
    let nobody = |_: &CommandLine| -> Result<String, RunError> { Err("must not run".into()) };
    let fetcher = Fetcher::new(&cache, &nobody);
    for name in ["", "-o=x", "../x", "a b", "UPPER"] {
        let refused = fetcher.fetch(&archive(), &[name], Freshness::Reuse);
        assert!(matches!(refused, Err(PackageError::Invalid { .. })), "{name}");
    }
    for (mirror, suite, architecture) in [
        ("http://m/\ndeb http://evil", "bookworm", "amd64"),
        ("http://m", "book worm", "amd64"),
        ("no-address", "bookworm", "amd64"),
        ("http://m", "bookworm", "amd64\"; Evil"),
    ] {
        let archive = Archive::debian(mirror, suite, architecture);
        let refused = fetcher.fetch(&archive, &["box"], Freshness::Reuse);
        assert!(matches!(refused, Err(PackageError::Invalid { .. })), "{archive:?}");
    }
}

#[test]
fn the_failure_of_apt_is_the_cause_of_the_error() {
    let (_keep, cache) = cache();
    let run = |_: &CommandLine| -> Result<String, RunError> { Err("no route to host".into()) };
    let error =
        Fetcher::new(&cache, &run).fetch(&archive(), &["box"], Freshness::Reuse).unwrap_err();
    assert_eq!(error.to_string(), "cannot read the package lists of `bookworm`");
    assert_eq!(std::error::Error::source(&error).unwrap().to_string(), "no route to host");
}

/// A package with one program and one link, as dpkg would pack it.
fn deb(member: &str, pack: impl Fn(Vec<u8>) -> Vec<u8>) -> (tempfile::TempDir, Utf8PathBuf) {
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_mode(0o755);
    header.set_size(7);
    tar.append_data(&mut header, "./usr/bin/box", &b"program"[..]).unwrap();
    let mut link = tar::Header::new_gnu();
    link.set_entry_type(tar::EntryType::Symlink);
    link.set_size(0);
    tar.append_link(&mut link, "./usr/bin/sh", "box").unwrap();
    let data = pack(tar.into_inner().unwrap());
    let keep = tempfile::tempdir().unwrap();
    let path = Utf8PathBuf::from_path_buf(keep.path().join("box.deb")).unwrap();
    let mut file = b"!<arch>\n".to_vec();
    for (name, contents) in [("debian-binary", &b"2.0\n!"[..]), (member, &data)] {
        let len = contents.len();
        writeln!(file, "{name:<16}{:<12}{:<6}{:<6}{:<8}{len:<10}`", 0, 0, 0, 100_644).unwrap();
        file.extend_from_slice(contents);
        file.resize(file.len().next_multiple_of(2), b'\n');
    }
    fs_err::write(&path, file).unwrap();
    (keep, path)
}

#[test]
fn files_are_read_from_a_package_of_any_packing() {
    let gzip = |data: Vec<u8>| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(&data).unwrap();
        encoder.finish().unwrap()
    };
    let packages = [
        deb("data.tar", |data| data),
        deb("data.tar.gz", gzip),
        deb("data.tar.zst", |data| zstd::bulk::compress(&data, 1).unwrap()),
    ];
    for (_keep, path) in &packages {
        let files = deb::files(path, |path| path.starts_with("usr/bin/")).unwrap();
        assert_eq!(files.len(), 1);
        assert_eq!((files[0].path.as_str(), files[0].mode), ("usr/bin/box", 0o755));
        assert_eq!(files[0].contents, b"program");
    }
}

#[test]
fn a_damaged_package_is_an_error_that_names_it() {
    let (_keep, whole) = deb("data.tar", |data| data);
    let bytes = fs_err::read(&whole).unwrap();
    for len in [0, 4, 8, 60, 100, 150, bytes.len() - 1500] {
        fs_err::write(&whole, &bytes[..len]).unwrap();
        let error = deb::files(&whole, |_| true).unwrap_err();
        assert!(error.to_string().contains("box.deb"), "{error}");
    }
    let (_keep, other) = deb("data.tar.lzma", |data| data);
    assert!(deb::files(&other, |_| true).is_err());
}

//! What is committed: inputs and dictionaries.

use std::path::{Path, PathBuf};

/// A folder or file of this package.
pub(crate) fn path(below: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(below)
}

/// Every file of a folder, by name.
pub(crate) fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs_err::read_dir(folder).unwrap();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

/// The committed inputs of a subject.
pub(crate) fn inputs(subject: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let files = files(&path("corpus").join(subject));
    files.into_iter().map(|path| (path.clone(), fs_err::read(path).unwrap())).collect()
}

/// The words of a subject's dictionary; none when it has none.
pub(crate) fn words(subject: &str) -> Vec<Vec<u8>> {
    let path = path("dictionaries").join(subject).with_extension("dict");
    if !path.exists() {
        return Vec::new();
    }
    let text = fs_err::read_to_string(path).unwrap();
    text.lines().map(|line| unescape(line.trim_matches('"'))).collect()
}

/// `\x1b` as one byte, the only escape that is used.
fn unescape(word: &str) -> Vec<u8> {
    let mut parts = word.split("\\x");
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        bytes.push(u8::from_str_radix(&part[..2], 16).unwrap());
        bytes.extend_from_slice(&part.as_bytes()[2..]);
    }
    bytes
}

//! Root file systems on disks.

use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use ext4::{Kind, Tree};
use plugin_kit::disk::root_tree;
use plugin_kit::layer::{LayerOptions, write};
use plugin_kit::sparse::{Control, RawDisk};

use crate::assert_fit_for_a_terminal;
use crate::image::MemoryFile;

/// Bytes of a file that are read; it may say that it has any number.
const SAMPLE_BYTES: u64 = 1 << 16;

/// Reads `input` as a file system, and as a disk with one on it.
///
/// # Panics
/// When a promise is broken.
pub fn ext4(input: &[u8]) {
    match Tree::from_image(Arc::new(input.to_vec()), |_| true) {
        Ok(tree) => check(&tree, input.len() as u64),
        Err(error) => assert_fit_for_a_terminal(&error.to_string()),
    }
    let file = MemoryFile::new(input);
    let disk = RawDisk::open(file.path()).expect("a file in memory opens");
    if let Err(error) = root_tree(disk, |path| path != Path::new("boot")) {
        assert_fit_for_a_terminal(&error.to_string());
    }
}

/// Whatever a tree holds reads, and becomes a layer that is no larger than the disk allows.
fn check(tree: &Tree, disk_bytes: u64) {
    for path in tree.paths() {
        let entry = tree.get(&path).expect("its own path");
        if let Kind::File(content) = &entry.kind {
            let mut bytes = Vec::new();
            let reader = content.open().expect("opening reads nothing");
            let read = reader.take(SAMPLE_BYTES).read_to_end(&mut bytes).expect("it was checked");
            assert_eq!(read as u64, content.length().min(SAMPLE_BYTES));
        }
    }
    let options = LayerOptions { max_bytes: Some(disk_bytes), ..LayerOptions::default() };
    // Whether it can be one is the disk's affair.
    drop(write(tree, &options, &mut std::io::sink(), &Control::default()));
}

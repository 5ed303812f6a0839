//! Promises of `sparse`.

use std::os::unix::fs::MetadataExt;

use camino::Utf8Path;
use plugin_kit::sparse::{
    Control, CopyMethod, RawDisk, ReadAt, StreamError, Zeros, clone_file, data_extents, sha256,
};
use sha2::{Digest, Sha256};

use crate::disks::{Fill, MIB, Scratch, make_disk};

fn allocated_bytes(path: &Utf8Path) -> u64 {
    fs_err::metadata(path).expect("file").blocks() * 512
}

#[test]
fn extents_cover_all_data_and_no_large_hole() {
    let scratch = Scratch::new();
    let raw = scratch.path("disk.raw");
    make_disk(&raw, 1 << 40, &[(0, 5, Fill::Text), (300 * MIB + 3, 70_000, Fill::Noise)]);
    let file = fs_err::File::open(&raw).expect("disk");
    let extents = data_extents(file.file(), 1 << 40).expect("extents");
    assert!(extents.iter().any(|extent| extent.contains(&0)));
    let last = extents.last().expect("an extent");
    assert!(last.start <= 300 * MIB + 3 && last.end >= 300 * MIB + 70_003, "{extents:?}");
    let total: u64 = extents.iter().map(|extent| extent.end - extent.start).sum();
    assert!(total < MIB, "{extents:?}");
}

#[test]
fn a_file_that_cannot_tell_its_holes_is_all_data() {
    let file = fs_err::File::open("/proc/self/maps").expect("a file of procfs");
    let extents = data_extents(file.file(), 4096).expect("extents");
    assert_eq!(extents.as_slice(), std::slice::from_ref(&(0..4096)));
}

#[test]
fn a_copy_has_the_content_and_the_holes_of_its_source() {
    let scratch = Scratch::new();
    let (raw, copy) = (scratch.path("disk.raw"), scratch.path("copy.raw"));
    let fills = [(MIB, 3 << 20, Fill::Zeros), (8 * MIB, 100_001, Fill::Noise)];
    make_disk(&raw, 64 * MIB + 1, &fills);
    let expected = fs_err::read(&raw).expect("disk");
    for (zeros, limit) in [(Zeros::Keep, 4 * MIB), (Zeros::Skip, MIB)] {
        let copied = clone_file(&raw, &copy, zeros, &Control::default()).expect("copy");
        assert_eq!(copied.size_bytes, 64 * MIB + 1);
        assert!(fs_err::read(&copy).expect("copy") == expected, "{zeros:?}");
        assert!(allocated_bytes(&copy) <= limit, "{zeros:?}: {}", allocated_bytes(&copy));
        assert_eq!(copied.method == CopyMethod::ReadWrite, zeros == Zeros::Skip, "{copied:?}");
    }
}

#[test]
fn a_file_is_never_copied_over_itself() {
    let scratch = Scratch::new();
    let raw = scratch.path("disk.raw");
    fs_err::write(&raw, b"precious").expect("file");
    let error = clone_file(&raw, &raw, Zeros::Keep, &Control::default()).expect_err("a refusal");
    assert!(matches!(error, StreamError::Write { .. }), "{error:?}");
    assert_eq!(fs_err::read(&raw).expect("file"), b"precious");
}

#[test]
fn the_digest_is_that_of_the_whole_file_and_a_changed_byte_changes_it() {
    let scratch = Scratch::new();
    let raw = scratch.path("disk.raw");
    let digest =
        || sha256(&RawDisk::open(&raw).expect("disk"), &Control::default()).expect("digest");
    make_disk(&raw, 9 * MIB + 77, &[(5, 10, Fill::Text), (3 * MIB + 9, 2 << 20, Fill::Noise)]);
    let first = digest();
    let whole: [u8; 32] = Sha256::digest(fs_err::read(&raw).expect("disk")).into();
    assert_eq!(first, whole);
    make_disk(&raw, 9 * MIB + 77, &[(5, 11, Fill::Text), (3 * MIB + 9, 2 << 20, Fill::Noise)]);
    assert_ne!(digest(), first);
}

#[test]
fn errors_name_the_file() {
    let error = RawDisk::open("/nonexistent/disk.raw").expect_err("no such file");
    assert_eq!(error.to_string(), "cannot open `/nonexistent/disk.raw`");
    let error = RawDisk::open("/").expect_err("a directory");
    assert_eq!(error.to_string(), "cannot open `/`");
}

#[test]
fn a_device_without_end_is_not_a_disk() {
    RawDisk::open("/dev/zero").expect_err("a character device");
}

#[test]
fn a_read_past_the_end_is_refused() {
    let scratch = Scratch::new();
    let raw = scratch.path("disk.raw");
    make_disk(&raw, 512, &[]);
    let disk = RawDisk::open(&raw).expect("disk");
    let error = disk.read_exact_at(&mut [0; 513], 0).expect_err("read past the end");
    assert_eq!(error.kind(), std::io::ErrorKind::UnexpectedEof);
}

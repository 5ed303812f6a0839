//! Images of disks.

#![expect(clippy::disallowed_types, reason = "a file in memory has no path that errors could name")]

use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::ops::Range;
use std::os::fd::AsRawFd;

use camino::Utf8PathBuf;
use plugin_kit::formats::{self, FormatError, ImageFormat};
use plugin_kit::sparse::{Control, RawDisk, ReadAt, is_zero, sha256};
use rustix::fs::{MemfdFlags, memfd_create};

/// Larger disks are read in samples.
const SMALL_DISK: u64 = 1 << 20;
/// Extents of a large disk that are looked at.
const SAMPLES: usize = 16;

/// A file in memory, with a path.
pub(crate) struct MemoryFile(File);

impl MemoryFile {
    pub(crate) fn new(content: &[u8]) -> Self {
        let file = memfd_create("image", MemfdFlags::CLOEXEC).expect("a file in memory");
        let mut file = File::from(file);
        file.write_all(content).expect("room in memory");
        Self(file)
    }

    pub(crate) fn file(&self) -> &File {
        &self.0
    }

    pub(crate) fn path(&self) -> Utf8PathBuf {
        format!("/proc/self/fd/{}", self.0.as_raw_fd()).into()
    }
}

/// Reads `input` as a QCOW2 image.
///
/// # Panics
/// When a promise is broken.
pub fn qcow2(input: &[u8]) {
    image(input);
}

/// Reads `input` as a VMDK.
///
/// # Panics
/// When a promise is broken.
pub fn vmdk(input: &[u8]) {
    image(input);
}

/// Reads `input` as a VHD, as it is and with checksums that are right: few inputs would get past
/// them.
///
/// # Panics
/// When a promise is broken.
pub fn vhd(input: &[u8]) {
    image(input);
    if let Some(footer_at) = input.len().checked_sub(512) {
        let mut repaired = input.to_vec();
        let field = |bytes: &[u8]| <[u8; 8]>::try_from(bytes).map(u64::from_be_bytes);
        let header_at = field(&input[footer_at + 16..footer_at + 24]).expect("eight bytes");
        sum_up(&mut repaired, header_at, 1024, 36);
        sum_up(&mut repaired, footer_at as u64, 512, 64);
        if repaired != input {
            image(&repaired);
        }
    }
}

/// Makes the checksum right of a structure of `len` bytes, if it lies within the file.
fn sum_up(file: &mut [u8], at: u64, len: usize, checksum_at: usize) {
    let at = usize::try_from(at).unwrap_or(usize::MAX);
    let Some(part) = at.checked_add(len).and_then(|end| file.get_mut(at..end)) else {
        return;
    };
    part[checksum_at..checksum_at + 4].fill(0);
    let sum = !part.iter().fold(0_u32, |sum, byte| sum.wrapping_add(u32::from(*byte)));
    part[checksum_at..checksum_at + 4].copy_from_slice(&sum.to_be_bytes());
}

/// Opens and reads an image in any format: what is wrong with it is told by its kind, and a disk
/// keeps the promises of [`ReadAt`]. A small one imports to the same bytes.
fn image(input: &[u8]) {
    let file = MemoryFile::new(input);
    let disk = match formats::open(&file.path()) {
        Ok((ImageFormat::Raw, disk)) => {
            assert_eq!(disk.size_bytes(), input.len() as u64);
            return;
        },
        Ok((_, disk)) => disk,
        Err(FormatError::Malformed { .. } | FormatError::Unsupported { .. }) => return,
        Err(error) => panic!("the file is whole, and yet: {error:?}"),
    };
    let found = formats::inspect(&file.path()).expect("it was opened");
    assert_eq!(found.virtual_bytes, disk.size_bytes());
    let extents = disk.data_extents().expect("they were read");
    assert_in_order(&extents, disk.size_bytes());
    if disk.size_bytes() <= SMALL_DISK {
        assert_imports(disk.as_ref(), &extents);
    } else {
        read_samples(disk.as_ref(), &extents);
    }
    let beyond = disk.read_exact_at(&mut [0], disk.size_bytes());
    assert_eq!(beyond.map_err(|error| error.kind()), Err(ErrorKind::UnexpectedEof));
}

/// Ascending, apart and within the disk.
fn assert_in_order(extents: &[Range<u64>], size_bytes: u64) {
    let mut end = None;
    for extent in extents {
        assert!(!extent.is_empty(), "{extent:?}");
        assert!(end.is_none_or(|end| end < extent.start), "{extent:?} after {end:?}");
        end = Some(extent.end);
    }
    assert!(end.is_none_or(|end| end <= size_bytes), "{end:?} of {size_bytes}");
}

/// Reads the whole disk, also in odd pieces, and imports it.
fn assert_imports(disk: &dyn ReadAt, extents: &[Range<u64>]) {
    let len = usize::try_from(disk.size_bytes()).expect("a small disk");
    let mut whole = vec![0xaa; len];
    let output = MemoryFile::new(&[]);
    let imported = formats::raw::write(disk, &output.path(), &Control::default());
    if !answered(disk.read_exact_at(&mut whole, 0)) {
        assert!(imported.is_err(), "a damaged image was imported");
        return;
    }
    let mut at = 0;
    for extent in extents.iter().cloned().chain(std::iter::once(len as u64..len as u64)) {
        let [start, end] = [extent.start, extent.end].map(|at| usize::try_from(at).expect("small"));
        assert!(is_zero(&whole[at..start]), "data outside of the extents");
        at = end;
    }
    let mut pieces = vec![0xaa; len];
    for (piece, at) in pieces.chunks_mut(1009).zip((0..).step_by(1009)) {
        disk.read_exact_at(piece, at).expect("it was read before");
    }
    assert!(pieces == whole, "a disk in pieces is another disk");
    imported.expect("all of it was read");
    let raw = RawDisk::open(output.path()).expect("a disk that was written");
    assert_eq!(raw.size_bytes(), disk.size_bytes());
    let [one, two] = [disk, &raw].map(|disk| sha256(disk, &Control::default()).expect("a digest"));
    assert_eq!(one, two, "an imported disk is another disk");
}

/// Reads where extents begin and end.
fn read_samples(disk: &dyn ReadAt, extents: &[Range<u64>]) {
    let mut zeros_from = 0;
    for extent in extents.iter().take(SAMPLES) {
        let mut byte = [0xaa];
        if extent.start > zeros_from {
            disk.read_exact_at(&mut byte, zeros_from).expect("zeros");
            assert_eq!(byte, [0], "data outside of the extents");
        }
        for at in [extent.start, extent.end - 1] {
            answered(disk.read_exact_at(&mut byte, at));
        }
        zeros_from = extent.end;
    }
    answered(disk.read_exact_at(&mut [0; 512], disk.size_bytes() - 512));
}

/// Whether a read within the disk succeeded; damaged images fail in one way only.
fn answered(read: io::Result<()>) -> bool {
    match read {
        Ok(()) => true,
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::InvalidData, "{error}");
            false
        },
    }
}

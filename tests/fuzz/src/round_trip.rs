//! Disks that are written here and read back.

use std::os::unix::fs::FileExt;

use camino::Utf8Path;
use plugin_kit::formats::{self, FormatError, ImageFormat, Written, qcow2, raw, vhd, vmdk};
use plugin_kit::sparse::{Control, RawDisk, ReadAt, sha256};

use crate::image::MemoryFile;

/// Sectors of the largest disk, 40 MiB: VMDK begins a new grain table after 32.
const MAX_SECTORS: u32 = 40 << 11;

/// Makes the disk that `input` tells of, writes it in one format and reads it back: the size that
/// was promised, and the same bytes.
///
/// The first byte is the format, four are the size in sectors, and every six more are an offset in
/// units of 997 bytes, a length in units of 257, and a fill.
///
/// # Panics
/// When a promise is broken.
pub fn round_trip(input: &[u8]) {
    let Some(([format, s0, s1, s2, s3], fills)) = input.split_first_chunk() else {
        return;
    };
    let size = (u64::from(u32::from_le_bytes([*s0, *s1, *s2, *s3]) % MAX_SECTORS) + 1) * 512;
    let original = MemoryFile::new(&[]);
    let file = original.file();
    file.set_len(size).expect("room in memory");
    for fill in fills.chunks_exact(6) {
        let offset = u64::from(u16::from_le_bytes([fill[0], fill[1]])) * 997 % size;
        let len = usize::from(u16::from_le_bytes([fill[2], fill[3]]) % 1024) * 257;
        let len = len.min(usize::try_from(size - offset).unwrap_or(usize::MAX));
        file.write_all_at(&content(len, fill[4], fill[5]), offset).expect("room in memory");
    }
    let disk = RawDisk::open(original.path()).expect("a disk");
    let image = MemoryFile::new(&[]);
    let (format, written) = write(*format, &disk, &image.path());
    let written = written.expect("every disk of this size can be written");
    let (found, read) = formats::open(&image.path()).expect("what was written opens");
    assert_eq!(found, format);
    assert_eq!((read.size_bytes(), written.virtual_bytes), (size, size));
    let [one, two] = [&disk as &dyn ReadAt, read.as_ref()]
        .map(|disk| sha256(disk, &Control::default()).expect("a digest"));
    assert_eq!(one, two, "another disk was written");
}

/// Zeros, one byte, or noise.
fn content(len: usize, kind: u8, byte: u8) -> Vec<u8> {
    let mut state = u32::from(byte) | 0x100;
    let noise = std::iter::repeat_with(move || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    });
    match kind % 3 {
        0 => vec![0; len],
        1 => vec![byte; len],
        _ => noise.take(len).collect(),
    }
}

fn write(
    choice: u8,
    disk: &RawDisk,
    output: &Utf8Path,
) -> (ImageFormat, Result<Written, FormatError>) {
    let control = Control::default();
    let unique_id = *b"0123456789abcdef";
    let to_qcow2 =
        |compression| qcow2::write(disk, output, &qcow2::Options { compression }, &control);
    let to_vmdk = |layout| {
        let (adapter, extent_name) = (vmdk::Adapter::LsiLogic, "disk.vmdk".to_owned());
        let options = vmdk::Options { layout, adapter, unique_id, extent_name };
        vmdk::write(disk, output, &options, &control)
    };
    let to_vhd = |layout| {
        let options = vhd::Options { layout, align_to_mib: false, unique_id, timestamp: 0 };
        vhd::write(disk, output, &options, &control)
    };
    match choice % 8 {
        0 => (ImageFormat::Qcow2, to_qcow2(qcow2::Compression::None)),
        1 => (ImageFormat::Qcow2, to_qcow2(qcow2::Compression::ZLIB)),
        2 => (ImageFormat::Qcow2, to_qcow2(qcow2::Compression::ZSTD)),
        3 => (ImageFormat::Vmdk, to_vmdk(vmdk::Layout::MonolithicSparse)),
        4 => (ImageFormat::Vmdk, to_vmdk(vmdk::Layout::STREAM_OPTIMIZED)),
        5 => (ImageFormat::Vhd, to_vhd(vhd::Layout::Fixed)),
        6 => (ImageFormat::Vhd, to_vhd(vhd::Layout::Dynamic)),
        _ => (ImageFormat::Raw, raw::write(disk, output, &control)),
    }
}

//! What others wrote reads back as the same disk.

use plugin_kit::formats::{self, ImageFormat, Inspection, inspect, raw};
use plugin_kit::sparse::{Control, RawDisk, sha256};

use crate::disks::{Fill, MIB, Scratch, TARGETS, make_disk, make_varied_disk};
use crate::qemu;

/// Format and options of images that `qemu-img convert` makes; `-c` compresses.
const FROM_QEMU: [(ImageFormat, &[&str]); 11] = [
    (ImageFormat::Qcow2, &["-O", "qcow2"]),
    (ImageFormat::Qcow2, &["-O", "qcow2", "-c"]),
    (ImageFormat::Qcow2, &["-O", "qcow2", "-c", "-o", "compression_type=zstd"]),
    (ImageFormat::Qcow2, &["-O", "qcow2", "-o", "compat=0.10,cluster_size=4096"]),
    (ImageFormat::Qcow2, &["-O", "qcow2", "-c", "-o", "cluster_size=2M"]),
    (ImageFormat::Qcow2, &["-O", "qcow2", "-S", "0"]),
    (ImageFormat::Qcow2, &["-O", "qcow2", "-o", "preallocation=metadata"]),
    (ImageFormat::Vmdk, &["-O", "vmdk", "-o", "subformat=streamOptimized"]),
    (ImageFormat::Vmdk, &["-O", "vmdk", "-o", "subformat=monolithicSparse,zeroed_grain=on"]),
    (ImageFormat::Vhd, &["-O", "vpc", "-o", "subformat=dynamic,force_size=on"]),
    (ImageFormat::Vhd, &["-O", "vpc", "-o", "subformat=fixed,force_size=on"]),
];

#[test]
fn images_made_by_qemu_read_as_the_disk_they_were_made_from() {
    let scratch = Scratch::new();
    let raw = scratch.path("disk.raw");
    let size = 36 * MIB + 1536;
    make_disk(
        &raw,
        size,
        &[
            (0, 500_000, Fill::Text),
            (MIB, 150_000, Fill::Noise),
            (31 * MIB + 99, 2_000_000, Fill::Text),
            (size - 512, 512, Fill::Noise),
        ],
    );
    let digest = sha256(&RawDisk::open(&raw).expect("disk"), &Control::default()).expect("digest");
    for (i, (format, options)) in FROM_QEMU.iter().enumerate() {
        let image = scratch.path(&format!("image{i}"));
        let arguments = [&["convert", "-f", "raw"], *options, &[raw.as_str(), image.as_str()]];
        qemu::img(&arguments.concat());
        let (found, disk) = formats::open(&image).expect("image");
        assert_eq!((found, disk.size_bytes()), (*format, size), "{options:?}");
        let read = sha256(disk.as_ref(), &Control::default()).expect("content");
        assert_eq!(read, digest, "{options:?}");
    }
}

#[test]
fn every_format_written_here_imports_to_the_original() {
    let scratch = Scratch::new();
    let original = scratch.path("disk.raw");
    let size = make_varied_disk(&original);
    let disk = RawDisk::open(&original).expect("disk");
    for target in TARGETS {
        let (image, imported) = (scratch.path(target.name), scratch.path("imported.raw"));
        target.write(&disk, &image, &Control::default()).expect(target.name);
        let Inspection { virtual_bytes, .. } = inspect(&image).expect(target.name);
        assert_eq!(virtual_bytes, size, "{}", target.name);
        let (_, image) = formats::open(&image).expect(target.name);
        raw::write(image.as_ref(), &imported, &Control::default()).expect(target.name);
        qemu::assert_same_content(&original, &imported, "raw");
    }
}

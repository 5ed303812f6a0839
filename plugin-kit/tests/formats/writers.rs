//! What is written is what `qemu-img` reads.

use std::cell::{Cell, RefCell};

use plugin_kit::formats::{FormatError, qcow2, vhd, vmdk};
use plugin_kit::sparse::{Control, RawDisk};
use proptest::prelude::*;

use crate::disks::{Fill, MIB, Scratch, TARGETS, make_disk, make_varied_disk};
use crate::qemu;

#[test]
fn qemu_reads_back_every_format_with_its_exact_size() {
    let scratch = Scratch::new();
    let raw = scratch.path("disk.raw");
    let size = make_varied_disk(&raw);
    let disk = RawDisk::open(&raw).expect("disk");
    for target in TARGETS {
        let image = scratch.path(target.name);
        let written = target.write(&disk, &image, &Control::default()).expect(target.name);
        assert_eq!(written.virtual_bytes, size, "{}", target.name);
        assert_eq!(qemu::virtual_bytes(&image, target.qemu_format), size, "{}", target.name);
        assert_eq!(fs_err::metadata(&image).expect("image").len(), written.file_bytes);
        qemu::assert_same_content(&raw, &image, target.qemu_format);
        if target.checkable {
            qemu::assert_sound(&image, target.qemu_format);
        }
    }
}

#[test]
fn the_same_content_gives_the_same_bytes_whatever_its_holes() {
    let scratch = Scratch::new();
    let (holes, stored) = (scratch.path("holes.raw"), scratch.path("stored.raw"));
    let data = [(0, 300_000, Fill::Noise), (4 * MIB, 900_000, Fill::Text)];
    make_disk(&holes, 6 * MIB, &data);
    let all = std::iter::once((0, 6 << 20, Fill::Zeros)).chain(data).collect::<Vec<_>>();
    make_disk(&stored, 6 * MIB, &all);
    for target in TARGETS {
        let images = [&holes, &stored].map(|raw| {
            let image = scratch.path("image");
            let disk = RawDisk::open(raw).expect("disk");
            target.write(&disk, &image, &Control::default()).expect(target.name);
            fs_err::read(image).expect("image")
        });
        assert!(images[0] == images[1], "{} differs", target.name);
    }
}

#[test]
fn zeros_and_holes_take_no_room() {
    let scratch = Scratch::new();
    let raw = scratch.path("disk.raw");
    make_disk(&raw, 3 << 40, &[(0, 3 << 20, Fill::Zeros), ((3 << 40) - 512, 512, Fill::Text)]);
    let disk = RawDisk::open(&raw).expect("disk");
    let image = scratch.path("image");
    let options = qcow2::Options { compression: qcow2::Compression::ZLIB };
    let written = qcow2::write(&disk, &image, &options, &Control::default()).expect("qcow2");
    assert!(written.file_bytes < MIB, "{written:?}");
    qemu::assert_sound(&image, "qcow2");
    qemu::assert_same_content(&raw, &image, "qcow2");
}

#[test]
fn a_disk_too_large_for_the_format_is_refused_before_anything_is_written() {
    let scratch = Scratch::new();
    let raw = scratch.path("disk.raw");
    make_disk(&raw, 3 << 40, &[]);
    let disk = RawDisk::open(&raw).expect("disk");
    for target in TARGETS.iter().filter(|target| ["vmdk", "vpc"].contains(&target.qemu_format)) {
        let image = scratch.path("image");
        let error = target.write(&disk, &image, &Control::default()).expect_err(target.name);
        assert!(matches!(error, FormatError::TooLarge { .. }), "{error:?}");
        assert!(!image.exists());
    }
}

#[test]
fn an_azure_disk_ends_at_a_whole_mib() {
    let scratch = Scratch::new();
    let (raw, image) = (scratch.path("disk.raw"), scratch.path("disk.vhd"));
    make_disk(&raw, 5 * MIB + 512, &[(5 * MIB, 512, Fill::Text)]);
    let options = vhd::Options {
        layout: vhd::Layout::Fixed,
        align_to_mib: true,
        unique_id: [1; 16],
        timestamp: 0,
    };
    let disk = RawDisk::open(&raw).expect("disk");
    let written = vhd::write(&disk, &image, &options, &Control::default()).expect("vhd");
    assert_eq!((written.virtual_bytes, written.file_bytes), (6 * MIB, 6 * MIB + 512));
    assert_eq!(qemu::virtual_bytes(&image, "vpc"), 6 * MIB);
    qemu::assert_same_content(&raw, &image, "vpc");
}

/// The fields that ESX checks when it imports a stream, at the offsets of VMware's format note.
#[test]
fn a_stream_has_the_header_and_footer_that_esx_asks_for() {
    let scratch = Scratch::new();
    let (raw, image) = (scratch.path("disk.raw"), scratch.path("disk.vmdk"));
    make_disk(&raw, 3 * MIB, &[(0, 100, Fill::Text)]);
    let options = vmdk::Options {
        layout: vmdk::Layout::STREAM_OPTIMIZED,
        adapter: vmdk::Adapter::PvScsi,
        unique_id: [0xab; 16],
        extent_name: "root.vmdk".to_owned(),
    };
    let disk = RawDisk::open(&raw).expect("disk");
    vmdk::write(&disk, &image, &options, &Control::default()).expect("vmdk");
    let bytes = fs_err::read(&image).expect("image");
    let le32 = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("4 bytes"));
    let le64 = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("8 bytes"));
    let (footer, end) = (bytes.len() - 1024, bytes.len() - 512);

    assert_eq!((le32(4), le32(8)), (3, 0x3_0001), "version and flags");
    assert_eq!(le64(56), u64::MAX, "directory at the end");
    assert_eq!(le64(64), 128, "overhead is one grain");
    assert_eq!((le64(128 * 512), bytes.len() % 512), (0, 0), "first marker is of grain 0");
    assert_eq!((le64(footer - 512), le32(footer - 500)), (1, 3), "footer marker");
    assert_eq!(bytes[..56], bytes[footer..footer + 56], "footer repeats the header");
    assert_eq!(le64(footer + 56), directory(&bytes), "directory");
    assert!(bytes[end..].iter().all(|byte| *byte == 0), "end marker");
    let text = String::from_utf8_lossy(&bytes[512..21 * 512]);
    for line in [
        "CID=abababab",
        "createType=\"streamOptimized\"",
        "RDONLY 6144 SPARSE \"root.vmdk\"",
        "ddb.adapterType = \"pvscsi\"",
    ] {
        assert!(text.lines().any(|found| found == line), "`{line}` is missing in\n{text}");
    }
}

/// The sector after the directory marker, which is two sectors before the footer.
fn directory(bytes: &[u8]) -> u64 {
    (bytes.len() as u64 - 1024) / 512 - 2
}

#[test]
fn a_descriptor_cannot_be_injected_through_the_extent_name() {
    let scratch = Scratch::new();
    let raw = scratch.path("disk.raw");
    make_disk(&raw, MIB, &[]);
    let disk = RawDisk::open(&raw).expect("disk");
    for name in ["", "a\"b", "a\nparentCID=1", "../a"] {
        let options = vmdk::Options {
            layout: vmdk::Layout::MonolithicSparse,
            adapter: vmdk::Adapter::Ide,
            unique_id: [0; 16],
            extent_name: name.to_owned(),
        };
        let error = vmdk::write(&disk, &scratch.path("x"), &options, &Control::default());
        assert!(matches!(error, Err(FormatError::InvalidOption { .. })), "`{name}`: {error:?}");
    }
}

#[test]
fn a_cancelled_write_says_so_and_leaves_nothing() {
    let scratch = Scratch::new();
    let raw = scratch.path("disk.raw");
    make_disk(&raw, 32 * MIB, &[(0, 32 << 20, Fill::Noise)]);
    let disk = RawDisk::open(&raw).expect("disk");
    for target in TARGETS {
        let image = scratch.path(target.name);
        let asked = Cell::new(0);
        let cancelled = || asked.replace(asked.get() + 1) == 2;
        let error = target.write(&disk, &image, &Control::new(&|_, _| {}, &cancelled));
        let error = error.expect_err(target.name);
        assert!(error.is_cancelled(), "{}: {error:?}", target.name);
        assert!(!image.exists(), "{}", target.name);
    }
}

#[test]
fn progress_only_grows_and_ends_at_the_total() {
    let scratch = Scratch::new();
    let raw = scratch.path("disk.raw");
    make_disk(&raw, 64 * MIB, &[(0, 9 << 20, Fill::Text), (40 * MIB, 9 << 20, Fill::Zeros)]);
    let disk = RawDisk::open(&raw).expect("disk");
    for target in TARGETS {
        let seen = RefCell::new(Vec::new());
        let progress = |done, total| seen.borrow_mut().push((done, total));
        let control = Control::new(&progress, &|| false);
        target.write(&disk, &scratch.path(target.name), &control).expect(target.name);
        let seen = seen.into_inner();
        assert!(seen.is_sorted(), "{}: {seen:?}", target.name);
        assert_eq!(seen.last(), Some(&(18 * MIB, 18 * MIB)), "{}", target.name);
    }
}

#[test]
fn a_disk_is_never_written_over_itself() {
    let scratch = Scratch::new();
    let raw = scratch.path("disk.raw");
    make_disk(&raw, MIB, &[(0, 100, Fill::Text)]);
    let before = fs_err::read(&raw).expect("disk");
    let disk = RawDisk::open(&raw).expect("disk");
    for target in TARGETS {
        target.write(&disk, &raw, &Control::default()).expect_err(target.name);
    }
    assert!(fs_err::read(&raw).expect("disk") == before);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4, ..ProptestConfig::default() })]
    #[test]
    fn random_layouts_survive_every_format(
        sectors in 1_u64..70_000,
        fills in prop::collection::vec(
            (0.0..1.0_f64, 1_usize..300_000, prop::sample::select(vec![Fill::Text, Fill::Noise, Fill::Zeros])),
            0..8,
        ),
    ) {
        let scratch = Scratch::new();
        let raw = scratch.path("disk.raw");
        let size = sectors * 512;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss,
            reason = "picks some offset within the disk")]
        let fills: Vec<_> = fills
            .into_iter()
            .map(|(at, len, fill)| {
                let offset = (at * size as f64) as u64;
                (offset, len.min((size - offset) as usize), fill)
            })
            .collect();
        make_disk(&raw, size, &fills);
        let disk = RawDisk::open(&raw).expect("disk");
        for target in TARGETS {
            let image = scratch.path(target.name);
            target.write(&disk, &image, &Control::default()).expect(target.name);
            prop_assert_eq!(qemu::virtual_bytes(&image, target.qemu_format), size);
            qemu::assert_same_content(&raw, &image, target.qemu_format);
            if target.checkable {
                qemu::assert_sound(&image, target.qemu_format);
            }
        }
    }
}

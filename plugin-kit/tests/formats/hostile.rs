//! Files from elsewhere: an error, never a panic, a second file or a huge allocation.

use camino::Utf8Path;
use plugin_kit::formats::{self, FormatError, ImageFormat, inspect, raw};
use plugin_kit::sparse::{Control, RawDisk};
use proptest::prelude::*;

use crate::disks::{Fill, MIB, Scratch, TARGETS, make_disk};
use crate::qemu;

#[test]
fn images_that_need_other_files_are_refused() {
    let scratch = Scratch::new();
    let [base, image, other] = ["base.qcow2", "image", "other"].map(|name| scratch.path(name));
    let create = |options: &[&str]| {
        qemu::img(&[&["create", "-q"], options, &[image.as_str(), "64M"]].concat());
    };
    let refused = |feature: &str| match inspect(&image) {
        Err(FormatError::Unsupported { feature: found, .. }) => {
            assert!(found.contains(feature), "`{found}` instead of `{feature}`");
        },
        other => panic!("{feature}: {other:?}"),
    };
    qemu::img(&["create", "-q", "-f", "qcow2", base.as_str(), "64M"]);
    create(&["-f", "qcow2", "-b", base.as_str(), "-F", "qcow2"]);
    refused("backing file");
    create(&["-f", "qcow2", "-o", &format!("data_file={other}")]);
    refused("external data file");
    create(&["-f", "qcow2", "-o", "extended_l2=on"]);
    refused("features");
    create(&["-f", "vmdk", "-o", "subformat=monolithicFlat"]);
    refused("extents in other files");
    create(&["-f", "vmdk", "-o", "subformat=twoGbMaxExtentSparse"]);
    refused("extents in other files");
    create(&["-f", "vhdx"]);
    refused("layout");
    fs_err::write(&image, b"\x1f\x8b\x08 compressed image").expect("file");
    refused("layout");
}

#[test]
fn what_nothing_claims_is_raw_and_an_empty_file_is_nothing() {
    let scratch = Scratch::new();
    let file = scratch.path("file");
    fs_err::write(&file, vec![7; 1024]).expect("file");
    let found = inspect(&file).expect("raw disk");
    assert_eq!((found.format, found.virtual_bytes), (ImageFormat::Raw, 1024));
    fs_err::write(&file, b"").expect("file");
    assert!(matches!(inspect(&file), Err(FormatError::Malformed { .. })));
    assert!(inspect(&scratch.path("missing")).is_err());
}

/// Writer, offset of a header field, and a value that must be refused.
const BAD_FIELDS: [(&str, usize, &[u8]); 18] = [
    ("qcow2", 4, &9_u32.to_be_bytes()),
    ("qcow2", 8, &4096_u64.to_be_bytes()),
    ("qcow2", 20, &64_u32.to_be_bytes()),
    ("qcow2", 20, &0_u32.to_be_bytes()),
    ("qcow2", 24, &u64::MAX.to_be_bytes()),
    ("qcow2", 24, &(1_u64 << 50).to_be_bytes()),
    ("qcow2", 32, &1_u32.to_be_bytes()),
    ("qcow2", 36, &0_u32.to_be_bytes()),
    ("qcow2", 40, &u64::MAX.to_be_bytes()),
    ("qcow2", 72, &u64::MAX.to_be_bytes()),
    // The first L1 entry, beyond the file.
    ("qcow2", 65_536, &(1_u64 << 50).to_be_bytes()),
    ("vmdk-sparse", 12, &u64::MAX.to_le_bytes()),
    ("vmdk-sparse", 20, &u64::MAX.to_le_bytes()),
    ("vmdk-sparse", 36, &u64::MAX.to_le_bytes()),
    ("vmdk-sparse", 44, &u32::MAX.to_le_bytes()),
    ("vmdk-sparse", 56, &(u64::MAX - 1).to_le_bytes()),
    ("vmdk-stream", 12, &1_u64.to_le_bytes()),
    // Maximum table entries of the dynamic header, checksum not adjusted.
    ("vhd-dynamic", 512 + 28, &u32::MAX.to_be_bytes()),
];

#[test]
fn fields_that_lie_are_refused() {
    let scratch = Scratch::new();
    for (name, at, value) in BAD_FIELDS {
        let image = scratch.path("image");
        let mut bytes = sample(&scratch, name);
        bytes[at..at + value.len()].copy_from_slice(value);
        fs_err::write(&image, bytes).expect("image");
        let error = inspect(&image).expect_err(name);
        let typed =
            matches!(error, FormatError::Malformed { .. } | FormatError::Unsupported { .. });
        assert!(typed, "{name} at {at}: {error:?}");
    }
}

#[test]
fn a_table_used_twice_is_refused() {
    let scratch = Scratch::new();
    let raw = scratch.path("disk.raw");
    let image = scratch.path("image");
    make_disk(&raw, 600 * MIB, &[(0, 512, Fill::Text), (520 * MIB, 512, Fill::Text)]);
    let disk = RawDisk::open(&raw).expect("disk");
    let qcow2 = TARGETS.iter().find(|target| target.name == "qcow2").expect("qcow2");
    qcow2.write(&disk, &image, &Control::default()).expect("image");
    let mut bytes = fs_err::read(&image).expect("image");
    bytes.copy_within(65_536..65_544, 65_544);
    fs_err::write(&image, bytes).expect("image");
    assert!(matches!(inspect(&image), Err(FormatError::Malformed { .. })));
}

#[test]
fn a_truncated_image_is_an_error_or_raw_but_never_a_panic() {
    let scratch = Scratch::new();
    for target in TARGETS.iter().filter(|target| target.name != "raw") {
        let bytes = sample(&scratch, target.name);
        let image = scratch.path("image");
        for len in [1, 4, 71, 104, 511, 512, 513, 1535, 2048, bytes.len() / 2, bytes.len() - 1] {
            fs_err::write(&image, &bytes[..len]).expect("image");
            read_all(&image, &scratch);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]
    #[test]
    fn damaged_images_never_panic(
        target in prop::sample::select(vec!["qcow2", "qcow2-zlib", "qcow2-zstd", "vmdk-stream", "vmdk-sparse", "vhd-dynamic"]),
        damage in prop::collection::vec((0.0..1.0_f64, any::<bool>(), any::<u8>()), 1..6),
    ) {
        let scratch = Scratch::new();
        let mut bytes = sample(&scratch, target);
        for (at, in_header, value) in damage {
            let range = if in_header { 128 } else { bytes.len() };
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss,
                reason = "picks some byte")]
            let at = (at * range as f64) as usize;
            bytes[at] = value;
        }
        let image = scratch.path("image");
        fs_err::write(&image, bytes).expect("image");
        read_all(&image, &scratch);
    }
}

/// Opens and imports an image, unless it claims to be large.
fn read_all(image: &Utf8Path, scratch: &Scratch) {
    if let Ok((_, disk)) = formats::open(image)
        && disk.size_bytes() < 1 << 30
    {
        let imported = scratch.path("imported");
        // Damaged data is either noticed or not; both are fine.
        if raw::write(disk.as_ref(), &imported, &Control::default()).is_err() {
            assert!(!imported.exists());
        }
    }
}

fn sample(scratch: &Scratch, name: &str) -> Vec<u8> {
    let (raw, image) = (scratch.path("sample.raw"), scratch.path("sample"));
    make_disk(&raw, 3 * MIB, &[(0, 100_000, Fill::Text), (2 * MIB, 70_000, Fill::Noise)]);
    let disk = RawDisk::open(&raw).expect("disk");
    let target = TARGETS.iter().find(|target| target.name == name).expect("a known target");
    target.write(&disk, &image, &Control::default()).expect("image");
    fs_err::read(&image).expect("image")
}

//! One base image in the formats of several clouds, judged by qemu-img.

use std::process::Command;

use serde_json::Value;

use crate::support::{Ran, Workshop, texts};

const TARGETS: [(&str, &str); 4] =
    [("raw", "raw"), ("qcow2", "qcow2"), ("vmdk", "vmdk"), ("vhd", "vpc")];

fn qemu_img(arguments: &[&str]) -> Ran {
    let output = Command::new("qemu-img").args(arguments).output();
    output.expect("qemu-img is installed (`make setup`)").into()
}

fn path(image: &Value) -> &str {
    image["path"].as_str().unwrap()
}

/// What qemu-img finds in `image` is the disk of `base`, and it finds no fault with the file.
#[track_caller]
fn assert_same_disk(base: &Value, image: &Value, format: &str) {
    let (raw, body) = (path(base), path(image));
    qemu_img(&["compare", "-f", "raw", "-F", format, raw, body]).done();
    if !matches!(format, "raw" | "vpc") {
        qemu_img(&["check", "-f", format, body]).done();
    }
}

/// A base image with data, holes and an odd length, made by hand.
fn workshop_with_disk() -> Workshop {
    let workshop = Workshop::new();
    for (target, _) in TARGETS {
        workshop.link(target);
    }
    let mut disk = vec![0_u8; (5 << 20) + 1024];
    for (number, byte) in disk.iter_mut().enumerate() {
        // Data in every other MiB: some of it compresses, some hardly does.
        if (number >> 20).is_multiple_of(2) {
            let mixed = number.wrapping_mul(2_654_435_761) >> 7;
            *byte = u8::try_from((mixed ^ (number / 4096)) % 251).unwrap();
        }
    }
    workshop.write("disk.raw", disk);
    workshop
        .run(&["images", "import", "disk.raw", "--template", "mock.tdl", "--name", "disk"])
        .done();
    workshop
}

/// The base image and the image for `target`.
#[track_caller]
fn target_image(workshop: &Workshop, target: &str, parameters: &[&str]) -> [Value; 2] {
    let mut arguments = vec!["target-image", target, "--id", "disk"];
    for parameter in parameters {
        arguments.extend(["--parameter", parameter]);
    }
    let images = workshop.json(&arguments)["images"].clone();
    [images[0].clone(), images[1].clone()]
}

#[test]
fn one_appliance_becomes_four_formats_side_by_side() {
    let workshop = Workshop::with_appliance();
    let mut arguments = vec!["build", "appliance.toml"];
    for (target, _) in TARGETS {
        arguments.extend(["--target", target]);
    }
    let document = workshop.json(&arguments);
    workshop.keep_downloads();
    let images = document["images"].as_array().unwrap();
    assert_eq!(texts(images, "status"), ["COMPLETE"; 5]);
    assert_eq!(workshop.images_of("base").len(), 1);
    for (image, (target, format)) in images[1..].iter().zip(TARGETS) {
        assert_eq!(image["target"], target);
        assert_same_disk(&images[0], image, format);
    }
    workshop.run(&["images", "check"]).done();
    workshop.assert_tidy();
}

#[test]
fn every_variant_of_every_format_is_the_same_disk() {
    let workshop = workshop_with_disk();
    for (target, format, parameters) in [
        ("raw", "raw", &[][..]),
        ("qcow2", "qcow2", &["qcow2_compression=none"]),
        ("qcow2", "qcow2", &["qcow2_compression=zlib", "qcow2_level=9"]),
        ("qcow2", "qcow2", &["qcow2_compression=zstd"]),
        ("vmdk", "vmdk", &["vmdk_layout=stream-optimized"]),
        ("vmdk", "vmdk", &["vmdk_layout=monolithic-sparse"]),
        ("vmdk", "vmdk", &["vsphere_vmdk_format=streaming"]),
        ("vhd", "vpc", &["vhd_layout=dynamic"]),
        ("vhd", "vpc", &["vhd_layout=fixed"]),
    ] {
        let [base, image] = target_image(&workshop, target, parameters);
        assert_same_disk(&base, &image, format);
    }
}

#[test]
fn a_vhd_for_azure_is_a_whole_number_of_mebibytes() {
    let workshop = workshop_with_disk();
    let [_, image] = target_image(&workshop, "vhd", &[]);
    let size = image["size_bytes"].as_u64().unwrap();
    assert_eq!(size % (1 << 20), 512, "a whole MiB and the footer");
    assert!(size > 5 << 20);
}

#[test]
fn holes_of_the_disk_take_no_space_in_any_format() {
    let workshop = Workshop::new();
    let images = workshop.build(&["--parameter", "size_bytes=1073741824", "--name", "disk"]);
    for (target, _) in TARGETS {
        workshop.link(target);
        let [base, image] = target_image(&workshop, target, &[]);
        assert_eq!(base["id"], images[0]["id"]);
        let metadata = fs_err::metadata(path(&image)).unwrap();
        let used = std::os::unix::fs::MetadataExt::blocks(&metadata) * 512;
        assert!(used < 1 << 20, "{target} uses {used} bytes");
    }
}

#[test]
fn parameters_that_contradict_each_other_are_refused_before_building() {
    let workshop = workshop_with_disk();
    let parameter = ["--parameter", "qcow2_compression=lzma"];
    let ran = workshop.run(&[&["target-image", "qcow2", "--id", "disk"][..], &parameter].concat());
    ran.refused(3).says("`qcow2_compression`").says("zstd");
    assert_eq!(workshop.images().len(), 1);
}

#[test]
fn an_imported_qcow2_is_the_disk_in_it() {
    let workshop = workshop_with_disk();
    let [base, image] = target_image(&workshop, "qcow2", &[]);
    let import = ["images", "import", path(&image), "--template", "mock.tdl", "--name", "back"];
    let back = workshop.json(&import);
    assert_eq!(back["sha256"], base["sha256"]);
    workshop.assert_tidy();
}

#[test]
fn an_import_of_a_qcow2_that_is_killed_leaves_nothing() {
    let workshop = workshop_with_disk();
    let [_, image] = target_image(&workshop, "qcow2", &[]);
    fs_err::copy(path(&image), workshop.path("disk.qcow2")).unwrap();
    for milliseconds in [5, 15, 25, 35, 50] {
        let import = workshop.spawn(&["images", "import", "disk.qcow2", "--template", "mock.tdl"]);
        std::thread::sleep(std::time::Duration::from_millis(milliseconds));
        import.signal(rustix::process::Signal::KILL);
        drop(import.wait());
        workshop.assert_tidy();
    }
}

#[test]
fn a_qcow2_with_a_backing_file_is_not_imported() {
    let workshop = Workshop::new();
    workshop.write("secret", "hunter2".repeat(1000));
    let overlay = workshop.path("overlay.qcow2").display().to_string();
    let secret = workshop.path("secret").display().to_string();
    qemu_img(&["create", "-q", "-f", "qcow2", "-F", "raw", "-b", &secret, &overlay]).done();
    let import = ["images", "import", "overlay.qcow2", "--template", "mock.tdl"];
    workshop.run(&import).refused(3).says("backing file");
    assert_eq!(workshop.images(), Vec::<Value>::new());
    workshop.assert_tidy();
}

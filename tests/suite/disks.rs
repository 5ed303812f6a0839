//! Disks that are full: nothing half-made stays, and it works again once there is space.

use crate::support::{Ran, Workshop};

/// Size of the disk in KiB.
const DISK: u32 = 8192;

/// Runs `command` on a disk with `free` KiB left, not counting copies of libraries; makes room, and notes what is there.
fn on_small_disk(workshop: &Workshop, free: u32, command: &str) -> Ran {
    let filler = DISK - free;
    // What is not promised beforehand may run out.
    workshop.write("settings.toml", "[limits]\nreserve_mib = 0\n");
    workshop.run_script(&format!(
        "export IMAGEFORGE_CONFIG=settings.toml; mkdir data; mount -t tmpfs -o size={DISK}k none data\n\
         mkdir data/cache; mount -t tmpfs none data/cache\n\
         head -c {filler}k /dev/zero > data/filler\n\
         code=0; {command} || code=$?\n\
         rm data/filler\n\
         $IMAGEFORGE images list --format json --quiet > list.json\n\
         $IMAGEFORGE images check >&2\n\
         find data -type f > files\n\
         exit $code"
    ))
}

/// No body without a finished record, nothing in the folders for work under way.
#[track_caller]
fn assert_nothing_half_made(workshop: &Workshop) {
    let read = |name: &str| fs_err::read_to_string(workshop.path(name)).unwrap();
    let list: serde_json::Value = serde_json::from_str(&read("list.json")).unwrap();
    for image in list.as_array().unwrap() {
        let status = image["status"].as_str().unwrap();
        assert!(matches!(status, "COMPLETE" | "FAILED"), "{image:#}");
    }
    let is_complete = |file: &str| {
        list.as_array().unwrap().iter().any(|image| {
            file.contains(image["id"].as_str().unwrap()) && image["status"] == "COMPLETE"
        })
    };
    for file in read("files").lines() {
        let half = file.starts_with("data/work")
            || file.starts_with("data/tmp")
            || (file.ends_with("/body") && !is_complete(file));
        assert!(!half, "{file} in {list:#}");
    }
    workshop.assert_quiet();
}

#[test]
fn a_disk_that_is_full_from_the_start_takes_no_build() {
    let workshop = Workshop::new();
    let ran = on_small_disk(&workshop, 0, "$IMAGEFORGE build mock.tdl");
    ran.ended(70).says("no space left").says("hint: ");
    assert_nothing_half_made(&workshop);
}

#[test]
fn an_import_that_does_not_fit_leaves_nothing() {
    let workshop = Workshop::new();
    workshop.write("disk.raw", vec![7; 2 << 20]);
    let ran =
        on_small_disk(&workshop, 1024, "$IMAGEFORGE images import disk.raw --template mock.tdl");
    ran.ended(70).says("no space left").says("hint: ");
    assert_nothing_half_made(&workshop);
    assert_eq!(fs_err::read_to_string(workshop.path("list.json")).unwrap().trim(), "[]");
}

#[test]
fn an_import_whose_unpacked_disk_does_not_fit_leaves_nothing() {
    let workshop = Workshop::new();
    workshop.write("disk.raw", vec![7; 8 << 20]);
    let ran = on_small_disk(
        &workshop,
        1024,
        "qemu-img convert -q -c -f raw -O qcow2 disk.raw disk.qcow2 && \
         $IMAGEFORGE images import disk.qcow2 --template mock.tdl",
    );
    ran.ended(70).says("no space left").says("hint: ");
    assert_nothing_half_made(&workshop);
}

#[test]
fn a_disk_that_runs_full_at_any_moment_leaves_order() {
    for kilobytes in [0, 60, 120, 160, 200, 240, 280, 320, 400, 480] {
        let workshop = Workshop::new();
        let ran = on_small_disk(
            &workshop,
            kilobytes,
            "$IMAGEFORGE build mock.tdl --target mock --parameter log_lines=500",
        );
        if ran.code != Some(0) {
            assert!(ran.stderr.contains("error: "), "{kilobytes}k: {ran:#?}");
            assert!(ran.stderr.contains("hint: "), "{kilobytes}k: {ran:#?}");
        }
        assert_nothing_half_made(&workshop);
    }
}

//! A base image that is made in no time: a disk with a root file system and busybox in it.

use std::path::Path;

use crate::support::{Ran, Workshop};

/// Where the file system begins on the disk, in bytes.
const START: u64 = 1 << 20;

/// Bytes of the file system besides the noise.
const ROOM: u64 = 12 << 20;

/// What `/etc/greeting` holds.
pub(super) const GREETING: &str = "hello from the root file system\n";

/// A workshop with these plugins, and a base image in it, whose id is answered as well. Its root file system
/// has `noise_mib` MiB that no compression makes smaller.
#[track_caller]
pub(super) fn workshop_with_base(plugins: &[&str], noise_mib: u64) -> (Workshop, String) {
    let workshop = Workshop::new();
    for plugin in plugins {
        workshop.link(plugin);
    }
    let root = workshop.path("root");
    fill(&root, noise_mib);
    make_disk(&workshop, &root, ROOM + (noise_mib << 20));
    let import = ["images", "import", "disk.raw", "--template", "mock.tdl"];
    let base = workshop.json(&import)["id"].as_str().unwrap().to_owned();
    for path in ["disk.raw", "file-system"] {
        fs_err::remove_file(workshop.path(path)).unwrap();
    }
    fs_err::remove_dir_all(root).unwrap();
    (workshop, base)
}

/// Writes the files of a system that is not much more than busybox.
fn fill(root: &Path, noise_mib: u64) {
    for folder in ["bin", "etc", "var/noise", "usr/share"] {
        fs_err::create_dir_all(root.join(folder)).unwrap();
    }
    fs_err::copy("/bin/busybox", root.join("bin/busybox")).unwrap();
    for program in ["sh", "cat", "ls", "id"] {
        fs_err::os::unix::fs::symlink("busybox", root.join("bin").join(program)).unwrap();
    }
    let write = |path: &str, text: &str| fs_err::write(root.join(path), text).unwrap();
    write("etc/greeting", GREETING);
    write("etc/fstab", "UUID=0 / ext4 defaults 0 1\n");
    write("etc/passwd", "root:x:0:0:root:/root:/bin/sh\n");
    write("etc/os-release", "ID=suite\nNAME=\"A system of the suite\"\n");
    let mut random = fastrand::Rng::with_seed(7);
    for number in 0..noise_mib {
        let noise: Vec<u8> = std::iter::repeat_with(|| random.u8(..)).take(1 << 20).collect();
        fs_err::write(root.join("var/noise").join(number.to_string()), noise).unwrap();
    }
}

/// Makes `disk.raw`: a partition table and the file system of `root`.
#[track_caller]
fn make_disk(workshop: &Workshop, root: &Path, bytes: u64) {
    let script = "truncate --size $2 file-system\n\
         mke2fs -q -t ext4 -E root_owner=0:0 -d \"$1\" file-system\n\
         truncate --size $(($2 + 2 * $3)) disk.raw\n\
         echo \"start=$(($3 / 512)), size=$(($2 / 512)), type=4f68bce3-e8cd-4db1-96e7-fbcaf984b709\" |\n\
         sfdisk --quiet --label gpt disk.raw\n\
         dd if=file-system of=disk.raw bs=1M seek=$(($3 >> 20)) conv=notrunc,sparse status=none\n";
    let ran: Ran = workshop
        .environment("sh")
        // Administrators' programs are not in everybody's path.
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .args(["-euc", script, "sh"])
        .arg(root)
        .args([bytes.to_string(), START.to_string()])
        .output()
        .unwrap()
        .into();
    ran.done();
}

#[test]
fn the_base_image_is_a_disk() {
    let (workshop, base) = workshop_with_base(&["raw"], 1);
    let made = workshop.json(&["target-image", "raw", "--id", &base]);
    assert_eq!(made["images"][1]["status"], "COMPLETE", "{made:#}");
    workshop.assert_tidy();
}

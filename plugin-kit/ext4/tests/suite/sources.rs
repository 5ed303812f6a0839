//! Trees read from directories and archives.

use std::io::{Seek, SeekFrom, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::tools::{Image, MIB, options};
use ext4::{Error, Kind, Tree};
use fs_err::os::unix::fs::symlink;

/// Makes the same directory in the order of `numbers`.
fn make(root: &Path, numbers: impl Iterator<Item = u32>) {
    fs_err::create_dir_all(root.join("sub/deeper")).unwrap();
    for number in numbers {
        let path = root.join(format!("sub/{number}"));
        fs_err::write(&path, number.to_string().repeat(100)).unwrap();
        set_time(&path);
    }
    fs_err::hard_link(root.join("sub/7"), root.join("linked")).unwrap();
    symlink("sub/7", root.join("symbolic")).unwrap();
    let mode = std::fs::Permissions::from_mode(0o750);
    fs_err::set_permissions(root.join("sub/deeper"), mode).unwrap();
    for path in ["sub/deeper", "sub", ""] {
        set_time(&root.join(path));
    }
    set_time(&root.join("symbolic"));
}

fn set_time(path: &Path) {
    use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, utimensat};
    let time = Timespec { tv_sec: 1_600_000_000, tv_nsec: 7 };
    let times = Timestamps { last_access: time, last_modification: time };
    utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
}

#[test]
fn copies_of_a_directory_give_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let (first, second) = (folder.path().join("first"), folder.path().join("second"));
    make(&first, 0..300);
    make(&second, (0..300).rev());
    let options = options(16 * MIB);
    let image = Image::checked(&Tree::from_dir(&first).unwrap(), &options);
    let copy = Image::checked(&Tree::from_dir(&second).unwrap(), &options);
    assert!(image.bytes() == copy.bytes());
    assert_eq!(image.cat("linked"), "7".repeat(100).as_bytes());
    let stat = image.debugfs("stat linked");
    assert!(stat.contains("Links: 2") && stat.contains("mtime: 0x5f5e1000:0000001c"), "{stat}");
    assert!(image.debugfs("stat sub/deeper").contains("Mode:  0750"));
    assert!(image.debugfs("stat symbolic").contains("Fast link dest: \"sub/7\""));
}

#[test]
fn files_with_holes_read_back_whole() {
    let folder = tempfile::tempdir().unwrap();
    let mut file = fs_err::File::create(folder.path().join("holes")).unwrap();
    for offset in [5_000_000, 9_000_001] {
        file.seek(SeekFrom::Start(offset)).unwrap();
        file.write_all(&vec![7; 100_000]).unwrap();
    }
    file.set_len(12_345_678).unwrap();
    let image = Image::checked(&Tree::from_dir(folder.path()).unwrap(), &options(32 * MIB));
    let expected = fs_err::read(folder.path().join("holes")).unwrap();
    assert!(image.cat("holes") == expected);
    assert!(image.summary.written_bytes < MIB, "{:?}", image.summary);
}

#[test]
fn attributes_of_files_on_disk_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    fs_err::write(&path, "x").unwrap();
    let flags = rustix::fs::XattrFlags::empty();
    rustix::fs::setxattr(&path, "user.origin", b"test", flags).unwrap();
    let tree = Tree::from_dir(folder.path()).unwrap();
    assert_eq!(tree.get("file").unwrap().xattrs["user.origin"], b"test");
}

#[test]
fn a_directory_that_is_none_is_told() {
    let file = tempfile::NamedTempFile::new().unwrap();
    assert!(matches!(Tree::from_dir(file.path()), Err(Error::MustBeDirectory { .. })));
    let missing = Tree::from_dir(Path::new("/does/not/exist")).unwrap_err();
    assert_eq!(missing.to_string(), "cannot read `/does/not/exist`");
}

#[test]
fn an_archive_gives_its_members_without_being_unpacked() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("root.tar");
    let mut archive = tar::Builder::new(fs_err::File::create(&path).unwrap());
    let header = |kind: tar::EntryType, size: usize| {
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(kind);
        header.set_size(size as u64);
        header.set_mode(0o755);
        header.set_uid(42);
        header.set_gid(43);
        header.set_mtime(1_600_000_000);
        header
    };
    let mut directory = header(tar::EntryType::Directory, 0);
    archive.append_data(&mut directory, "./etc/", &[][..]).unwrap();
    let pax = [("mtime", &b"1600000000.5"[..]), ("SCHILY.xattr.user.origin", &b"tar"[..])];
    archive.append_pax_extensions(pax).unwrap();
    let mut file = header(tar::EntryType::Regular, 5);
    archive.append_data(&mut file, "./etc/name", &b"image"[..]).unwrap();
    let mut link = header(tar::EntryType::Link, 0);
    archive.append_link(&mut link, "./etc/same", "./etc/name").unwrap();
    let mut device = header(tar::EntryType::Char, 0);
    device.set_device_major(5).unwrap();
    device.set_device_minor(1).unwrap();
    archive.append_data(&mut device, "./dev/console", &[][..]).unwrap();
    archive.finish().unwrap();

    let tree = Tree::from_tar(&path).unwrap();
    let image = Image::checked(&tree, &options(8 * MIB));
    assert_eq!(image.cat("etc/same"), b"image");
    let stat = image.debugfs("stat etc/name");
    assert!(stat.contains("User:    42   Group:    43"), "{stat}");
    assert!(stat.contains("mtime: 0x5f5e1000:77359400") && stat.contains("Links: 2"), "{stat}");
    assert!(image.debugfs("ea_list etc/name").contains("user.origin (3) = \"tar\""));
    let console = tree.get("dev/console").unwrap();
    assert!(matches!(console.kind, Kind::CharDevice { major: 5, minor: 1 }));
}

#[test]
fn an_archive_that_ends_early_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bad.tar");
    fs_err::write(&path, "not an archive".repeat(100)).unwrap();
    assert!(matches!(Tree::from_tar(&path), Err(Error::Read { .. })));
}

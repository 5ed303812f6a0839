//! What other programs say about the disks made here.

use super::*;
use crate::run::{CommandLine, directly};
use camino::{Utf8Path, Utf8PathBuf};
use std::collections::BTreeMap;

struct Folder {
    _keep: tempfile::TempDir,
    path: Utf8PathBuf,
}

fn folder() -> Folder {
    let keep = tempfile::tempdir().unwrap();
    let path = Utf8PathBuf::from_path_buf(keep.path().to_owned()).unwrap();
    Folder { _keep: keep, path }
}

fn tool(argv: &[&str]) -> String {
    let command = CommandLine::new(argv[0]).args(argv[1..].to_vec());
    directly(&command).unwrap()
}

fn layout() -> Layout {
    let root_bytes = Some(20 * MIB + 1);
    let spec = DiskSpec { seed: "a disk".to_owned(), esp_bytes: 32 * MIB, root_bytes };
    Layout::new(&spec).unwrap()
}

fn files() -> BTreeMap<String, Vec<u8>> {
    let loader = (0_u32..300_000).flat_map(u32::to_le_bytes).collect();
    BTreeMap::from([
        ("EFI/BOOT/BOOTX64.EFI".to_owned(), loader),
        ("boot/grub/grub.cfg".to_owned(), b"set timeout=0\n".to_vec()),
        ("a rather long file name.text".to_owned(), Vec::new()),
    ])
}

fn esp(bytes: u64) -> Vec<u8> {
    let spec = FatSpec { bytes, volume_id: 0xCAFE_F00D, label: "esp".to_owned() };
    fat_image(&spec, &files()).unwrap()
}

#[test]
fn other_programs_accept_the_partition_tables() {
    let folder = folder();
    let path = folder.path.join("disk.raw");
    let layout = layout();
    drop(layout.create(&path, &[0x90; 440]).unwrap());
    assert!(tool(&["sgdisk", "-v", path.as_str()]).contains("No problems found"));
    let shown = tool(&["sgdisk", "-i", "1", path.as_str()]);
    assert!(shown.contains("21686148-6449-6E6F-744E-656564454649"), "{shown}");
    let root = layout.partition(Role::Root).unwrap();
    let shown = tool(&["sgdisk", "-i", "3", path.as_str()]).to_lowercase();
    assert!(shown.contains(&root.guid.to_string()), "{shown}");
    assert!(shown.contains(&format!("first sector: {}", root.first_lba())), "{shown}");
    let shown = tool(&["fdisk", "-l", path.as_str()]);
    assert!(shown.contains("gpt") && shown.contains("EFI System"), "{shown}");
}

#[test]
fn partitions_are_aligned_and_neither_overlap_nor_leave_the_disk() {
    let layout = layout();
    let mut free_from = MIB;
    for partition in layout.partitions() {
        assert_eq!((partition.start % MIB, partition.len % MIB), (0, 0));
        assert!(partition.start >= free_from);
        free_from = partition.start + partition.len;
    }
    assert!(free_from + 34 * SECTOR <= layout.disk_bytes());
}

#[test]
fn a_root_partition_takes_what_the_others_leave() {
    let layout = Layout::filling("seed", 100 * MIB + 5, 32 * MIB).unwrap();
    assert_eq!(layout.disk_bytes(), 100 * MIB);
    let error = Layout::filling("seed", 35 * MIB, 32 * MIB).unwrap_err();
    assert!(matches!(error, LayoutError::Disk { needed, .. } if needed == 36 * MIB));
}

#[test]
fn a_disk_grows_without_moving_its_partitions() {
    let folder = folder();
    let path = folder.path.join("disk.raw");
    let grown = layout().at_least(200 * MIB - 7).unwrap();
    assert_eq!(grown.disk_bytes(), 200 * MIB);
    assert_eq!(grown.partitions(), layout().partitions());
    drop(grown.create(&path, &[0; 440]).unwrap());
    assert!(tool(&["sgdisk", "-v", path.as_str()]).contains("No problems found"));
    assert_eq!(layout().at_least(1).unwrap(), layout());
    assert!(layout().at_least(u64::MAX).is_err());
}

#[test]
fn impossible_sizes_are_refused() {
    for root in [0, u64::MAX, i64::MAX as u64] {
        let spec = DiskSpec { seed: String::new(), esp_bytes: MIB, root_bytes: Some(root) };
        assert!(matches!(Layout::new(&spec), Err(LayoutError::Size { role: Role::Root, .. })));
    }
    assert!(Layout::filling("seed", u64::MAX, u64::MAX).is_err());
}

#[test]
fn the_same_seed_gives_the_same_bytes_and_another_seed_other_identifiers() {
    let folder = folder();
    let write = |name: &str, layout: &Layout| {
        let path = folder.path.join(name);
        drop(layout.create(&path, &[1; 440]).unwrap());
        fs_err::read(path).unwrap()
    };
    assert_eq!(write("a", &layout()), write("b", &layout()));
    let other = Layout::filling("another disk", layout().disk_bytes(), 32 * MIB).unwrap();
    assert_ne!(other.partitions()[0].guid, layout().partitions()[0].guid);
    assert_ne!(write("c", &other), write("d", &layout()));
}

#[test]
fn an_existing_file_is_not_overwritten() {
    let folder = folder();
    let path = folder.path.join("precious");
    fs_err::write(&path, "data").unwrap();
    assert!(layout().create(&path, &[0; 440]).is_err());
    assert_eq!(fs_err::read(&path).unwrap(), b"data");
}

#[test]
fn other_programs_read_the_files_of_both_kinds_of_fat() {
    for (size, kind) in [(32 * MIB, "16"), (80 * MIB, "32")] {
        let folder = folder();
        let path = folder.path.join("esp");
        fs_err::write(&path, esp(size)).unwrap();
        let shown = tool(&["fsck.vfat", "-n", "-v", path.as_str()]);
        let entry = format!("{kind} bit");
        assert!(shown.contains("bytes per cluster") || shown.contains(&entry), "{shown}");
        assert!(!shown.to_lowercase().contains("dirty"), "{shown}");
        let copy = folder.path.join("copy");
        tool(&["mcopy", "-i", path.as_str(), "::/EFI/BOOT/BOOTX64.EFI", copy.as_str()]);
        assert_eq!(fs_err::read(copy).unwrap(), files()["EFI/BOOT/BOOTX64.EFI"]);
        let shown = tool(&["mdir", "-i", path.as_str(), "::/"]);
        assert!(shown.contains("CAFE-F00D") && shown.contains("a rather long file"), "{shown}");
    }
}

#[test]
fn equal_files_give_an_equal_file_system() {
    assert_eq!(esp(32 * MIB), esp(32 * MIB));
}

#[test]
fn files_that_do_not_fit_are_an_error_that_names_the_largest() {
    let spec = FatSpec { bytes: 8 * MIB, volume_id: 1, label: "esp".to_owned() };
    let large = BTreeMap::from([("large".to_owned(), vec![1; 9 * 1024 * 1024])]);
    let error = fat_image(&spec, &large).unwrap_err();
    assert!(error.to_string().contains("`large`"), "{error}");
    for bytes in [0, MIB, 2048 * MIB] {
        let refused = fat_image(&FatSpec { bytes, ..spec.clone() }, &BTreeMap::new());
        assert_eq!(refused, Err(FatError::Size { bytes }));
    }
}

#[test]
fn every_size_has_the_number_of_clusters_that_its_kind_demands() {
    for mib in [8, 15, 16, 31, 32, 33, 63, 64, 65, 255, 256] {
        let spec = FatSpec { bytes: mib * MIB, volume_id: 1, label: String::new() };
        let folder = folder();
        let path = folder.path.join("esp");
        let file = fs_err::File::create(&path).unwrap();
        let image = fat_image(&spec, &files()).unwrap();
        file.set_len(spec.bytes).unwrap();
        write_sparse(&file, 0, &image).unwrap();
        let shown = tool(&["fsck.vfat", "-n", "-v", path.as_str()]);
        let kind = if mib < 64 { "16 bit" } else { "32 bit" };
        assert!(shown.contains(kind), "{mib} MiB: {shown}");
    }
}

#[test]
fn paths_that_collide_or_are_not_valid_are_refused() {
    for paths in [&["a", "A"][..], &["a", "a/b"], &["x/../y"], &["/x"], &["what?"]] {
        let files = paths.iter().map(|path| ((*path).to_owned(), vec![1])).collect();
        let spec = FatSpec { bytes: 8 * MIB, volume_id: 1, label: String::new() };
        let refused = fat_image(&spec, &files);
        assert!(matches!(refused, Err(FatError::Path { .. })), "{paths:?}");
    }
}

#[test]
fn zeros_are_not_written() {
    use std::os::unix::fs::MetadataExt;
    let folder = folder();
    let path: &Utf8Path = &folder.path.join("sparse");
    let file = fs_err::File::create(path).unwrap();
    let mut bytes = vec![0; 8 << 20];
    bytes[5_000_000] = 1;
    *bytes.last_mut().unwrap() = 2;
    write_sparse(&file, 4096, &bytes).unwrap();
    let written = fs_err::read(path).unwrap();
    assert!(written[..4096].iter().all(|byte| *byte == 0));
    assert_eq!(written[4096..], bytes);
    assert!(fs_err::metadata(path).unwrap().blocks() * 512 < 1 << 20);
}

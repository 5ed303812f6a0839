//! The root file system of a disk that may come from elsewhere, read without mounting it.
//!
//! [`root_tree`] looks for it behind a GPT (UEFI specification 2.10, chapter 5), a master boot record or
//! without any table. Several ext4 file systems are told apart by the type of their partition (Discoverable
//! Partitions Specification), then by its name, then by their size. Nothing on the disk is trusted.

use std::cmp::Reverse;
use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use camino::Utf8PathBuf;
use uuid::{Uuid, uuid};

use crate::sparse::{RawDisk, ReadAt};

/// Why no root file system was found or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RootError {
    /// There is none that can be read.
    #[error("`{disk}` has no ext4 root file system: {}", listed(found))]
    None {
        /// The disk.
        disk: Utf8PathBuf,
        /// What is there instead, one phrase per partition.
        found: Vec<String>,
    },
    /// There is one, which does not read.
    #[error("the root file system of `{disk}` cannot be read")]
    FileSystem {
        /// The disk.
        disk: Utf8PathBuf,
        /// What is wrong with it.
        #[source]
        source: ext4::ImageError,
    },
    /// The disk does not read.
    #[error("cannot read `{disk}`")]
    Disk {
        /// The disk.
        disk: Utf8PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

fn listed(found: &[String]) -> String {
    if found.is_empty() { "there is nothing on it".to_owned() } else { found.join(", ") }
}

/// Reads the root file system of `disk`, with what `keep` wants of it ([`ext4::Tree::from_image`]).
///
/// # Errors
/// [`RootError`].
pub fn root_tree(disk: RawDisk, keep: impl Fn(&Path) -> bool) -> Result<ext4::Tree, RootError> {
    let path = disk.path().to_owned();
    let failed = |source| RootError::Disk { disk: path.clone(), source };
    let partitions = partitions(&disk).map_err(failed)?;
    let mut found = Vec::new();
    let mut roots = Vec::new();
    for partition in partitions {
        let content = content(&disk, &partition.bytes).map_err(failed)?;
        if content == EXT4 {
            roots.push(partition);
        } else if partition.number == 0 {
            found.extend((content != UNKNOWN).then(|| content.to_owned()));
        } else {
            found.push(format!("partition {} holds {content}", partition.number));
        }
    }
    roots.sort_by_key(|root| (Reverse(root.rank), Reverse(root.bytes.end - root.bytes.start)));
    let Some(root) = roots.into_iter().next() else {
        return Err(RootError::None { disk: path, found });
    };
    let section = Section { disk, bytes: root.bytes };
    ext4::Tree::from_image(Arc::new(section), keep)
        .map_err(|source| RootError::FileSystem { disk: path, source })
}

/// A part of a disk.
struct Section {
    disk: RawDisk,
    bytes: Range<u64>,
}

impl ext4::ReadAt for Section {
    fn size_bytes(&self) -> u64 {
        self.bytes.end - self.bytes.start
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let end = offset.checked_add(buffer.len() as u64);
        if end.is_none_or(|end| end > self.size_bytes()) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.disk.read_exact_at(buffer, self.bytes.start + offset)
    }
}

/// Where a file system may lie.
#[derive(Debug)]
struct Candidate {
    /// Counted from 1; 0 stands for the whole disk.
    number: usize,
    bytes: Range<u64>,
    /// How much says that it is the root, apart from its size.
    rank: u8,
}

/// Every partition within the disk, or the whole disk when it has no table.
fn partitions(disk: &RawDisk) -> io::Result<Vec<Candidate>> {
    for sector in [512, 4096] {
        // The copy counts where the first table is damaged.
        let last = (disk.size_bytes() / sector).saturating_sub(1);
        for header in [1, last] {
            if let Some(found) = gpt(disk, sector, header)? {
                return Ok(found);
            }
        }
    }
    let whole = Candidate { number: 0, bytes: 0..disk.size_bytes(), rank: 0 };
    if content(disk, &whole.bytes)? == EXT4 {
        return Ok(vec![whole]);
    }
    let found = master_boot_record(disk)?;
    Ok(if found.is_empty() { vec![whole] } else { found })
}

/// The partitions of the GPT whose header is at `header`, if there is one.
fn gpt(disk: &RawDisk, sector: u64, header: u64) -> io::Result<Option<Vec<Candidate>>> {
    const MAX_TABLE_BYTES: u32 = 1 << 20;
    let Some(mut bytes) = part(disk, header * sector, 512)? else { return Ok(None) };
    let length = u32_at(&bytes, 12) as usize;
    if bytes[..8] != *b"EFI PART" || !(92..=512).contains(&length) {
        return Ok(None);
    }
    let checksum = u32_at(&bytes, 16);
    bytes[16..20].fill(0);
    if crc32fast::hash(&bytes[..length]) != checksum {
        return Ok(None);
    }
    let (count, size) = (u32_at(&bytes, 80), u32_at(&bytes, 84));
    let Some(table_bytes) = count.checked_mul(size).filter(|bytes| *bytes <= MAX_TABLE_BYTES)
    else {
        return Ok(None);
    };
    let start = u64_at(&bytes, 72).checked_mul(sector);
    let table = match start {
        Some(start) if size >= 128 => part(disk, start, table_bytes as usize)?,
        _ => None,
    };
    let Some(table) = table.filter(|table| crc32fast::hash(table) == u32_at(&bytes, 88)) else {
        return Ok(None);
    };
    let mut found = Vec::new();
    for (number, entry) in (1..).zip(table.chunks_exact(size as usize)) {
        let kind = Uuid::from_slice_le(&entry[..16]).unwrap_or_default();
        let end = u64_at(entry, 40).checked_add(1).and_then(|end| end.checked_mul(sector));
        let start = u64_at(entry, 32).checked_mul(sector);
        if let (Some(start), Some(end)) = (start, end)
            && !kind.is_nil()
            && start < end
            && end <= disk.size_bytes()
        {
            let rank = if ROOT_TYPES.contains(&kind) { 2 } else { u8::from(is_root(entry)) };
            found.push(Candidate { number, bytes: start..end, rank });
        }
    }
    Ok(Some(found))
}

/// Whether the name of the partition, in UTF-16, is `root`.
fn is_root(entry: &[u8]) -> bool {
    let units = entry[56..128].chunks_exact(2).map(|unit| u16::from_le_bytes([unit[0], unit[1]]));
    units.take_while(|unit| *unit != 0).eq("root".encode_utf16())
}

/// The primary partitions; logical ones hold no root in practice.
fn master_boot_record(disk: &RawDisk) -> io::Result<Vec<Candidate>> {
    const EMPTY_EXTENDED_OR_GPT: [u8; 5] = [0, 0x05, 0x0f, 0x85, 0xee];
    let Some(sector) = part(disk, 0, 512)?.filter(|sector| sector[510..] == [0x55, 0xaa]) else {
        return Ok(Vec::new());
    };
    let mut found = Vec::new();
    for (number, entry) in (1..).zip(sector[446..510].chunks_exact(16)) {
        let start = u64::from(u32_at(entry, 8)) * 512;
        let end = start + u64::from(u32_at(entry, 12)) * 512;
        let used = !EMPTY_EXTENDED_OR_GPT.contains(&entry[4]);
        if used && 0 < start && start < end && end <= disk.size_bytes() {
            found.push(Candidate { number, bytes: start..end, rank: 0 });
        }
    }
    Ok(found)
}

const EXT4: &str = "ext4";
const UNKNOWN: &str = "nothing known";
/// What begins with what: offset, bytes, name.
const MAGICS: [(u64, &[u8], &str); 8] = [
    (0x438, &[0x53, 0xef], EXT4),
    (0, b"XFSB", "XFS"),
    (0x1_0040, b"_BHRfS_M", "Btrfs"),
    (0, b"hsqs", "SquashFS"),
    (0, b"LUKS\xba\xbe", "an encrypted volume (LUKS)"),
    (512, b"LABELONE", "a physical volume (LVM)"),
    (4086, b"SWAPSPACE2", "swap space"),
    (510, &[0x55, 0xaa], "FAT"),
];

/// What lies in `bytes` of the disk, by its magic numbers.
fn content(disk: &RawDisk, bytes: &Range<u64>) -> io::Result<&'static str> {
    for (offset, magic, name) in MAGICS {
        let at = bytes.start.saturating_add(offset);
        if at.saturating_add(magic.len() as u64) <= bytes.end
            && part(disk, at, magic.len())?.as_deref() == Some(magic)
        {
            // A boot sector of the whole disk looks like FAT.
            let boot_sector = name == "FAT" && bytes.start == 0;
            return Ok(if boot_sector { UNKNOWN } else { name });
        }
    }
    Ok(UNKNOWN)
}

/// `length` bytes at `offset`, if the disk reaches so far.
fn part(disk: &RawDisk, offset: u64, length: usize) -> io::Result<Option<Vec<u8>>> {
    if offset.checked_add(length as u64).is_none_or(|end| end > disk.size_bytes()) {
        return Ok(None);
    }
    let mut bytes = vec![0; length];
    disk.read_exact_at(&mut bytes, offset)?;
    Ok(Some(bytes))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}

/// Roots for x86-64, ARM64, x86, ARM and RISC-V 64 (Discoverable Partitions Specification, read 2026-11).
const ROOT_TYPES: [Uuid; 5] = [
    uuid!("4f68bce3-e8cd-4db1-96e7-fbcaf984b709"),
    uuid!("b921b045-1df0-41c3-af44-4c6f280d3fae"),
    uuid!("44479540-f297-41b2-9af7-d131d5f0458a"),
    uuid!("69dad710-2ce4-4e3c-b16c-21a1d49abed3"),
    uuid!("72ec70a6-cf74-40e6-bd49-4bda08e8f224"),
];

#[cfg(test)]
mod tests {
    use camino::Utf8Path;

    use super::*;
    use crate::disk::{DiskSpec, Layout, MIB, Role};

    fn tree(name: &str) -> ext4::Tree {
        let mut tree = ext4::Tree::new();
        tree.add(name, ext4::Entry::file("x")).unwrap();
        tree
    }

    fn put(file: &fs_err::File, start: u64, name: &str, bytes: u64) {
        let options = ext4::Options::new(bytes, [1; 16], 0);
        tree(name).write(&options, &mut ext4::Region::new(file.file(), start)).unwrap();
    }

    fn found(path: &Utf8Path) -> Result<Vec<String>, RootError> {
        let tree = root_tree(RawDisk::open(path).unwrap(), |path| path != Path::new("lost+found"))?;
        Ok(tree.paths().iter().map(|path| path.display().to_string()).collect())
    }

    fn folder() -> (tempfile::TempDir, Utf8PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let disk = Utf8PathBuf::try_from(folder.path().join("disk")).unwrap();
        (folder, disk)
    }

    fn disk_with_table(path: &Utf8Path) -> (fs_err::File, Layout) {
        let spec =
            DiskSpec { seed: "s".to_owned(), esp_bytes: 16 * MIB, root_bytes: Some(16 * MIB) };
        let layout = Layout::new(&spec).unwrap();
        (layout.create(path, &[0; 440]).unwrap(), layout)
    }

    #[test]
    fn the_partition_named_root_is_read_even_when_another_one_is_as_large() {
        let (_folder, path) = folder();
        let (file, layout) = disk_with_table(&path);
        put(&file, layout.partition(Role::Esp).unwrap().start, "other", 16 * MIB);
        put(&file, layout.partition(Role::Root).unwrap().start, "root", 16 * MIB);
        assert_eq!(found(&path).unwrap(), ["lost+found", "root"]);
    }

    #[test]
    fn the_copy_of_the_table_counts_when_the_table_is_damaged() {
        let (_folder, path) = folder();
        let (file, layout) = disk_with_table(&path);
        put(&file, layout.partition(Role::Root).unwrap().start, "root", 16 * MIB);
        fs_err::os::unix::fs::FileExt::write_all_at(&file, &[0; 8], 512).unwrap();
        assert_eq!(found(&path).unwrap(), ["lost+found", "root"]);
    }

    #[test]
    fn a_disk_without_a_table_and_one_with_an_old_table_are_read() {
        let (_folder, path) = folder();
        let file = fs_err::File::create(&path).unwrap();
        file.set_len(16 * MIB).unwrap();
        put(&file, 0, "whole", 8 * MIB);
        assert_eq!(found(&path).unwrap(), ["lost+found", "whole"]);

        let file = fs_err::File::create(&path).unwrap();
        file.set_len(16 * MIB).unwrap();
        put(&file, 4 * MIB, "old", 8 * MIB);
        let mut sector = [0; 512];
        sector[446 + 4] = 0x83;
        sector[446 + 8..446 + 12].copy_from_slice(&8192_u32.to_le_bytes());
        sector[446 + 12..446 + 16].copy_from_slice(&16384_u32.to_le_bytes());
        sector[510..].copy_from_slice(&[0x55, 0xaa]);
        fs_err::os::unix::fs::FileExt::write_all_at(&file, &sector, 0).unwrap();
        assert_eq!(found(&path).unwrap(), ["lost+found", "old"]);
    }

    #[test]
    fn a_disk_without_a_root_says_what_is_there_instead() {
        let (_folder, path) = folder();
        let (file, layout) = disk_with_table(&path);
        let root = layout.partition(Role::Root).unwrap().start;
        fs_err::os::unix::fs::FileExt::write_all_at(&file, b"XFSB", root).unwrap();
        let error = found(&path).unwrap_err().to_string();
        assert!(
            error.contains("partition 2 holds nothing known, partition 3 holds XFS"),
            "{error}"
        );
        fs_err::write(&path, [0; 4096]).unwrap();
        let error = found(&path).unwrap_err().to_string();
        assert!(error.ends_with("there is nothing on it"), "{error}");
    }
}

//! FAT file systems, as firmware reads them from the EFI system partition.
//!
//! Written here, because the crate `fatfs` 0.3 either loses long names or writes them for `.` and
//! `..`, which `fsck.vfat` rejects. A file system that is made once from known files is little work:
//! every file and folder is one run of clusters. Serial number and time stamps are fixed, so the
//! result depends on nothing but the arguments. Source: Microsoft's FAT specification, 1.03.

mod geometry;
mod name;
mod tree;

use geometry::{Geometry, Table};
use std::collections::BTreeMap;

/// What a FAT file system is called and how large it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FatSpec {
    /// Size in bytes, 8 MiB to 1 GiB; below 64 MiB it becomes FAT16, else FAT32.
    pub bytes: u64,
    /// Serial number; Linux and GRUB show it as the UUID `XXXX-XXXX`.
    pub volume_id: u32,
    /// Label: the first 11 bytes count, in upper case; an empty one becomes `NO NAME`.
    pub label: String,
}

impl FatSpec {
    /// The identifier by which `search --fs-uuid` and `root=UUID=` know this file system.
    pub fn uuid(&self) -> String {
        format!("{:04X}-{:04X}", self.volume_id >> 16, self.volume_id & 0xFFFF)
    }

    /// The label in the fixed width of a directory entry.
    fn padded_label(&self) -> [u8; 11] {
        let mut padded = [b' '; 11];
        let label = if self.label.is_empty() { "NO NAME" } else { &self.label };
        for (to, from) in padded.iter_mut().zip(label.bytes()) {
            *to = from.to_ascii_uppercase();
        }
        padded
    }
}

/// Why a FAT file system could not be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FatError {
    /// The size does not suit FAT16 or FAT32.
    #[error("cannot make a FAT file system of {bytes} bytes")]
    Size {
        /// The size that was asked for.
        bytes: u64,
    },
    /// A path cannot stand in a FAT file system, or differs from another one in case only.
    #[error("`{path}` is not valid in a FAT file system")]
    Path {
        /// The path.
        path: String,
    },
    /// The files do not fit.
    #[error(
        "files of {needed} bytes do not fit a FAT file system of {bytes} bytes: no room for `{path}`"
    )]
    Full {
        /// The first file without room.
        path: String,
        /// All files together, in whole clusters.
        needed: u64,
        /// Size of the file system.
        bytes: u64,
    },
}

/// The bytes of a FAT file system that holds `files`, by their paths (`EFI/BOOT/BOOTX64.EFI`).
///
/// EDK II boots from both kinds.
///
/// # Errors
/// The size is out of range, a path is not valid on FAT, or the files do not fit.
pub fn fat_image(spec: &FatSpec, files: &BTreeMap<String, Vec<u8>>) -> Result<Vec<u8>, FatError> {
    let geometry = Geometry::new(spec.bytes)?;
    let tree = tree::Tree::new(spec, files)?;
    let mut image = vec![0; geometry.bytes()];
    geometry.write_boot_sectors(&mut image, spec);
    let mut table = Table::new();
    tree.write(&mut image, &geometry, &mut table)?;
    geometry.write_table(&mut image, &table);
    Ok(image)
}

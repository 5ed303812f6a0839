//! A disk that boots on BIOS and UEFI, assembled in user space in one sparse raw file.
//!
//! No loop device, no mount, no root: [`Layout`] computes where the partitions lie, writes the
//! protective MBR and both GPTs, and the contents are written at the partitions' offsets by
//! [`fat_image`], the `ext4` crate and [`crate::boot`]. Every identifier is derived from a seed, so
//! the same input gives the same bytes.
//!
//! The order is BIOS boot partition, EFI system partition, root. Root comes last so that a cloud can
//! grow it together with the disk.

mod fat;
mod root;
mod table;
#[cfg(test)]
mod tests;
mod write;

pub use fat::{FatError, FatSpec, fat_image};
pub use root::{RootError, root_tree};
pub use table::LayoutError;
pub use write::write_sparse;

use uuid::Uuid;

/// 1 MiB, the alignment and granularity of all partitions.
pub const MIB: u64 = 1024 * 1024;
/// Bytes of a logical sector; the only sector size that BIOS boot knows.
pub const SECTOR: u64 = 512;

/// What lies in a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// GRUB's core image, which the MBR code loads.
    BiosBoot,
    /// EFI system partition, a FAT file system.
    Esp,
    /// Root file system.
    Root,
}

/// One partition of a [`Layout`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    /// What lies in it.
    pub role: Role,
    /// First byte on the disk, a multiple of [`MIB`].
    pub start: u64,
    /// Size in bytes, a multiple of [`MIB`].
    pub len: u64,
    /// Its unique GUID: the `PARTUUID` of a running Linux.
    pub guid: Uuid,
}

impl Partition {
    /// The first sector, counted in [`SECTOR`]s.
    pub fn first_lba(&self) -> u64 {
        self.start / SECTOR
    }
}

/// What a [`Layout`] is computed from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskSpec {
    /// Text from which every identifier of the disk is derived.
    pub seed: String,
    /// Size of the EFI system partition in bytes, rounded up to whole [`MIB`].
    pub esp_bytes: u64,
    /// Size of the root partition in bytes, rounded up to whole [`MIB`]; none when `None`.
    pub root_bytes: Option<u64>,
}

/// Where everything on a disk lies, and what it is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    seed: String,
    partitions: Vec<Partition>,
    disk_bytes: u64,
}

impl Layout {
    /// Places the partitions of `spec` one after the other.
    ///
    /// # Errors
    /// A size is zero or beyond what the disk format can express.
    pub fn new(spec: &DiskSpec) -> Result<Self, LayoutError> {
        let mut wanted = vec![(Role::BiosBoot, MIB), (Role::Esp, spec.esp_bytes)];
        wanted.extend(spec.root_bytes.map(|bytes| (Role::Root, bytes)));
        let mut layout =
            Self { seed: spec.seed.clone(), partitions: Vec::new(), disk_bytes: 2 * MIB };
        let mut start = MIB;
        for (role, bytes) in wanted {
            // Linux addresses a block device with signed 64-bit offsets.
            let len = bytes
                .checked_next_multiple_of(MIB)
                .filter(|len| *len > 0 && *len < i64::MAX as u64 - start)
                .ok_or(LayoutError::Size { role, bytes })?;
            let guid = layout.uuid(&format!("partition {role:?}"));
            layout.partitions.push(Partition { role, start, len, guid });
            start += len;
        }
        // The last MiB holds the backup partition table.
        layout.disk_bytes =
            start.checked_add(MIB).ok_or(LayoutError::Size { role: Role::Root, bytes: start })?;
        Ok(layout)
    }

    /// A disk of `disk_bytes`, rounded down to whole [`MIB`], whose root partition takes what the
    /// other partitions leave.
    ///
    /// # Errors
    /// Nothing is left for it.
    pub fn filling(seed: &str, disk_bytes: u64, esp_bytes: u64) -> Result<Self, LayoutError> {
        // First MiB, BIOS boot partition and last MiB.
        let fixed = esp_bytes.div_ceil(MIB).saturating_mul(MIB).saturating_add(3 * MIB);
        let root_bytes = (disk_bytes / MIB * MIB).saturating_sub(fixed);
        if root_bytes == 0 {
            let needed = fixed.saturating_add(MIB);
            return Err(LayoutError::Disk { bytes: disk_bytes, needed });
        }
        let (seed, root_bytes) = (seed.to_owned(), Some(root_bytes));
        Self::new(&DiskSpec { seed, esp_bytes, root_bytes })
    }

    /// Makes the disk at least `bytes` large, rounded up to whole [`MIB`]; what is added lies free
    /// behind the last partition.
    ///
    /// # Errors
    /// No disk can be that large.
    pub fn at_least(mut self, bytes: u64) -> Result<Self, LayoutError> {
        let bytes = bytes
            .checked_next_multiple_of(MIB)
            .filter(|bytes| i64::try_from(*bytes).is_ok())
            .ok_or(LayoutError::Disk { bytes, needed: self.disk_bytes })?;
        self.disk_bytes = self.disk_bytes.max(bytes);
        Ok(self)
    }

    /// Size of the whole disk in bytes.
    pub fn disk_bytes(&self) -> u64 {
        self.disk_bytes
    }

    /// All partitions in the order on the disk; the first one is number 1.
    pub fn partitions(&self) -> &[Partition] {
        &self.partitions
    }

    /// The partition with this role, if the disk has one.
    pub fn partition(&self, role: Role) -> Option<&Partition> {
        self.partitions.iter().find(|partition| partition.role == role)
    }

    /// An identifier named `name`, derived from the seed: the UUID of a file system, for example.
    pub fn uuid(&self, name: &str) -> Uuid {
        derived_uuid(&self.seed, name)
    }
}

/// The identifier named `name` that belongs to `seed`.
pub fn derived_uuid(seed: &str, name: &str) -> Uuid {
    let seed = Uuid::new_v5(&NAMESPACE, seed.as_bytes());
    Uuid::new_v5(&seed, name.as_bytes())
}

/// Namespace of all derived identifiers, drawn at random once (2026-11).
const NAMESPACE: Uuid = Uuid::from_u128(0x7f0d_31c2_92a4_4d55_8e6b_0c1f_5ad4_e730);

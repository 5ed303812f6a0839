//! Writing the protective MBR and the two copies of the GPT (UEFI specification 2.10, chapter 5).
//!
//! The tables come from the crate `gpt`; only its functions that take complete partitions are used,
//! because `add_partition` draws random identifiers.

use super::{Layout, Partition, Role, SECTOR};
use camino::Utf8Path;
use fs_err::File;
use gpt::disk::LogicalBlockSize;
use gpt::mbr::ProtectiveMBR;
use gpt::partition_types;
use std::collections::BTreeMap;

/// Why a disk could not be laid out or its tables not be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LayoutError {
    /// A partition is empty or too large.
    #[error("partition `{role:?}` cannot have {bytes} bytes")]
    Size {
        /// The partition.
        role: Role,
        /// The size that was asked for.
        bytes: u64,
    },
    /// The disk is smaller than what must be on it, or larger than any disk.
    #[error("disk cannot have {bytes} bytes: its partitions need {needed} bytes")]
    Disk {
        /// The size that was asked for.
        bytes: u64,
        /// The least size.
        needed: u64,
    },
    /// The file could not be changed.
    #[error("cannot write the partition table")]
    Io(#[from] std::io::Error),
    /// The partition table was refused.
    #[error("cannot write the partition table")]
    Gpt(#[from] gpt::GptError),
    /// The protective master boot record was refused.
    #[error("cannot write the master boot record")]
    Mbr(#[from] gpt::mbr::MBRError),
}

impl Layout {
    /// Makes a sparse file of the size of the disk at `path` and writes its partition tables, with
    /// `boot_code` in the first 440 bytes of the master boot record. The file is empty otherwise.
    ///
    /// # Errors
    /// The file exists already or cannot be written.
    pub fn create(&self, path: &Utf8Path, boot_code: &[u8; 440]) -> Result<File, LayoutError> {
        // The table writer reads back what it wrote.
        let file = File::options().read(true).write(true).create_new(true).open(path)?;
        file.set_len(self.disk_bytes)?;
        let mut device = file.file();
        // A disk above 2 TiB is described by the largest number, as the specification demands.
        let last = u32::try_from(self.disk_bytes / SECTOR - 1).unwrap_or(u32::MAX);
        let mut mbr = ProtectiveMBR::with_lb_size(last);
        mbr.set_bootcode(*boot_code);
        mbr.overwrite_lba0(&mut device)?;
        let mut disk = gpt::GptConfig::new()
            .writable(true)
            .logical_block_size(LogicalBlockSize::Lb512)
            .create_from_device(device, Some(self.uuid("disk")))?;
        let entries = (1..).zip(self.partitions.iter().map(entry)).collect::<BTreeMap<u32, _>>();
        disk.update_partitions(entries)?;
        disk.write()?;
        Ok(file)
    }
}

fn entry(partition: &Partition) -> gpt::partition::Partition {
    let (part_type_guid, name) = match partition.role {
        Role::BiosBoot => (partition_types::BIOS, "bios-boot"),
        Role::Esp => (partition_types::EFI, "esp"),
        Role::Root => (partition_types::LINUX_FS, "root"),
    };
    gpt::partition::Partition {
        part_type_guid,
        part_guid: partition.guid,
        first_lba: partition.first_lba(),
        last_lba: (partition.start + partition.len) / SECTOR - 1,
        flags: 0,
        name: name.to_owned(),
    }
}

//! Placing GRUB on a disk that a BIOS boots, without loop device or device file.
//!
//! The BIOS loads the first sector (`boot.img`), which loads the first sector of the core image,
//! which loads the rest of it. Each knows the place of the next by numbers that are patched in here,
//! at the offsets of GRUB's `include/grub/i386/pc/boot.h` (version 2.06; the same since 2.00).

use std::ops::Range;

/// GRUB, ready for one disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BiosBoot {
    /// Code for the first 440 bytes of the disk.
    pub boot_code: [u8; 440],
    /// Contents of the BIOS boot partition.
    pub core: Vec<u8>,
}

/// Why GRUB cannot be placed.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum BiosBootError {
    /// `boot.img` is not a boot sector of the known form.
    #[error("GRUB's `boot.img` has an unknown form ({len} bytes)")]
    BootImage {
        /// Its size.
        len: usize,
    },
    /// The core image does not begin with the sector that loads the rest.
    #[error("GRUB's core image has an unknown form ({len} bytes)")]
    CoreImage {
        /// Its size.
        len: usize,
    },
    /// The core image is larger than the partition for it.
    #[error(
        "GRUB's core image of {len} bytes does not fit the BIOS boot partition of {room} bytes"
    )]
    TooLarge {
        /// Size of the core image.
        len: usize,
        /// Size of the partition.
        room: u64,
    },
}

/// Fits `boot_img` and the core image `core` to a BIOS boot partition that begins at sector
/// `first_lba` and has `room` bytes.
///
/// # Errors
/// An image has not the form that GRUB 2 gives it, or the core image is too large.
pub fn embed(
    boot_img: &[u8],
    core: &[u8],
    first_lba: u64,
    room: u64,
) -> Result<BiosBoot, BiosBootError> {
    let unknown_boot = || BiosBootError::BootImage { len: boot_img.len() };
    let mut boot_sector: [u8; SECTOR] = boot_img.try_into().map_err(|_| unknown_boot())?;
    let drive_check = &mut boot_sector[DRIVE_CHECK];
    // A short jump over the check for a floppy drive.
    if drive_check[0] != 0xEB || !boot_img.ends_with(&[0x55, 0xAA]) {
        return Err(unknown_boot());
    }
    // Some BIOSes hand over a wrong drive number; this makes GRUB insist on a hard disk.
    drive_check.copy_from_slice(&[NOP, NOP]);
    boot_sector[KERNEL_SECTOR].copy_from_slice(&first_lba.to_le_bytes());

    let unknown_core = || BiosBootError::CoreImage { len: core.len() };
    let mut core = core.to_vec();
    // The list holds one run of sectors: start, number of sectors, segment. An empty one ends it.
    let list = core.get_mut(BLOCK_LIST).ok_or_else(unknown_core)?;
    let (end, run) = list.split_at_mut(ENTRY);
    if end[8..10] != [0, 0] || run[8..10] == [0, 0] {
        return Err(unknown_core());
    }
    run[..8].copy_from_slice(&(first_lba + 1).to_le_bytes());
    if core.len() as u64 > room {
        return Err(BiosBootError::TooLarge { len: core.len(), room });
    }
    let sectors = core.len().div_ceil(SECTOR) - 1;
    let listed = usize::from(u16::from_le_bytes([core[LISTED], core[LISTED + 1]]));
    if listed < sectors {
        return Err(unknown_core());
    }
    let mut boot_code = [0; 440];
    boot_code.copy_from_slice(&boot_sector[..440]);
    Ok(BiosBoot { boot_code, core })
}

const SECTOR: usize = 512;
/// `GRUB_BOOT_MACHINE_KERNEL_SECTOR`: where the core image begins, 64 bits.
const KERNEL_SECTOR: Range<usize> = 0x5C..0x64;
/// `GRUB_BOOT_MACHINE_DRIVE_CHECK`: a jump that is kept for floppies only.
const DRIVE_CHECK: Range<usize> = 0x66..0x68;
const NOP: u8 = 0x90;
/// Size of a block list entry.
const ENTRY: usize = 12;
/// The last two entries of the block list, which grows downwards from the end of the sector.
const BLOCK_LIST: Range<usize> = SECTOR - 2 * ENTRY..SECTOR;
/// The number of sectors in the last entry.
const LISTED: usize = SECTOR - 4;

#[cfg(test)]
mod tests {
    use super::*;

    fn boot_img() -> Vec<u8> {
        let mut sector = vec![0; SECTOR];
        sector[0x66] = 0xEB;
        sector[510..].copy_from_slice(&[0x55, 0xAA]);
        sector
    }

    fn core_img(sectors: u16) -> Vec<u8> {
        let mut core = vec![7; SECTOR * (usize::from(sectors) + 1)];
        core[BLOCK_LIST].fill(0);
        core[LISTED..SECTOR - 2].copy_from_slice(&sectors.to_le_bytes());
        core
    }

    #[test]
    fn each_stage_is_told_where_the_next_one_lies() {
        let boot = embed(&boot_img(), &core_img(40), 2048, 1 << 20).unwrap();
        assert_eq!(boot.boot_code[0x5C..0x64], 2048_u64.to_le_bytes());
        assert_eq!(boot.boot_code[0x66..0x68], [0x90, 0x90]);
        assert_eq!(boot.core[500..508], 2049_u64.to_le_bytes());
    }

    #[test]
    fn an_image_of_another_form_is_refused() {
        let core = core_img(40);
        assert!(matches!(embed(b"x", &core, 1, 1 << 20), Err(BiosBootError::BootImage { len: 1 })));
        let mut other = boot_img();
        other[0x66] = 0;
        assert!(matches!(embed(&other, &core, 1, 1 << 20), Err(BiosBootError::BootImage { .. })));
        let truncated = &core[..100];
        let refused = embed(&boot_img(), truncated, 1, 1 << 20);
        assert_eq!(refused, Err(BiosBootError::CoreImage { len: 100 }));
        let mut short_list = core.clone();
        short_list[LISTED] = 3;
        let refused = embed(&boot_img(), &short_list, 1, 1 << 20);
        assert!(matches!(refused, Err(BiosBootError::CoreImage { .. })));
    }

    #[test]
    fn a_core_image_larger_than_its_partition_is_refused() {
        let refused = embed(&boot_img(), &core_img(40), 2048, 1024);
        assert_eq!(refused, Err(BiosBootError::TooLarge { len: 41 * 512, room: 1024 }));
    }
}

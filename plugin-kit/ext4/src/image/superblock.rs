//! The superblock, and where inodes lie.

use std::sync::Arc;

use super::error::ImageError;
use super::inode::{self, Inode};
use super::source::ReadAt;
use crate::field::{get16, get32, index, joined};
use crate::superblock::{BYTES, MAGIC, OFFSET};

/// Features under which the structures that are read here mean what they say: `filetype`, `extent`, `64bit`,
/// `mmp`, `flex_bg`, `metadata_csum_seed`, `large_dir`, `casefold`, and `encrypt` until an entry is.
const READ: u32 = 0x2 | 0x40 | 0x80 | 0x100 | 0x200 | 0x2000 | 0x4000 | 0x1_0000 | 0x2_0000;
const FILE_TYPE: u32 = 0x2;
const RECOVER: u32 = 0x4;
const WIDE: u32 = 0x80;
const NAMED: [(u32, &str); 6] = [
    (0x1, "compression"),
    (0x8, "journal_dev"),
    (0x10, "meta_bg"),
    (0x400, "ea_inode"),
    (0x1000, "dirdata"),
    (0x8000, "inline_data"),
];
/// Sizes of blocks count from 1 KiB on, in powers of two up to 64 KiB.
const MAX_LOG_BLOCK: u32 = 6;
/// Bytes of a descriptor without the `64bit` feature.
const NARROW_DESCRIPTOR: u64 = 32;
const OLD_INODE: u64 = 128;

/// An open file system.
pub(super) struct Volume {
    image: Arc<dyn ReadAt>,
    pub(super) block_size: u64,
    pub(super) blocks: u64,
    pub(super) inodes: u32,
    inodes_per_group: u32,
    inode_size: u64,
    descriptors_at: u64,
    descriptor_size: u64,
    /// Directory entries tell the type, and have a byte less for the length of the name.
    pub(super) file_types: bool,
}

impl Volume {
    pub(super) fn open(image: Arc<dyn ReadAt>) -> Result<Self, ImageError> {
        let mut block = vec![0; BYTES];
        if image.size_bytes() < OFFSET + BYTES as u64 {
            return Err(ImageError::NoFileSystem);
        }
        read(image.as_ref(), &mut block, OFFSET)?;
        if get16(&block, 0x38) != MAGIC {
            return Err(ImageError::NoFileSystem);
        }
        let features = get32(&block, 0x60);
        check_features(features)?;
        let log_block = get32(&block, 0x18);
        if log_block > MAX_LOG_BLOCK {
            return Err(ImageError::damaged("blocks of more than 64 KiB"));
        }
        let block_size = 1024 << log_block;
        let wide = features & WIDE != 0;
        let high = if wide { get32(&block, 0x150) } else { 0 };
        let descriptor_size = if wide { u64::from(get16(&block, 0xfe)) } else { NARROW_DESCRIPTOR };
        let first_revision = get32(&block, 0x4c) == 0;
        let inode_size = if first_revision { OLD_INODE } else { get16(&block, 0x58).into() };
        let volume = Self {
            block_size,
            blocks: joined(high, get32(&block, 0x04)),
            inodes: get32(&block, 0x00),
            inodes_per_group: get32(&block, 0x28),
            inode_size,
            descriptors_at: (u64::from(get32(&block, 0x14)) + 1) * block_size,
            descriptor_size,
            file_types: features & FILE_TYPE != 0,
            image,
        };
        volume.check_sizes()?;
        Ok(volume)
    }

    fn check_sizes(&self) -> Result<(), ImageError> {
        let of_a_block = |size: u64, least: u64| {
            size.is_power_of_two() && (least..=self.block_size).contains(&size)
        };
        let wrong = if !of_a_block(self.inode_size, OLD_INODE) {
            "the size of its inodes"
        } else if !of_a_block(self.descriptor_size, NARROW_DESCRIPTOR) {
            "the size of its descriptors"
        } else if self.inodes_per_group == 0 {
            "the number of its inodes"
        } else if self
            .blocks
            .checked_mul(self.block_size)
            .is_none_or(|end| end > self.image.size_bytes())
        {
            "its size, which is more than there is"
        } else {
            return Ok(());
        };
        Err(ImageError::damaged(wrong))
    }

    pub(super) fn inode(&self, number: u32) -> Result<Inode, ImageError> {
        if number == 0 || number > self.inodes {
            return Err(ImageError::damaged(format!("there is no inode {number}")));
        }
        let group = u64::from((number - 1) / self.inodes_per_group);
        let position = u64::from((number - 1) % self.inodes_per_group);
        let mut descriptor = vec![0; index(self.descriptor_size)];
        self.read_at(&mut descriptor, self.descriptors_at + group * self.descriptor_size)?;
        let wide = self.descriptor_size > NARROW_DESCRIPTOR;
        let high = if wide { get32(&descriptor, 0x28) } else { 0 };
        let table = joined(high, get32(&descriptor, 0x08));
        self.check_block(table)?;
        let mut bytes = vec![0; index(self.inode_size)];
        self.read_at(&mut bytes, table * self.block_size + position * self.inode_size)?;
        inode::decode(&bytes)
    }

    pub(super) fn block(&self, number: u64) -> Result<Vec<u8>, ImageError> {
        self.check_block(number)?;
        let mut block = vec![0; index(self.block_size)];
        self.read_at(&mut block, number * self.block_size)?;
        Ok(block)
    }

    /// Whether `number` is one of the blocks.
    pub(super) fn check_block(&self, number: u64) -> Result<(), ImageError> {
        if number == 0 || number >= self.blocks {
            return Err(ImageError::damaged(format!("there is no block {number}")));
        }
        Ok(())
    }

    pub(super) fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<(), ImageError> {
        read(self.image.as_ref(), buffer, offset)
    }
}

fn check_features(features: u32) -> Result<(), ImageError> {
    if features & RECOVER != 0 {
        return Err(ImageError::InUse);
    }
    let unread = features & !READ;
    if unread == 0 {
        return Ok(());
    }
    let named = NAMED.iter().find(|(bit, _)| unread & bit != 0);
    Err(ImageError::Unsupported { feature: named.map_or("an unknown feature", |(_, name)| name) })
}

fn read(image: &dyn ReadAt, buffer: &mut [u8], offset: u64) -> Result<(), ImageError> {
    let length = buffer.len();
    image.read_exact_at(buffer, offset).map_err(|source| ImageError::Read {
        offset,
        length,
        source,
    })
}

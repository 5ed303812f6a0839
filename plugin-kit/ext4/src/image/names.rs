//! The names in a directory.

use super::error::ImageError;
use super::inode::Inode;
use super::superblock::Volume;
use crate::directory::ENTRY_BYTES;
use crate::field::{get16, get32, index};

impl Volume {
    /// Names and inodes of a directory, but for `.` and `..`. Its index is not needed: its nodes look like
    /// blocks without names.
    pub(super) fn names(
        &self,
        inode: &Inode,
        blocks_left: &mut u64,
    ) -> Result<Vec<(Vec<u8>, u32)>, ImageError> {
        let mut names = Vec::new();
        let mut expected = 0;
        for extent in self.extents(inode, blocks_left)? {
            if extent.logical != expected {
                return Err(ImageError::damaged("the directory has a hole"));
            }
            expected += extent.count;
            for number in extent.physical..extent.physical + extent.count {
                names_in_block(&self.block(number)?, self.file_types, &mut names)?;
            }
        }
        Ok(names)
    }
}

fn names_in_block(
    block: &[u8],
    file_types: bool,
    names: &mut Vec<(Vec<u8>, u32)>,
) -> Result<(), ImageError> {
    let bad = || ImageError::damaged("the directory cannot be read");
    let mut rest = block;
    while !rest.is_empty() {
        if rest.len() < ENTRY_BYTES {
            return Err(bad());
        }
        let inode = get32(rest, 0);
        let bytes = record_bytes(get16(rest, 4), block.len());
        if bytes < ENTRY_BYTES || !bytes.is_multiple_of(4) {
            return Err(bad());
        }
        let (record, after) = rest.split_at_checked(bytes).ok_or_else(bad)?;
        if inode != 0 {
            let length = if file_types { record[6].into() } else { usize::from(get16(record, 6)) };
            let name = record.get(ENTRY_BYTES..ENTRY_BYTES + length).ok_or_else(bad)?;
            if !matches!(name, b"." | b"..") {
                check(name)?;
                names.push((name.to_vec(), inode));
            }
        }
        rest = after;
    }
    Ok(())
}

/// A record that fills a block of 64 KiB has no room for its length.
fn record_bytes(field: u16, block_size: usize) -> usize {
    const LARGEST: usize = index(64 << 10);
    if block_size == LARGEST && matches!(field, 0 | u16::MAX) { LARGEST } else { field.into() }
}

fn check(name: &[u8]) -> Result<(), ImageError> {
    if name.is_empty() || name.len() > 255 || name.contains(&b'/') || name.contains(&0) {
        let name = name.escape_ascii();
        return Err(ImageError::damaged(format!("`{name}` is no name")));
    }
    Ok(())
}

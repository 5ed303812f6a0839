//! The extended attributes of an inode: some of them in it, the rest in a block.

use std::collections::BTreeMap;

use super::error::ImageError;
use super::inode::Inode;
use super::superblock::Volume;
use crate::field::{get16, get32};
use crate::xattr::{BLOCK_HEADER, ENTRY_BYTES, MAGIC, program_acl, start_of_name};

impl Volume {
    /// By full name, POSIX ACLs in the form of `getxattr`.
    pub(super) fn attributes(
        &self,
        inode: &Inode,
    ) -> Result<BTreeMap<String, Vec<u8>>, ImageError> {
        let mut attributes = BTreeMap::new();
        if inode.room.len() > 4 && get32(&inode.room, 0) == MAGIC {
            // Values are found from the first entry on.
            let area = &inode.room[4..];
            read(area, area, &mut attributes)?;
        }
        if inode.xattr_block != 0 {
            let block = self.block(inode.xattr_block)?;
            if get32(&block, 0) != MAGIC {
                return Err(ImageError::damaged("its attributes cannot be read"));
            }
            read(&block[BLOCK_HEADER..], &block, &mut attributes)?;
        }
        Ok(attributes)
    }
}

/// Reads `entries` up to the empty one; their values lie in `area`.
fn read(
    mut entries: &[u8],
    area: &[u8],
    attributes: &mut BTreeMap<String, Vec<u8>>,
) -> Result<(), ImageError> {
    let bad = || ImageError::damaged("its attributes cannot be read");
    // Four zero bytes end the list; so does the end of the area.
    while entries.len() >= ENTRY_BYTES && get32(entries, 0) != 0 {
        let name_bytes = usize::from(entries[0]);
        if get32(entries, 4) != 0 {
            return Err(ImageError::Unsupported { feature: "ea_inode" });
        }
        let start = usize::from(get16(entries, 2));
        let length = usize::try_from(get32(entries, 8)).map_err(|_| bad())?;
        let value = area.get(start..).and_then(|rest| rest.get(..length)).ok_or_else(bad)?;
        let name = entries.get(ENTRY_BYTES..ENTRY_BYTES + name_bytes).ok_or_else(bad)?;
        let name = std::str::from_utf8(name).map_err(|_| bad())?;
        // The kernel does not show attributes of a prefix that it does not know either.
        if let Some((start, acl)) = start_of_name(entries[1]) {
            let value = if acl { program_acl(value).ok_or_else(bad)? } else { value.to_vec() };
            attributes.insert(format!("{start}{name}"), value);
        }
        let next = ENTRY_BYTES + name_bytes.next_multiple_of(4);
        entries = entries.get(next..).ok_or_else(bad)?;
    }
    Ok(())
}

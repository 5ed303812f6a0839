//! Extended attributes: what fits goes into the inode, the rest into one block.
//!
//! Names are stored without their prefix, which becomes a number. POSIX ACLs have a form of their own on
//! disk, shorter than the one that programs see.

use std::collections::BTreeMap;

use crate::checksum::Checksum;
use crate::error::Error;
use crate::field::{index, lo16, lo32, put16, put32};
use crate::geometry::{BLOCK_SIZE, INODE_SIZE};
use crate::inode::{EXTRA_BYTES, OLD_BYTES};

pub(crate) const MAGIC: u32 = 0xea02_0000;
/// An entry without its name.
pub(crate) const ENTRY_BYTES: usize = 16;
pub(crate) const BLOCK_HEADER: usize = 32;
/// Bytes of an inode that are left for attributes.
pub(crate) const INODE_ROOM: usize = index(INODE_SIZE) - OLD_BYTES - EXTRA_BYTES;

/// Numbers of the prefixes; the first that matches counts, the ACLs match as a whole.
const PREFIXES: [(u8, &str); 6] = [
    (2, ACL_ACCESS),
    (3, ACL_DEFAULT),
    (1, "user."),
    (4, "trusted."),
    (6, "security."),
    (7, "system."),
];
const ACL_ACCESS: &str = "system.posix_acl_access";
const ACL_DEFAULT: &str = "system.posix_acl_default";
/// Tags of ACL entries that have an id.
const NAMED_USER: u16 = 2;
const NAMED_GROUP: u16 = 8;

/// The attributes of one inode, ready to be stored.
#[derive(Debug, Default)]
pub(crate) struct Encoded {
    /// To follow the inode's fields; empty or [`INODE_ROOM`] bytes.
    pub(crate) in_inode: Vec<u8>,
    /// Without its checksum.
    pub(crate) block: Option<Vec<u8>>,
}

struct Attribute<'a> {
    prefix: u8,
    name: &'a str,
    value: Vec<u8>,
}

/// # Errors
/// An attribute's full name and what is wrong with it.
pub(crate) fn encode(
    attributes: &BTreeMap<String, Vec<u8>>,
) -> Result<Encoded, (String, &'static str)> {
    let mut encoded = Encoded::default();
    if attributes.is_empty() {
        return Ok(encoded);
    }
    let mut sorted = Vec::with_capacity(attributes.len());
    for (full_name, value) in attributes {
        let attribute = Attribute::new(full_name, value);
        sorted.push(attribute.map_err(|reason| (full_name.clone(), reason))?);
    }
    // The kernel searches a block in this order.
    sorted.sort_by_key(|attribute| (attribute.prefix, attribute.name.len(), attribute.name));

    let mut room = INODE_ROOM - 2 * size_of::<u32>();
    let (inside, outside): (Vec<_>, Vec<_>) = sorted.into_iter().partition(|attribute| {
        let fits = attribute.bytes() <= room;
        room -= if fits { attribute.bytes() } else { 0 };
        fits
    });
    if !inside.is_empty() {
        encoded.in_inode = vec![0; INODE_ROOM];
        put32(&mut encoded.in_inode, 0, MAGIC);
        // Values are found from the first entry on.
        put_entries(&mut encoded.in_inode[4..], 0, &inside);
    }
    if let Some(last) = outside.last() {
        let size = BLOCK_HEADER + 4 + outside.iter().map(Attribute::bytes).sum::<usize>();
        let mut block = vec![0; index(BLOCK_SIZE)];
        if size > block.len() {
            return Err((last.full_name(), "all attributes together take more than a block"));
        }
        put32(&mut block, 0, MAGIC);
        put32(&mut block, 4, 1); // inodes that share the block
        put32(&mut block, 8, 1); // blocks
        let hash = put_entries(&mut block, BLOCK_HEADER, &outside);
        put32(&mut block, 12, hash);
        encoded.block = Some(block);
    }
    Ok(encoded)
}

/// Adds the checksum of the block that is to be stored at `number`.
pub(crate) fn seal_block(block: &mut [u8], number: u64, seed: Checksum) {
    let checksum = seed.update(&number.to_le_bytes()).update(block).value();
    put32(block, 16, checksum);
}

impl<'a> Attribute<'a> {
    fn new(full_name: &'a str, value: &[u8]) -> Result<Self, &'static str> {
        let (prefix, start) = PREFIXES
            .into_iter()
            .find(|(_, start)| full_name.starts_with(start))
            .ok_or("its name does not start with `user.`, `trusted.`, `security.` or `system.`")?;
        let name = &full_name[start.len()..];
        let acl = matches!(start, ACL_ACCESS | ACL_DEFAULT);
        if name.is_empty() != acl || name.contains('\0') {
            return Err("it has no proper name");
        }
        if name.len() > 255 {
            return Err("its name has more than 255 bytes");
        }
        let value = if acl { disk_acl(value)? } else { value.to_vec() };
        if value.len() > index(BLOCK_SIZE) {
            return Err("its value takes more than a block");
        }
        Ok(Self { prefix, name, value })
    }

    fn full_name(&self) -> String {
        let start = PREFIXES.into_iter().find(|(prefix, _)| *prefix == self.prefix);
        format!("{}{}", start.map_or("", |(_, start)| start), self.name)
    }

    fn entry_bytes(&self) -> usize {
        ENTRY_BYTES + self.name.len().next_multiple_of(4)
    }

    fn bytes(&self) -> usize {
        self.entry_bytes() + self.value.len().next_multiple_of(4)
    }

    fn hash(&self) -> u32 {
        let of_name =
            self.name.bytes().fold(0_u32, |hash, byte| hash.rotate_left(5) ^ u32::from(byte));
        self.value.chunks(4).fold(of_name, |hash, chunk| {
            let mut word = [0; 4];
            word[..chunk.len()].copy_from_slice(chunk);
            hash.rotate_left(16) ^ u32::from_le_bytes(word)
        })
    }
}

/// Puts entries from `start` on and values from the end of `area` down; gives the hash of all.
fn put_entries(area: &mut [u8], start: usize, attributes: &[Attribute<'_>]) -> u32 {
    let mut entry = start;
    let mut value_end = area.len();
    let mut hash = 0_u32;
    for attribute in attributes {
        let value = &attribute.value;
        value_end -= value.len().next_multiple_of(4);
        area[value_end..value_end + value.len()].copy_from_slice(value);
        area[entry] = u8::try_from(attribute.name.len()).unwrap_or(u8::MAX);
        area[entry + 1] = attribute.prefix;
        let offset = if value.is_empty() { 0 } else { value_end };
        put16(area, entry + 2, lo16(lo32(offset as u64)));
        put32(area, entry + 8, lo32(value.len() as u64));
        put32(area, entry + 12, attribute.hash());
        let name = entry + ENTRY_BYTES;
        area[name..name + attribute.name.len()].copy_from_slice(attribute.name.as_bytes());
        entry += attribute.entry_bytes();
        hash = hash.rotate_left(16) ^ attribute.hash();
    }
    hash
}

/// Turns an ACL from the form of `getxattr` (version 2: every entry has an id) into the one on disk
/// (version 1: only named users and groups have one).
fn disk_acl(value: &[u8]) -> Result<Vec<u8>, &'static str> {
    let bad = "it is not a POSIX ACL of version 2";
    let (version, entries) = value.split_first_chunk::<4>().ok_or(bad)?;
    if u32::from_le_bytes(*version) != 2 || entries.len() % 8 != 0 {
        return Err(bad);
    }
    let mut disk = 1_u32.to_le_bytes().to_vec();
    for entry in entries.chunks_exact(8) {
        let tag = u16::from_le_bytes([entry[0], entry[1]]);
        let named = matches!(tag, NAMED_USER | NAMED_GROUP);
        disk.extend_from_slice(if named { entry } else { &entry[..4] });
    }
    Ok(disk)
}

/// Turns an ACL from the form on disk into that of `getxattr`; `None` for what is no ACL.
pub(crate) fn program_acl(disk: &[u8]) -> Option<Vec<u8>> {
    const NO_ID: [u8; 4] = [0xff; 4];
    let (version, mut entries) = disk.split_first_chunk::<4>()?;
    if u32::from_le_bytes(*version) != 1 {
        return None;
    }
    let mut value = 2_u32.to_le_bytes().to_vec();
    while let Some((entry, mut rest)) = entries.split_first_chunk::<4>() {
        value.extend_from_slice(entry);
        let mut id = &NO_ID;
        if matches!(u16::from_le_bytes([entry[0], entry[1]]), NAMED_USER | NAMED_GROUP) {
            (id, rest) = rest.split_first_chunk::<4>()?;
        }
        value.extend_from_slice(id);
        entries = rest;
    }
    entries.is_empty().then_some(value)
}

/// What the names of attributes with this prefix start with, and whether they are ACLs.
pub(crate) fn start_of_name(prefix: u8) -> Option<(&'static str, bool)> {
    let (_, start) = PREFIXES.into_iter().find(|(number, _)| *number == prefix)?;
    Some((start, matches!(start, ACL_ACCESS | ACL_DEFAULT)))
}

/// Names the entry that the attribute belongs to.
pub(crate) fn error(path: &std::path::Path, (name, reason): (String, &'static str)) -> Error {
    Error::Xattr { path: path.to_owned(), name, reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attributes(list: &[(&str, usize)]) -> BTreeMap<String, Vec<u8>> {
        list.iter().map(|(name, length)| ((*name).to_owned(), vec![7; *length])).collect()
    }

    #[test]
    fn a_capability_stays_in_the_inode() {
        let encoded = encode(&attributes(&[("security.capability", 20)])).unwrap();
        assert_eq!(encoded.in_inode.len(), INODE_ROOM);
        assert!(encoded.block.is_none());
    }

    #[test]
    fn what_does_not_fit_goes_to_the_block() {
        let encoded = encode(&attributes(&[("user.big", 3000), ("user.small", 4)])).unwrap();
        assert!(!encoded.in_inode.is_empty());
        assert!(encoded.block.is_some());
        let (name, _) = encode(&attributes(&[("user.b", 3000), ("user.c", 3000)])).unwrap_err();
        assert_eq!(name, "user.c");
    }

    #[test]
    fn unknown_prefixes_and_broken_acls_are_refused() {
        for name in ["capability", "os2.x", "user.", ACL_ACCESS, "system.posix_acl_accessory"] {
            assert!(encode(&attributes(&[(name, 3)])).is_err(), "{name}");
        }
    }

    #[test]
    fn only_named_acl_entries_keep_their_ids() {
        let mut value = 2_u32.to_le_bytes().to_vec();
        value.extend([1, 0, 6, 0, 255, 255, 255, 255]);
        value.extend([2, 0, 4, 0, 5, 0, 0, 0]);
        let disk = disk_acl(&value).unwrap();
        assert_eq!(disk, [1, 0, 0, 0, 1, 0, 6, 0, 2, 0, 4, 0, 5, 0, 0, 0]);
        assert_eq!(program_acl(&disk).unwrap(), value);
        assert_eq!(program_acl(&disk[..disk.len() - 1]), None);
    }
}

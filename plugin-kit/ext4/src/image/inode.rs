//! The fields of an inode.

use super::error::ImageError;
use crate::entry::Time;
use crate::extent::InodeBlocks;
use crate::field::{get16, get32, joined, signed};
use crate::inode::{FLAG_EXTENTS, OLD_BYTES};

const FLAG_ENCRYPTED: u32 = 0x800;
const FLAG_INLINE: u32 = 0x1000_0000;
/// Up to where the extra fields reach that hold the rest of the modification time.
const MTIME_EXTRA: std::ops::Range<usize> = 0x88..0x8c;

pub(super) struct Inode {
    /// Type and permissions.
    pub(super) mode: u16,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) size: u64,
    pub(super) links: u16,
    pub(super) mtime: Time,
    pub(super) block: InodeBlocks,
    /// Block of extended attributes; 0 for none.
    pub(super) xattr_block: u64,
    /// What follows the fields; attributes may be in it.
    pub(super) room: Vec<u8>,
    flags: u32,
}

/// Reads the 128 bytes or more of an inode.
pub(super) fn decode(bytes: &[u8]) -> Result<Inode, ImageError> {
    let flags = get32(bytes, 0x20);
    if flags & FLAG_ENCRYPTED != 0 {
        return Err(ImageError::Unsupported { feature: "encrypt" });
    }
    if flags & FLAG_INLINE != 0 {
        return Err(ImageError::Unsupported { feature: "inline_data" });
    }
    let mut block = [0; size_of::<InodeBlocks>()];
    block.copy_from_slice(&bytes[0x28..0x64]);
    let extra = if bytes.len() > OLD_BYTES { usize::from(get16(bytes, 0x80)) } else { 0 };
    let fields = OLD_BYTES + extra;
    let half = |low: usize, high: usize| {
        u32::from(get16(bytes, low)) | u32::from(get16(bytes, high)) << 16
    };
    let mut mtime = Time { seconds: i64::from(signed(get32(bytes, 0x10))), nanoseconds: 0 };
    if fields >= MTIME_EXTRA.end && bytes.len() >= MTIME_EXTRA.end {
        let more = get32(bytes, MTIME_EXTRA.start);
        mtime.seconds += i64::from(more & 3) << 32;
        mtime.nanoseconds = (more >> 2).min(999_999_999);
    }
    Ok(Inode {
        mode: get16(bytes, 0x00),
        uid: half(0x02, 0x78),
        gid: half(0x18, 0x7a),
        size: joined(get32(bytes, 0x6c), get32(bytes, 0x04)),
        links: get16(bytes, 0x1a),
        mtime,
        block,
        xattr_block: joined(u32::from(get16(bytes, 0x76)), get32(bytes, 0x68)),
        room: bytes.get(fields..).map(<[u8]>::to_vec).unwrap_or_default(),
        flags,
    })
}

impl Inode {
    /// One of the `TYPE_…`.
    pub(super) fn kind(&self) -> u16 {
        self.mode & 0o170_000
    }

    /// Whether the blocks are found through extents.
    pub(super) fn has_extents(&self) -> bool {
        self.flags & FLAG_EXTENTS != 0
    }

    /// Numbers of driver and device.
    pub(super) fn device(&self) -> (u32, u32) {
        let old = get32(&self.block, 0);
        if old != 0 {
            return (old >> 8 & 0xff, old & 0xff);
        }
        let new = get32(&self.block, 4);
        (new >> 8 & 0xfff, new & 0xff | new >> 12 & 0xf_ff00)
    }

    /// The target of a symbolic link that fits the inode.
    pub(super) fn short_target(&self) -> Option<&[u8]> {
        let length = usize::try_from(self.size).ok()?;
        if self.has_extents() || length >= self.block.len() {
            return None;
        }
        Some(&self.block[..length])
    }
}

//! The 256 bytes of an inode.

use crate::checksum::Checksum;
use crate::entry::Time;
use crate::extent::InodeBlocks;
use crate::field::{bits, hi16, hi32, index, lo16, lo32, put16, put32};
use crate::geometry::INODE_SIZE;

/// Bytes of the inode of ext2.
pub(crate) const OLD_BYTES: usize = 128;
/// Bytes of the fields that came later.
pub(crate) const EXTRA_BYTES: usize = 32;

pub(crate) const TYPE_FIFO: u16 = 0o010_000;
pub(crate) const TYPE_CHAR: u16 = 0o020_000;
pub(crate) const TYPE_DIRECTORY: u16 = 0o040_000;
pub(crate) const TYPE_BLOCK: u16 = 0o060_000;
pub(crate) const TYPE_FILE: u16 = 0o100_000;
pub(crate) const TYPE_SYMLINK: u16 = 0o120_000;
pub(crate) const TYPE_SOCKET: u16 = 0o140_000;

/// The directory has a hash index.
pub(crate) const FLAG_INDEX: u32 = 0x1000;
/// The blocks are found through extents.
pub(crate) const FLAG_EXTENTS: u32 = 0x8_0000;

/// Times are stored in 34 bits that start at -2^31.
const TIMES: std::ops::RangeInclusive<i64> = -(1 << 31)..=(1 << 34) - (1 << 31) - 1;

#[derive(Debug)]
pub(crate) struct Inode<'a> {
    /// Type and permissions.
    pub(crate) mode: u16,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) size: u64,
    pub(crate) links: u16,
    pub(crate) flags: u32,
    pub(crate) block: InodeBlocks,
    /// All blocks of the inode, those of its extent tree and attributes too.
    pub(crate) used_blocks: u64,
    pub(crate) xattr_block: u64,
    /// Last change and last access.
    pub(crate) mtime: Time,
    /// Creation and last change of the inode itself.
    pub(crate) ctime: Time,
    /// Empty or [`crate::xattr::INODE_ROOM`] bytes.
    pub(crate) xattrs: &'a [u8],
}

impl Inode<'_> {
    /// Fills `buffer`, which holds zeros.
    pub(crate) fn encode(&self, buffer: &mut [u8], seed: Checksum) {
        let sectors = self.used_blocks * 8;
        put16(buffer, 0x00, self.mode);
        put16(buffer, 0x02, lo16(self.uid));
        put32(buffer, 0x04, lo32(self.size));
        put16(buffer, 0x18, lo16(self.gid));
        put16(buffer, 0x1a, self.links);
        put32(buffer, 0x1c, lo32(sectors));
        put32(buffer, 0x20, self.flags);
        buffer[0x28..0x64].copy_from_slice(&self.block);
        put32(buffer, 0x68, lo32(self.xattr_block));
        put32(buffer, 0x6c, hi32(self.size));
        put16(buffer, 0x74, lo16(hi32(sectors)));
        put16(buffer, 0x76, lo16(hi32(self.xattr_block)));
        put16(buffer, 0x78, hi16(self.uid));
        put16(buffer, 0x7a, hi16(self.gid));
        put16(buffer, 0x80, lo16(lo32(EXTRA_BYTES as u64)));
        put_time(buffer, 0x08, 0x8c, self.mtime); // access
        put_time(buffer, 0x0c, 0x84, self.ctime); // change
        put_time(buffer, 0x10, 0x88, self.mtime); // modification
        put_time(buffer, 0x90, 0x94, self.ctime); // creation
        buffer[OLD_BYTES + EXTRA_BYTES..][..self.xattrs.len()].copy_from_slice(self.xattrs);
        let checksum = seed.update(&buffer[..index(INODE_SIZE)]).value();
        put16(buffer, 0x7c, lo16(checksum));
        put16(buffer, 0x82, hi16(checksum));
    }
}

/// Puts 32 bits of seconds at `at`; two more and the nanoseconds at `extra`.
fn put_time(buffer: &mut [u8], at: usize, extra: usize, time: Time) {
    let seconds = time.seconds.clamp(*TIMES.start(), *TIMES.end());
    let era = bits(seconds - *TIMES.start()) >> 32;
    put32(buffer, at, lo32(bits(seconds)));
    put32(buffer, extra, lo32(era) | time.nanoseconds.min(999_999_999) << 2);
}

/// Device numbers lie where blocks would: up to 8 bits each in the old form, more in the new one.
pub(crate) fn device(major: u32, minor: u32) -> InodeBlocks {
    let mut block = [0; 60];
    if major < 256 && minor < 256 {
        put32(&mut block, 0, major << 8 | minor);
    } else {
        put32(&mut block, 4, minor & 0xff | (major & 0xfff) << 8 | (minor & 0xf_ff00) << 12);
    }
    block
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time_fields(seconds: i64) -> (u32, u32) {
        let mut buffer = [0; 8];
        put_time(&mut buffer, 0, 4, Time { seconds, nanoseconds: 5 });
        let word = |at: usize| u32::from_le_bytes(buffer[at..at + 4].try_into().unwrap());
        (word(0), word(4))
    }

    #[test]
    fn times_before_1970_and_after_2038_keep_their_seconds() {
        assert_eq!(time_fields(-1), (u32::MAX, 20));
        assert_eq!(time_fields(0x7fff_ffff), (0x7fff_ffff, 20));
        assert_eq!(time_fields(0x8000_0000), (0x8000_0000, 21));
        assert_eq!(time_fields(i64::MAX), (0x7fff_ffff, 23));
    }

    #[test]
    fn large_device_numbers_take_the_new_form() {
        assert_eq!(device(8, 1)[..4], [1, 8, 0, 0]);
        assert_eq!(device(259, 300)[4..8], [0x2c, 0x03, 0x11, 0x00]);
    }
}

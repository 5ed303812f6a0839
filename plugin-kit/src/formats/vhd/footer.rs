//! The footer, which every VHD has, its checksum, and the disk geometry in it.

use super::{Layout, Options};
use crate::formats::SECTOR_BYTES;
use crate::formats::bytes::put;

pub(crate) const MAGIC: [u8; 8] = *b"conectix";
pub(super) const FOOTER_BYTES: usize = 512;
pub(super) const CHECKSUM_AT: usize = 64;
pub(super) const TYPE_FIXED: u32 = 2;
pub(super) const TYPE_DYNAMIC: u32 = 3;
pub(super) const TYPE_DIFFERENCING: u32 = 4;

/// Windows. Readers that find a name they do not know take the size from the geometry, which is coarse.
const CREATOR: [u8; 4] = *b"win ";
const CREATOR_VERSION: u32 = 0x000a_0000;
const CREATOR_OS: [u8; 4] = *b"Wi2k";

pub(super) fn render(options: &Options, virtual_bytes: u64) -> [u8; FOOTER_BYTES] {
    let (disk_type, data_offset) = match options.layout {
        Layout::Fixed => (TYPE_FIXED, u64::MAX),
        // The dynamic header follows the copy of the footer.
        Layout::Dynamic => (TYPE_DYNAMIC, FOOTER_BYTES as u64),
    };
    let mut bytes = [0; FOOTER_BYTES];
    put(&mut bytes, 0, &MAGIC);
    // Features: a reserved bit that is always set.
    put(&mut bytes, 8, &2_u32.to_be_bytes());
    put(&mut bytes, 12, &0x0001_0000_u32.to_be_bytes());
    put(&mut bytes, 16, &data_offset.to_be_bytes());
    put(&mut bytes, 24, &options.timestamp.to_be_bytes());
    put(&mut bytes, 28, &CREATOR);
    put(&mut bytes, 32, &CREATOR_VERSION.to_be_bytes());
    put(&mut bytes, 36, &CREATOR_OS);
    // Original and current size, the same for a disk that was never resized.
    put(&mut bytes, 40, &virtual_bytes.to_be_bytes());
    put(&mut bytes, 48, &virtual_bytes.to_be_bytes());
    put(&mut bytes, 56, &geometry(virtual_bytes / SECTOR_BYTES));
    put(&mut bytes, 60, &disk_type.to_be_bytes());
    put(&mut bytes, 68, &options.unique_id);
    let sum = checksum(&bytes, CHECKSUM_AT);
    put(&mut bytes, CHECKSUM_AT, &sum.to_be_bytes());
    bytes
}

/// Complement of the sum of all bytes, the four of the checksum itself left out.
pub(super) fn checksum(bytes: &[u8], checksum_at: usize) -> u32 {
    let own = checksum_at..checksum_at + 4;
    let others = bytes.iter().enumerate().filter(|(at, _)| !own.contains(at));
    !others.fold(0_u32, |sum, (_, byte)| sum.wrapping_add(u32::from(*byte)))
}

/// Cylinders (two bytes), heads and sectors per track, after the appendix "CHS Calculation".
fn geometry(sectors: u64) -> [u8; 4] {
    let sectors = u32::try_from(sectors).unwrap_or(u32::MAX).min(65_535 * 16 * 255);
    let (per_track, heads, tracks);
    if sectors >= 65_535 * 16 * 63 {
        (per_track, heads, tracks) = (255, 16, sectors / 255);
    } else {
        let few = (sectors / 17).div_ceil(1024).max(4);
        (per_track, heads, tracks) = if few <= 16 && sectors / 17 < few * 1024 {
            (17, few, sectors / 17)
        } else if sectors / 31 < 16 * 1024 {
            (31, 16, sectors / 31)
        } else {
            (63, 16, sectors / 63)
        };
    }
    let [.., high, low] = (tracks / heads).to_be_bytes();
    let [.., heads] = heads.to_be_bytes();
    [high, low, heads, per_track]
}

#[cfg(test)]
mod tests {
    use super::geometry;

    /// Worked by hand from the appendix; `qemu-img`, which rounds disks up to whole cylinders, has one more.
    #[test]
    fn geometry_is_that_of_the_specification() {
        for (mib, expected) in [
            (20, (602, 4, 17)),
            (64, (963, 8, 17)),
            (200, (825, 16, 31)),
            (300, (609, 16, 63)),
            (1024, (2080, 16, 63)),
            (33_000, (16_564, 16, 255)),
            (131_072, (65_535, 16, 255)),
        ] {
            let [a, b, heads, per_track] = geometry(mib * 2048);
            assert_eq!((u16::from_be_bytes([a, b]), heads, per_track), expected, "{mib} MiB");
        }
    }
}

//! Where the parts of a FAT file system lie: boot sector, tables, root folder, clusters.

use super::{FatError, FatSpec};
use crate::disk::MIB;

const SECTOR: usize = 512;
/// Bytes of the root folder of FAT16, which has a fixed place: 512 entries.
pub(super) const FIXED_ROOT: usize = 512 * 32;

/// The places, in sectors unless said otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Geometry {
    sectors: usize,
    pub(super) fat32: bool,
    sectors_per_cluster: usize,
    reserved: usize,
    table: usize,
    pub(super) clusters: usize,
}

/// The allocation table while it is filled: entry N says which cluster follows cluster N.
#[derive(Debug)]
pub(super) struct Table {
    next: Vec<u32>,
}

/// Ends a chain; FAT16 stores its lower half.
const END: u32 = 0x0FFF_FFFF;

impl Geometry {
    pub(super) fn new(bytes: u64) -> Result<Self, FatError> {
        let refused = FatError::Size { bytes };
        if !(8 * MIB..=1024 * MIB).contains(&bytes) {
            return Err(refused);
        }
        let Ok(sectors) = usize::try_from(bytes / SECTOR as u64) else {
            return Err(refused);
        };
        let fat32 = bytes >= 64 * MIB;
        // FAT16 has 4085 to 65524 clusters, FAT32 more: that number alone tells them apart.
        let sectors_per_cluster = match (fat32, bytes / MIB) {
            (false, ..16) | (true, ..256) => 1,
            (false, ..32) => 2,
            _ => 8,
        };
        let reserved = if fat32 { 32 } else { 1 };
        let entry = if fat32 { 4 } else { 2 };
        let fixed = reserved + if fat32 { 0 } else { FIXED_ROOT / SECTOR };
        // A table for all sectors is a little larger than needed, and never too small.
        let table = ((sectors - fixed) / sectors_per_cluster + 2).div_ceil(SECTOR / entry);
        let clusters = (sectors - fixed - 2 * table) / sectors_per_cluster;
        Ok(Self { sectors, fat32, sectors_per_cluster, reserved, table, clusters })
    }

    pub(super) fn bytes(&self) -> usize {
        self.sectors * SECTOR
    }

    pub(super) fn cluster_bytes(&self) -> usize {
        self.sectors_per_cluster * SECTOR
    }

    /// First byte of the root folder of FAT16.
    pub(super) fn fixed_root(&self) -> usize {
        (self.reserved + 2 * self.table) * SECTOR
    }

    /// First byte of the cluster with this number; the first one is number 2.
    pub(super) fn cluster(&self, number: usize) -> usize {
        let root = if self.fat32 { 0 } else { FIXED_ROOT };
        self.fixed_root() + root + (number - 2) * self.cluster_bytes()
    }

    /// Writes both copies of the table and, on FAT32, the summary sector.
    pub(super) fn write_table(&self, image: &mut [u8], table: &Table) {
        for copy in 0..2 {
            let start = (self.reserved + copy * self.table) * SECTOR;
            for (index, next) in table.next.iter().enumerate() {
                if self.fat32 {
                    put(image, start + 4 * index, &next.to_le_bytes());
                } else {
                    put(image, start + 2 * index, &next.to_le_bytes()[..2]);
                }
            }
        }
        if self.fat32 {
            let used = table.next.len() - 2;
            for sector in [1, 7] {
                let at = sector * SECTOR;
                put(image, at, b"RRaA");
                put(image, at + 484, b"rrAa");
                put(image, at + 488, &le32(self.clusters - used));
                put(image, at + 492, &le32(used + 2));
                put(image, at + 510, &[0x55, 0xAA]);
            }
        }
    }

    pub(super) fn write_boot_sectors(&self, image: &mut [u8], spec: &FatSpec) {
        let mut boot = [0; SECTOR];
        put(&mut boot, 0, &[0xEB, if self.fat32 { 0x58 } else { 0x3C }, 0x90]);
        put(&mut boot, 3, b"MSWIN4.1");
        put(&mut boot, 11, &[0, 2]);
        put(&mut boot, 13, &le32(self.sectors_per_cluster)[..1]);
        put(&mut boot, 14, &le32(self.reserved)[..2]);
        put(&mut boot, 16, &[2]);
        if !self.fat32 {
            put(&mut boot, 17, &le32(FIXED_ROOT / 32)[..2]);
        }
        // A fixed disk.
        put(&mut boot, 21, &[0xF8]);
        // Sectors per track and heads: a usual invention, nobody counts in them any more.
        put(&mut boot, 24, &[63, 0, 255, 0]);
        if !self.fat32 && self.sectors < 0x1_0000 {
            put(&mut boot, 19, &le32(self.sectors)[..2]);
        } else {
            put(&mut boot, 32, &le32(self.sectors));
        }
        let (extended, kind) = if self.fat32 {
            put(&mut boot, 36, &le32(self.table));
            // Root folder in cluster 2, summary in sector 1, a copy of this sector in sector 6.
            put(&mut boot, 44, &[2, 0, 0, 0, 1, 0, 6, 0]);
            (64, b"FAT32   ")
        } else {
            put(&mut boot, 22, &le32(self.table)[..2]);
            (36, b"FAT16   ")
        };
        put(&mut boot, extended, &[0x80, 0, 0x29]);
        put(&mut boot, extended + 3, &spec.volume_id.to_le_bytes());
        put(&mut boot, extended + 7, &spec.padded_label());
        put(&mut boot, extended + 18, kind);
        put(&mut boot, 510, &[0x55, 0xAA]);
        put(image, 0, &boot);
        if self.fat32 {
            put(image, 6 * SECTOR, &boot);
        }
    }
}

impl Table {
    /// A table in which the first two entries are taken, as they do not stand for clusters.
    pub(super) fn new() -> Self {
        Self { next: vec![0x0FFF_FFF8, END] }
    }

    /// Takes `count` clusters in one run and answers the first one.
    pub(super) fn take(&mut self, count: usize) -> usize {
        let first = self.next.len();
        for number in first + 1..first + count {
            self.next.push(u32::try_from(number).unwrap_or(END));
        }
        if count > 0 {
            self.next.push(END);
        }
        first
    }
}

fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    bytes[at..at + value.len()].copy_from_slice(value);
}

/// Every number here is below 2³²: the largest file system has 2²¹ sectors.
fn le32(value: usize) -> [u8; 4] {
    u32::try_from(value).unwrap_or(u32::MAX).to_le_bytes()
}

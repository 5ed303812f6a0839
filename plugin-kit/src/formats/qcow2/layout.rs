//! Numbers of the format.

pub(super) const FORMAT: &str = "QCOW2";
pub(crate) const MAGIC: [u8; 4] = *b"QFI\xfb";

/// The default of QEMU; larger clusters waste space, smaller ones make more tables.
pub(super) const CLUSTER_BITS: u32 = 16;
pub(super) const CLUSTER_BYTES: u64 = 1 << CLUSTER_BITS;
/// Eight-byte entries of one L2 table.
pub(super) const L2_ENTRIES: u64 = CLUSTER_BYTES / 8;
/// Two-byte entries of one refcount block.
pub(super) const REFCOUNTS_PER_BLOCK: u64 = CLUSTER_BYTES / 2;
/// QEMU refuses larger L1 tables (`QCOW_MAX_L1_SIZE`).
pub(super) const MAX_L1_BYTES: u64 = 32 << 20;

/// Bit 63 of L1 and L2 entries: the cluster has a refcount of exactly one.
pub(super) const COPIED: u64 = 1 << 63;
/// Bit 62 of an L2 entry: the rest describes compressed data.
pub(super) const COMPRESSED: u64 = 1 << 62;
/// Bit 0 of a plain L2 entry: reads as zeros, whatever is stored.
pub(super) const READS_AS_ZERO: u64 = 1;
/// Bits 9 to 55 of L1 and plain L2 entries.
pub(super) const OFFSET_MASK: u64 = 0x00ff_ffff_ffff_fe00;

pub(super) const INCOMPATIBLE_DIRTY: u64 = 1;
pub(super) const INCOMPATIBLE_CORRUPT: u64 = 1 << 1;
pub(super) const INCOMPATIBLE_DATA_FILE: u64 = 1 << 2;
/// The compression type is not the zlib that version 2 knew.
pub(super) const INCOMPATIBLE_COMPRESSION: u64 = 1 << 3;

pub(super) const COMPRESSION_ZLIB: u8 = 0;
pub(super) const COMPRESSION_ZSTD: u8 = 1;

/// Bytes of the version 3 header, up to and with the compression type and its padding.
pub(super) const HEADER_BYTES: usize = 112;

/// Bit at which the sector count of a compressed L2 entry begins.
pub(super) const fn sector_count_shift(cluster_bits: u32) -> u32 {
    62 - (cluster_bits - 8)
}

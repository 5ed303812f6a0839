//! Little-endian fields of on-disk structures.
//!
//! ext4 splits many numbers into a low and a high half that lie far apart; the `lo`/`hi` functions name
//! the half that is meant.

#[cfg(not(target_pointer_width = "64"))]
compile_error!("block and byte counts are used as indices, which takes 64-bit pointers");

pub(crate) fn put16(buffer: &mut [u8], at: usize, value: u16) {
    buffer[at..at + 2].copy_from_slice(&value.to_le_bytes());
}

pub(crate) fn put32(buffer: &mut [u8], at: usize, value: u32) {
    buffer[at..at + 4].copy_from_slice(&value.to_le_bytes());
}

/// The field at `at`, which the caller knows to be within `buffer`.
pub(crate) fn get16(buffer: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([buffer[at], buffer[at + 1]])
}

/// The field at `at`, which the caller knows to be within `buffer`.
pub(crate) fn get32(buffer: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([buffer[at], buffer[at + 1], buffer[at + 2], buffer[at + 3]])
}

/// The number of two halves.
pub(crate) const fn joined(high: u32, low: u32) -> u64 {
    (high as u64) << 32 | low as u64
}

/// The number that `bits` stands for, as the kernel stores it.
#[expect(clippy::cast_possible_wrap, reason = "two's complement is the on-disk form")]
pub(crate) const fn signed(bits: u32) -> i32 {
    bits as i32
}

#[expect(clippy::cast_possible_truncation, reason = "the low half is what is asked for")]
pub(crate) const fn lo16(value: u32) -> u16 {
    value as u16
}

pub(crate) const fn hi16(value: u32) -> u16 {
    lo16(value >> 16)
}

#[expect(clippy::cast_possible_truncation, reason = "the low half is what is asked for")]
pub(crate) const fn lo32(value: u64) -> u32 {
    value as u32
}

pub(crate) const fn hi32(value: u64) -> u32 {
    lo32(value >> 32)
}

#[expect(clippy::cast_possible_truncation, reason = "the low byte is what is asked for")]
pub(crate) const fn lo8(value: u32) -> u8 {
    value as u8
}

#[expect(clippy::cast_possible_truncation, reason = "pointers have 64 bits, see above")]
pub(crate) const fn index(value: u64) -> usize {
    value as usize
}

/// The bits of a signed number, as the kernel stores them.
#[expect(clippy::cast_sign_loss, reason = "two's complement is the on-disk form")]
pub(crate) const fn bits(value: i64) -> u64 {
    value as u64
}

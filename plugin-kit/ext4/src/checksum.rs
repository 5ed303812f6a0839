//! The crc32c checksums of the `metadata_csum` feature.
//!
//! ext4 uses the bare register of the algorithm: no inversion before or after. Every structure of a file
//! system starts from a seed made of its UUID, those of an inode from a seed of that inode, so that a block
//! of one file system or inode is never taken for one of another.

/// A checksum under way; starts from all ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Checksum(u32);

impl Checksum {
    pub(crate) const START: Self = Self(!0);

    /// Seed of everything that belongs to the file system `uuid`.
    pub(crate) fn of_file_system(uuid: &[u8; 16]) -> Self {
        Self::START.update(uuid)
    }

    /// Seed of everything that belongs to the inode `number` (its generation is always 0 here).
    pub(crate) fn of_inode(self, number: u32) -> Self {
        self.update(&number.to_le_bytes()).update(&[0; 4])
    }

    pub(crate) fn update(self, data: &[u8]) -> Self {
        Self(!crc32c::crc32c_append(!self.0, data))
    }

    pub(crate) fn value(self) -> u32 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_register_is_the_inverse_of_the_usual_check_value() {
        // RFC 3720 B.4 style check value of crc32c("123456789") is e3069283.
        assert_eq!(Checksum::START.update(b"123456789").value(), !0xe306_9283);
    }

    #[test]
    fn pieces_give_the_same_as_the_whole() {
        let pieces = Checksum::START.update(b"1234").update(b"56789");
        assert_eq!(pieces, Checksum::START.update(b"123456789"));
    }
}

//! A file that comes from elsewhere, from its beginning to its end.

use std::io;
use std::os::unix::fs::FileExt;

use fs_err::File;
use sha2::{Digest, Sha256};

use super::{UNIT_BYTES, is_zero};

/// Appends to a file that was empty: units of zeros become holes, and the digest of all bytes is taken on
/// the way.
#[derive(Clone, Debug, Default)]
pub struct Appender {
    bytes: u64,
    digest: Sha256,
}

impl Appender {
    /// How much has come.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Adds `part` to the end of `file`.
    ///
    /// # Errors
    /// What the file system answers. It is not known then how much was written.
    pub fn append(&mut self, file: &File, part: &[u8]) -> io::Result<()> {
        self.digest.update(part);
        let mut rest = part;
        while !rest.is_empty() {
            // The file was empty: of a unit that comes in pieces, those of zeros are there already.
            let to_end_of_unit = UNIT_BYTES as u64 - self.bytes % UNIT_BYTES as u64;
            let len = usize::try_from(to_end_of_unit).unwrap_or(UNIT_BYTES).min(rest.len());
            let (piece, later) = rest.split_at(len);
            if !is_zero(piece) {
                file.file().write_all_at(piece, self.bytes)?;
            }
            self.bytes += piece.len() as u64;
            rest = later;
        }
        Ok(())
    }

    /// Gives `file` its length, since it may end with a hole, and answers the SHA-256 of its content.
    ///
    /// # Errors
    /// What the file system answers.
    pub fn finish(self, file: &File) -> io::Result<[u8; 32]> {
        file.set_len(self.bytes)?;
        Ok(self.digest.finalize().into())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn what_comes_in_pieces_of_any_size_is_the_same_file_with_holes_where_zeros_were() {
        let mut content = vec![0_u8; 5 * UNIT_BYTES + 100];
        content[UNIT_BYTES + 7] = 1;
        content[3 * UNIT_BYTES..][..10].fill(2);
        let wanted: [u8; 32] = Sha256::digest(&content).into();
        for size in [1000, UNIT_BYTES, 3 * UNIT_BYTES - 1] {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("file");
            let file = File::create(&path).unwrap();
            let mut appender = Appender::default();
            for piece in content.chunks(size) {
                appender.append(&file, piece).unwrap();
            }
            assert_eq!(appender.bytes(), content.len() as u64);
            assert_eq!(appender.finish(&file).unwrap(), wanted);
            assert_eq!(fs_err::read(&path).unwrap(), content, "pieces of {size}");
            let taken = file.metadata().unwrap().blocks() * 512;
            assert!(taken <= 2 * UNIT_BYTES as u64, "{taken} bytes in pieces of {size}");
        }
    }
}

//! Where an image is read from.

use std::io;

use crate::field::index;

/// An image that can be read at any offset, from several threads.
pub trait ReadAt: Send + Sync {
    /// Bytes of the image; the file system may be shorter.
    fn size_bytes(&self) -> u64;

    /// Fills `buffer` from the byte `offset` of the image.
    ///
    /// # Errors
    /// Whatever keeps the bytes from being read; `UnexpectedEof` beyond the end.
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;
}

/// The whole vector is the image.
impl ReadAt for Vec<u8> {
    fn size_bytes(&self) -> u64 {
        self.len() as u64
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let beyond = || io::Error::from(io::ErrorKind::UnexpectedEof);
        let rest = self.get(index(offset)..).and_then(|rest| rest.get(..buffer.len()));
        buffer.copy_from_slice(rest.ok_or_else(beyond)?);
        Ok(())
    }
}

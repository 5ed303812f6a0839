//! The digest of what is written.

use std::io::{self, Write};

use sha2::{Digest, Sha256};

/// A writer that counts and digests what it passes on.
#[derive(Debug)]
pub struct Digested<W> {
    inner: W,
    hash: Sha256,
    bytes: u64,
}

impl<W> Digested<W> {
    /// Passes on to `inner`.
    pub fn new(inner: W) -> Self {
        Self { inner, hash: Sha256::new(), bytes: 0 }
    }

    /// Bytes so far.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The writer, and the SHA-256 of all bytes as `sha256:` and hex.
    pub fn finish(self) -> (W, String) {
        (self.inner, format!("sha256:{}", hex::encode(self.hash.finalize())))
    }
}

impl<W: Write> Write for Digested<W> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(data)?;
        self.hash.update(&data[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

//! Secrets at rest: what must be written down although it may hold credentials is sealed.
//!
//! XChaCha20-Poly1305 with a random nonce in front, under a key that a private file of the data directory
//! holds. Whoever reads a copy of the database alone learns nothing.

use std::io;
use std::os::unix::fs::OpenOptionsExt;

use camino::{Utf8Path, Utf8PathBuf};
use chacha20poly1305::aead::{Aead, KeyInit};
use chacha20poly1305::{Key, XChaCha20Poly1305, XNonce};

/// Length of a nonce, in bytes.
const NONCE_BYTES: usize = 24;
/// Length of a key, in bytes.
const KEY_BYTES: usize = 32;

/// Seals and opens.
pub struct Sealer {
    cipher: XChaCha20Poly1305,
}

/// Why a key or a sealed text cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SealError {
    /// The key file does not read or write.
    #[error("cannot use key file `{path}`")]
    KeyFile {
        /// The file.
        path: Utf8PathBuf,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// The key file does not hold a key.
    #[error("key file `{path}` does not hold a key of 32 bytes")]
    NoKey {
        /// The file.
        path: Utf8PathBuf,
    },
    /// The machine gives no random bytes.
    #[error("the machine gives no random bytes")]
    Random(#[source] io::Error),
    /// The text was sealed under another key, or changed.
    #[error("a sealed text does not open: it was changed, or sealed under another key")]
    Damaged,
}

impl Sealer {
    /// Uses the key in the file `path`, which is made when it is missing.
    ///
    /// # Errors
    /// [`SealError`].
    pub fn open(path: &Utf8Path) -> Result<Self, SealError> {
        let failed = |source| SealError::KeyFile { path: path.to_owned(), source };
        let key = match fs_err::read(path) {
            Ok(key) => key,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let mut key = [0; KEY_BYTES];
                fill_random(&mut key).map_err(SealError::Random)?;
                let mut options = fs_err::OpenOptions::new();
                options.write(true).create_new(true);
                options.options_mut().mode(0o600);
                let mut file = options.open(path).map_err(failed)?;
                io::Write::write_all(&mut file, &key).map_err(failed)?;
                file.sync_all().map_err(failed)?;
                key.to_vec()
            },
            Err(error) => return Err(failed(error)),
        };
        let key: [u8; KEY_BYTES] =
            key.try_into().map_err(|_| SealError::NoKey { path: path.to_owned() })?;
        Ok(Self { cipher: XChaCha20Poly1305::new(&Key::from(key)) })
    }

    /// Seals `text`.
    ///
    /// # Errors
    /// [`SealError::Random`].
    pub fn seal(&self, text: &[u8]) -> Result<Vec<u8>, SealError> {
        let mut nonce = [0; NONCE_BYTES];
        fill_random(&mut nonce).map_err(SealError::Random)?;
        let sealed = self.cipher.encrypt(&XNonce::from(nonce), text);
        let mut all = nonce.to_vec();
        all.extend(sealed.map_err(|_| SealError::Damaged)?);
        Ok(all)
    }

    /// Opens what [`Sealer::seal`] made.
    ///
    /// # Errors
    /// [`SealError::Damaged`].
    pub fn unseal(&self, sealed: &[u8]) -> Result<Vec<u8>, SealError> {
        let (nonce, text) = sealed.split_first_chunk::<NONCE_BYTES>().ok_or(SealError::Damaged)?;
        self.cipher.decrypt(&XNonce::from(*nonce), text).map_err(|_| SealError::Damaged)
    }
}

impl std::fmt::Debug for Sealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sealer").finish_non_exhaustive()
    }
}

/// Random bytes of the kernel, fit for keys.
///
/// # Errors
/// The kernel gives none.
pub fn fill_random(bytes: &mut [u8]) -> io::Result<()> {
    getrandom::fill(bytes).map_err(io::Error::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealer() -> (tempfile::TempDir, Sealer) {
        let folder = tempfile::tempdir().unwrap();
        let path = Utf8PathBuf::from_path_buf(folder.path().join("key")).unwrap();
        let sealer = Sealer::open(&path).unwrap();
        (folder, sealer)
    }

    #[test]
    fn what_was_sealed_opens_and_shows_nothing_of_itself() {
        let (folder, first) = sealer();
        let sealed = first.seal(b"hunter2").unwrap();
        assert!(!sealed.windows(7).any(|window| window == b"hunter2"));
        assert_ne!(sealed, first.seal(b"hunter2").unwrap());
        let again = Sealer::open(Utf8Path::from_path(&folder.path().join("key")).unwrap()).unwrap();
        assert_eq!(again.unseal(&sealed).unwrap(), b"hunter2");
    }

    #[test]
    fn a_changed_text_and_another_key_do_not_open() {
        let (_folder, first) = sealer();
        let (_other_folder, other) = sealer();
        let mut sealed = first.seal(b"hunter2").unwrap();
        assert!(matches!(other.unseal(&sealed), Err(SealError::Damaged)));
        sealed[30] ^= 1;
        assert!(matches!(first.unseal(&sealed), Err(SealError::Damaged)));
        assert!(matches!(first.unseal(b"short"), Err(SealError::Damaged)));
    }
}

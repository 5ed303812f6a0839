//! A certificate with its key, as files hold them.

use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::sync::Arc;

use camino::Utf8Path;
use fs_err::File;
use jiff::Timestamp;
use tokio_rustls::rustls::client::verify_server_name;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::server::ParsedCertificate;
use tokio_rustls::rustls::{self, ServerConfig};
use x509_cert::Certificate as Document;
use x509_cert::der::Decode as _;
use x509_cert::time::Time;

use super::TlsError;
use crate::fingerprint::Fingerprint;

/// Longest file of certificates or of a key, in bytes.
const MAX_BYTES: u64 = 1 << 20;
/// Permission bits of everybody.
const OTHERS: u32 = 0o007;

/// What clients see of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// What people compare it by.
    pub fingerprint: Fingerprint,
    /// When it begins to be valid.
    pub begins: Timestamp,
    /// When it ends.
    pub ends: Timestamp,
}

/// A certificate with its key.
#[derive(Clone, Debug)]
pub(super) struct Pair {
    pub(super) certificate: Certificate,
    pub(super) config: Arc<ServerConfig>,
    chain: Vec<CertificateDer<'static>>,
}

impl Pair {
    /// Reads the files, which may be the same one.
    pub(super) fn read(certificate: &Utf8Path, key: &Utf8Path) -> Result<Self, TlsError> {
        let (chain, seen) = read_certificate(certificate)?;
        let private = read_key(key)?;
        let config = || {
            ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
                .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
                .with_no_client_auth()
                .with_single_cert(chain.clone(), private)
        };
        let mut config = config().map_err(|source| match source {
            rustls::Error::InconsistentKeys(_) => {
                TlsError::Mismatch { certificate: certificate.to_owned(), key: key.to_owned() }
            },
            source => TlsError::Unusable { path: certificate.to_owned(), source },
        })?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { certificate: seen, config: Arc::new(config), chain })
    }

    /// Whether the certificate is one of `name`.
    pub(super) fn names(&self, name: &ServerName<'_>) -> bool {
        let parsed = self.chain.first().map(ParsedCertificate::try_from);
        parsed.is_some_and(|parsed| {
            parsed.is_ok_and(|parsed| verify_server_name(&parsed, name).is_ok())
        })
    }
}

/// The certificates of a file, and what clients see of the first.
pub(super) fn read_certificate(
    path: &Utf8Path,
) -> Result<(Vec<CertificateDer<'static>>, Certificate), TlsError> {
    let what = "certificate";
    let damaged = |message: String| TlsError::Damaged { what, path: path.to_owned(), message };
    let (bytes, _) = read(path)?;
    let chain = CertificateDer::pem_slice_iter(&bytes)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| damaged(error.to_string()))?;
    let Some(first) = chain.first() else {
        return Err(TlsError::Nothing { what, path: path.to_owned() });
    };
    let document = Document::from_der(first).map_err(|error| damaged(error.to_string()))?;
    let validity = document.tbs_certificate().validity();
    let seen = Certificate {
        fingerprint: Fingerprint::of(first),
        begins: timestamp(&validity.not_before),
        ends: timestamp(&validity.not_after),
    };
    Ok((chain, seen))
}

fn read_key(path: &Utf8Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let what = "key";
    let (bytes, mode) = read(path)?;
    if mode & OTHERS != 0 {
        return Err(TlsError::OpenKey { path: path.to_owned(), mode });
    }
    PrivateKeyDer::from_pem_slice(&bytes).map_err(|error| match error {
        pem::Error::NoItemsFound => TlsError::Nothing { what, path: path.to_owned() },
        error => TlsError::Damaged { what, path: path.to_owned(), message: error.to_string() },
    })
}

/// Bytes and permission bits of a file.
fn read(path: &Utf8Path) -> Result<(Vec<u8>, u32), TlsError> {
    let read = || {
        let file = File::open(path)?.into_file();
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(io::Error::other("it is no file"));
        }
        let mut bytes = Vec::new();
        if file.take(MAX_BYTES + 1).read_to_end(&mut bytes)? as u64 > MAX_BYTES {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        Ok((bytes, metadata.mode() & 0o777))
    };
    read().map_err(|source| TlsError::Read { path: path.to_owned(), source })
}

/// A time beyond those that can be told is the last of them.
fn timestamp(time: &Time) -> Timestamp {
    let seconds = time.to_unix_duration().as_secs();
    i64::try_from(seconds)
        .ok()
        .and_then(|seconds| Timestamp::from_second(seconds).ok())
        .unwrap_or(Timestamp::MAX)
}

//! Why there is no TLS.

use std::io;

use camino::Utf8PathBuf;
use jiff::Timestamp;
use tokio_rustls::rustls;

use crate::atomic_file::AtomicFileError;

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A certificate without a key, or the other way round.
    #[error("`certificate` and `key` below `[serve.tls]` go together, and one is missing")]
    Half,
    /// An own certificate and one that is to be made.
    #[error("`self_signed` and `certificate` below `[serve.tls]` exclude each other")]
    Both,
    /// No certificate is asked for.
    #[error("the daemon is not set to use TLS")]
    Off,
    /// The daemon has not made a certificate yet.
    #[error("there is no certificate yet at `{path}`")]
    NotYet {
        /// Where it will be.
        path: Utf8PathBuf,
    },
    /// The certificate that the daemon made is no longer what it was.
    #[error("the self-signed certificate in `{path}` cannot be used")]
    SelfSigned {
        /// The file.
        path: Utf8PathBuf,
        /// Cause.
        #[source]
        source: Box<Self>,
    },
    /// A name that no certificate can hold.
    #[error("`{name}` is neither a host name nor an address")]
    Name {
        /// The name.
        name: String,
    },
    /// A file does not read.
    #[error("cannot read `{path}`")]
    Read {
        /// The file.
        path: Utf8PathBuf,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// A key that is no secret.
    #[error("everybody may use the key in `{path}`, its mode is {mode:03o}")]
    OpenKey {
        /// The key's file.
        path: Utf8PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// A file without a certificate or without a key.
    #[error("there is no {what} in `{path}`")]
    Nothing {
        /// What it should hold.
        what: &'static str,
        /// The file.
        path: Utf8PathBuf,
    },
    /// A file that is damaged.
    #[error("the {what} in `{path}` does not read: {message}")]
    Damaged {
        /// What it should hold.
        what: &'static str,
        /// The file.
        path: Utf8PathBuf,
        /// What is wrong.
        message: String,
    },
    /// A key of another certificate.
    #[error("the key in `{key}` is not that of the certificate in `{certificate}`")]
    Mismatch {
        /// The certificate's file.
        certificate: Utf8PathBuf,
        /// The key's file.
        key: Utf8PathBuf,
    },
    /// A certificate or key of a kind that is not supported.
    #[error("the certificate in `{path}` cannot be used with its key")]
    Unusable {
        /// The certificate's file.
        path: Utf8PathBuf,
        /// Cause.
        #[source]
        source: rustls::Error,
    },
    /// A certificate that has ended.
    #[error("the certificate in `{path}` expired at {at}")]
    Expired {
        /// The certificate's file.
        path: Utf8PathBuf,
        /// When.
        at: Timestamp,
    },
    /// A certificate that has not begun.
    #[error("the certificate in `{path}` is not valid before {at}")]
    NotYetValid {
        /// The certificate's file.
        path: Utf8PathBuf,
        /// When it begins.
        at: Timestamp,
    },
    /// No certificate can be made.
    #[error("a certificate cannot be made")]
    Make(#[source] rcgen::Error),
    /// The certificate that was made cannot be kept.
    #[error("cannot make folder `{path}`")]
    Folder {
        /// The folder.
        path: Utf8PathBuf,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// The certificate that was made cannot be written.
    #[error(transparent)]
    Write(#[from] AtomicFileError),
}

impl TlsError {
    /// What the reader can do about it.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Half => "set both, or neither with `self_signed = true`".to_owned(),
            Self::Both => "remove one of them".to_owned(),
            Self::Off => {
                "set `self_signed = true`, or `certificate` and `key`, below `[serve.tls]`"
                    .to_owned()
            },
            Self::NotYet { .. } => {
                "start `imageforge serve` once: it makes the certificate".to_owned()
            },
            Self::SelfSigned { .. } => {
                "remove the file: a new one is made, with another fingerprint".to_owned()
            },
            Self::Name { .. } => "correct `names` below `[serve.tls]`".to_owned(),
            Self::Read { .. } => {
                "`certificate` and `key` below `[serve.tls]` are files that the user of the daemon \
                 may read"
                    .to_owned()
            },
            Self::OpenKey { path, .. } => format!(
                "run `chmod o= {path}`; whoever may have read the key can pass for this daemon"
            ),
            Self::Nothing { .. } | Self::Damaged { .. } => {
                "certificates and keys are PEM files: `-----BEGIN CERTIFICATE-----`, \
                 `-----BEGIN PRIVATE KEY-----`; a key with a passphrase cannot be used"
                    .to_owned()
            },
            Self::Mismatch { .. } => {
                "the first certificate of the file must be that of the key, and not that of its \
                 authority"
                    .to_owned()
            },
            Self::Unusable { .. } => {
                "use a key of ECDSA P-256 or P-384, Ed25519, or RSA with 2048 bits or more"
                    .to_owned()
            },
            Self::Expired { .. } => "renew it; clients refuse it as it is".to_owned(),
            Self::NotYetValid { .. } => {
                "look whether the clock of this machine is right".to_owned()
            },
            Self::Make(_) | Self::Folder { .. } | Self::Write(_) => return None,
        };
        Some(hint)
    }
}

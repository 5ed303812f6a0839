//! Why a daemon does not do what it is asked for.

use std::io;
use std::time::Duration;

use camino::Utf8PathBuf;
use hyper::StatusCode;

use super::Address;
use crate::atomic_file::AtomicFileError;
use crate::failures::{Exit, Failure, Failures};
use crate::fingerprint::{Fingerprint, NoFingerprint};
use crate::images::StoreError;

/// Why a daemon does not do what it is asked for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The address is none.
    #[error("`--server {given}` {reason}")]
    Address {
        /// As it was given.
        given: String,
        /// What is wrong with it, as the end of a sentence.
        reason: &'static str,
    },
    /// The fingerprint is none.
    #[error("`--server-fingerprint` cannot be read")]
    Fingerprint(#[from] NoFingerprint),
    /// The file of authorities holds none.
    #[error("cannot take certificates from `{path}`")]
    Authorities {
        /// The file.
        path: Utf8PathBuf,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// This system knows no authorities.
    #[error("this system has no authorities that vouch for certificates")]
    NoAuthorities(#[source] tokio_rustls::rustls::Error),
    /// A certificate was asked for where there is none.
    #[error("`{server}` has no certificate")]
    NoTls {
        /// Where.
        server: Address,
    },
    /// The certificate may be anybody's.
    #[error("the certificate of `{server}` is not trusted")]
    Untrusted {
        /// Where.
        server: Address,
        /// That of the certificate.
        shown: Option<Fingerprint>,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// Whoever answers does not speak TLS, or another one.
    #[error("cannot speak TLS with `{server}`")]
    Tls {
        /// Where.
        server: Address,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// The token cannot be sent.
    #[error("the token holds characters that no token has")]
    Token,
    /// Nobody answers there.
    #[error("cannot connect to `{server}`")]
    Connect {
        /// Where.
        server: Address,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// Whoever answers speaks another language.
    #[error("what answers at `{server}` does not speak HTTP")]
    NotHttp {
        /// Where.
        server: Address,
        /// Cause.
        #[source]
        source: hyper::Error,
    },
    /// The connection broke.
    #[error("the connection to `{server}` broke")]
    Broken {
        /// Where.
        server: Address,
        /// Cause.
        #[source]
        source: hyper::Error,
    },
    /// Nothing came for too long.
    #[error("`{server}` says nothing for {} seconds", .after.as_secs())]
    Silent {
        /// Where.
        server: Address,
        /// Time without a word.
        after: Duration,
    },
    /// The answer is not one of a daemon.
    #[error("what answers at `{server}` is no imageforge")]
    NotADaemon {
        /// Where.
        server: Address,
        /// What is missing.
        reason: String,
    },
    /// The daemon speaks another version of the API.
    #[error("`{server}` speaks version {found} of the API, this program version {wanted}")]
    Version {
        /// Where.
        server: Address,
        /// What it speaks.
        found: String,
        /// What is spoken here.
        wanted: &'static str,
    },
    /// The daemon refuses, and says why.
    #[error("`{server}` answers with {status}")]
    Refused {
        /// Where.
        server: Address,
        /// The status of its answer.
        status: StatusCode,
        /// Time after which it may do it.
        retry_after: Option<Duration>,
        /// Every reason; none when it is no daemon that answers.
        failures: Option<Box<Failures>>,
    },
    /// It does not know who asks.
    #[error("`{server}` does not know who asks")]
    Unknown {
        /// Where.
        server: Address,
        /// Whether a token was sent.
        has_token: bool,
    },
    /// What was downloaded is not what the daemon has.
    #[error("the body that came from `{server}` is damaged: {found}, {wanted} was expected")]
    Damaged {
        /// Where from.
        server: Address,
        /// Its length or digest.
        found: String,
        /// That of the record.
        wanted: String,
    },
    /// A disk that is to be sent does not read.
    #[error("cannot read `{path}`")]
    Disk {
        /// The disk.
        path: Utf8PathBuf,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// A download cannot be kept.
    #[error(transparent)]
    File(#[from] AtomicFileError),
    /// The caller does not want it any more.
    #[error("cancelled")]
    Cancelled,
    /// The machine does not let it work.
    #[error("cannot work as a client")]
    Machine(#[source] io::Error),
}

impl ClientError {
    /// Whether the same request may work later.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Connect { .. } | Self::Broken { .. } | Self::Silent { .. } => true,
            // A daemon that means itself says when to come back; else it is a provider, which was asked often enough.
            Self::Refused { status, retry_after: None, failures: Some(_), .. }
                if *status == StatusCode::SERVICE_UNAVAILABLE =>
            {
                false
            },
            Self::Refused { status, .. } => matches!(
                *status,
                StatusCode::TOO_MANY_REQUESTS
                    | StatusCode::BAD_GATEWAY
                    | StatusCode::SERVICE_UNAVAILABLE
                    | StatusCode::GATEWAY_TIMEOUT
            ),
            _ => false,
        }
    }

    /// Whether the daemon has no such thing.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Refused { status: StatusCode::NOT_FOUND, .. })
    }

    /// Whether something is not as the request wants it.
    pub fn is_conflict(&self) -> bool {
        matches!(self, Self::Refused { status: StatusCode::CONFLICT, .. })
    }

    /// Whether it is certain that the daemon never saw the request.
    pub(super) fn is_unsent(&self) -> bool {
        matches!(self, Self::Connect { .. })
    }

    fn exit(&self) -> Exit {
        match self {
            Self::Address { .. } | Self::Fingerprint(_) | Self::NoTls { .. } | Self::Token => {
                Exit::Usage
            },
            Self::Authorities { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                Exit::NotFound
            },
            Self::Authorities { .. } | Self::Disk { .. } => Exit::InvalidInput,
            Self::Unknown { .. } => Exit::Provider,
            Self::Cancelled => Exit::Cancelled,
            Self::Machine(_) => Exit::Internal,
            _ => Exit::Server,
        }
    }

    fn hint(&self) -> Option<String> {
        if let Self::Untrusted { shown: Some(shown), .. } = self {
            return Some(format!(
                "if `imageforge serve --fingerprint` shows `{shown}` on the server, name it by \
                 `--server-fingerprint`; or name its authority by `--server-ca`"
            ));
        }
        let hint = match self {
            Self::Address { .. } => {
                "write `https://HOST:PORT`, `http://127.0.0.1:PORT`, `unix:/PATH` or `local`"
            },
            Self::Fingerprint(_) => "write `SHA256:` and 64 hexadecimal digits",
            Self::NoAuthorities(_) => {
                "install them (`ca-certificates`), or name `--server-ca` or `--server-fingerprint`"
            },
            Self::Disk { .. } => "name a file that you may read",
            Self::Authorities { .. } => "name a file of PEM certificates",
            Self::NoTls { .. } => {
                "leave out `--server-ca` and `--server-fingerprint`, or write `https:`"
            },
            Self::Token => "a token is one line, as `imageforge tokens create` prints it",
            Self::Connect { server: Address::Socket(_), .. } => {
                "is `imageforge serve` running there, and are you its user or root?"
            },
            Self::Connect { .. } => "is `imageforge serve` running, and may you reach its port?",
            Self::NotHttp { server: Address::Loopback { .. }, .. } => {
                "with TLS the address begins with `https:`"
            },
            Self::Untrusted { .. }
            | Self::Tls { .. }
            | Self::NotHttp { .. }
            | Self::NotADaemon { .. } => "look at host and port",
            Self::Broken { .. } | Self::Silent { .. } => "try again; its log tells more",
            Self::Version { .. } => "use the `imageforge` of the same version as the server",
            Self::Unknown { has_token: false, .. } => {
                "name a file with a token by `--token-file`, or set `IMAGEFORGE_TOKEN`; \
                 `imageforge tokens create` makes one on the server"
            },
            Self::Unknown { has_token: true, .. } => {
                "the token is unknown, revoked or expired; `imageforge tokens list` on the server \
                 shows them"
            },
            Self::Damaged { .. } => "try again; `imageforge images check` on the server tells more",
            Self::Refused { .. } => "does a proxy stand before the server?",
            Self::File(_) | Self::Cancelled | Self::Machine(_) => {
                return None;
            },
        };
        Some(hint.to_owned())
    }
}

impl From<ClientError> for Failures {
    fn from(error: ClientError) -> Self {
        let failure = Failure::from_error(error.exit(), &error).hints(error.hint());
        match error {
            ClientError::Refused { failures: Some(failures), .. } => *failures,
            ClientError::File(error) => Failure::from(&StoreError::from(error)).into(),
            ClientError::NotADaemon { reason, .. } => failure.because(reason).into(),
            _ => failure.into(),
        }
    }
}

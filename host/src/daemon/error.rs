//! Why the daemon does not start or ended.

use std::net::SocketAddr;

use camino::Utf8PathBuf;

use super::tls::TlsError;
use crate::factory::QueueError;
use crate::images::StoreError;
use crate::plugins::scan::ScanError;
use crate::settings::ConsumerError;
use crate::tokens::TokenError;

/// Why the daemon does not start or ended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The store cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The queue cannot be taken up.
    #[error(transparent)]
    Queue(#[from] QueueError),
    /// The plugins directory cannot be used.
    #[error(transparent)]
    Plugins(#[from] ScanError),
    /// Another daemon has this data directory.
    #[error("another daemon serves `{data_dir}`")]
    Taken {
        /// The data directory.
        data_dir: Utf8PathBuf,
    },
    /// Nothing can be listened to at the address.
    #[error("cannot listen at `{address}`")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Cause.
        #[source]
        source: std::io::Error,
    },
    /// Others than this machine could connect, and what they send could be read on the way.
    #[error("refusing to listen at `{address}` without TLS")]
    Exposed {
        /// The address.
        address: SocketAddr,
    },
    /// Others than this machine could connect, and nobody is known who may.
    #[error("refusing to listen at `{address}` without a token or a consumer")]
    NoCallers {
        /// The address.
        address: SocketAddr,
    },
    /// The certificate cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The daemon's own socket cannot be listened to.
    #[error("cannot listen at `{path}`")]
    Socket {
        /// The socket.
        path: Utf8PathBuf,
        /// Cause.
        #[source]
        source: std::io::Error,
    },
    /// The tokens cannot be used.
    #[error(transparent)]
    Tokens(#[from] TokenError),
    /// A client that signs its requests cannot be known.
    #[error(transparent)]
    Consumer(#[from] ConsumerError),
    /// The machine does not let it work.
    #[error("the daemon cannot work")]
    Machine(#[source] std::io::Error),
}

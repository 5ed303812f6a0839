//! Where a connection comes from.

use std::fmt;
use std::net::SocketAddr;

use rustix::process::{Uid, geteuid};

use crate::audit::local_user;

/// The other end of a connection.
#[derive(Clone, Debug)]
pub(in crate::daemon) enum Peer {
    /// Somebody on the network.
    Network {
        /// Address and port.
        address: SocketAddr,
    },
    /// A process of this machine, at the daemon's socket.
    Local {
        /// What its user is called when it may do everything: root, and the user of the daemon.
        master: Option<String>,
    },
}

impl Peer {
    /// The process of user `id`, as the kernel tells.
    pub(in crate::daemon) fn local(id: Option<u32>) -> Self {
        let is_master = |id: &u32| *id == 0 || Uid::from_raw(*id) == geteuid();
        Self::Local { master: id.filter(is_master).map(local_user) }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Network { address } => write!(f, "{}", address.ip().to_canonical()),
            Self::Local { .. } => f.write_str("local"),
        }
    }
}

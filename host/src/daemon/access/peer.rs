//! Where a connection comes from.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

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

/// Whom an address stands for. Of IPv6, it is the network that one customer gets: 64 bits.
pub(in crate::daemon) fn customer(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() & !u128::from(u64::MAX)).into(),
        ip @ IpAddr::V4(_) => ip,
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

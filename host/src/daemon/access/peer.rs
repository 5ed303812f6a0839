//! Where a connection comes from.

use std::fmt;
use std::net::SocketAddr;

use rustix::process::{Uid, geteuid};

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
        /// The name of its user when it may do everything: root, and the user of the daemon.
        master: Option<String>,
    },
}

impl Peer {
    /// The process of user `id`, as the kernel tells.
    pub(in crate::daemon) fn local(id: Option<u32>) -> Self {
        let is_master = |id: &u32| *id == 0 || Uid::from_raw(*id) == geteuid();
        Self::Local { master: id.filter(is_master).map(user_name) }
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

/// The name of a user of this machine, else its number.
fn user_name(id: u32) -> String {
    let number = id.to_string();
    let users = fs_err::read_to_string("/etc/passwd").unwrap_or_default();
    let named = users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1) == Some(number.as_str())).then(|| name.to_owned())
    });
    named.unwrap_or(number)
}

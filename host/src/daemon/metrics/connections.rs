//! Figures of connections.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64};

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;

use super::{Figures, Labels};

/// Connections since the daemon was started.
#[derive(Debug, Default)]
pub(in crate::daemon) struct Connections {
    open: Family<Labels, Gauge<i64, AtomicI64>>,
    accepted: Family<Labels, Counter<u64, AtomicU64>>,
    refused: Counter<u64, AtomicU64>,
    timed_out: Family<Labels, Counter<u64, AtomicU64>>,
    handshakes_failed: Family<Labels, Counter<u64, AtomicU64>>,
}

/// Where a client was too slow.
#[derive(Clone, Copy, Debug)]
pub(in crate::daemon) enum Phase {
    /// In the head of a request.
    Head,
    /// In the body of a request.
    Body,
    /// In taking the answer.
    Answer,
    /// Before the next request.
    Idle,
}

impl Phase {
    fn as_str(self) -> &'static str {
        match self {
            Self::Head => "head",
            Self::Body => "body",
            Self::Answer => "answer",
            Self::Idle => "idle",
        }
    }
}

/// Where a connection came in.
#[derive(Clone, Copy, Debug)]
pub(in crate::daemon) enum Door {
    /// From the network.
    Network,
    /// At the daemon's socket.
    Local,
    /// From the network, and told that they are too many.
    Refused,
}

impl Door {
    fn labels(self) -> Labels {
        let door = match self {
            Self::Network => "network",
            Self::Local => "local",
            Self::Refused => "refused",
        };
        vec![("door", door.to_owned())]
    }
}

/// A connection that is open; dropping it closes it.
#[derive(Debug)]
pub(in crate::daemon) struct Open(Gauge<i64, AtomicI64>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Connections {
    /// How many are open.
    pub(in crate::daemon) fn open(&self, door: Door) -> u64 {
        u64::try_from(self.open.get_or_create(&door.labels()).get()).unwrap_or(0)
    }

    /// Counts one.
    pub(in crate::daemon) fn accept(&self, door: Door) -> Open {
        let labels = door.labels();
        self.accepted.get_or_create(&labels).inc();
        let open = self.open.get_or_create(&labels).clone();
        open.inc();
        Open(open)
    }

    /// Counts one that was too many, told so or not.
    pub(in crate::daemon) fn refused(&self) {
        self.refused.inc();
    }

    /// Counts one whose client was too slow.
    pub(in crate::daemon) fn timed_out(&self, phase: Phase) {
        self.timed_out.get_or_create(&vec![("phase", phase.as_str().to_owned())]).inc();
    }

    /// Counts one whose client did not speak TLS as the daemon does: `reason` is one of few words.
    pub(in crate::daemon) fn handshake_failed(&self, reason: &'static str) {
        self.handshakes_failed.get_or_create(&vec![("reason", reason.to_owned())]).inc();
    }
}

impl Figures {
    pub(super) fn connections(&mut self, connections: &Arc<Connections>) {
        let connections = Arc::clone(connections);
        let help = "Connections that are open";
        self.0.register("connections", help, connections.open.clone());
        let help = "Connections that were accepted";
        self.0.register("connections_accepted", help, connections.accepted.clone());
        let help = "Connections that were too many";
        self.0.register("connections_refused", help, connections.refused.clone());
        let help = "Connections that were closed because the client was too slow";
        self.0.register("connections_timed_out", help, connections.timed_out.clone());
        let help = "TLS handshakes that failed";
        self.0.register("tls_handshakes_failed", help, connections.handshakes_failed.clone());
    }
}

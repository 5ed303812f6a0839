//! The table `[serve.connections]`: what connections may take.

use std::net::IpAddr;
use std::num::{NonZeroU32, NonZeroU64};
use std::time::Duration;

use serde::Deserialize;

pub(super) const KEYS: [&str; 7] = [
    "max",
    "max_per_address",
    "handshake_seconds",
    "head_seconds",
    "body_seconds",
    "answer_seconds",
    "idle_seconds",
];

/// The part of all connections that one address may have unless the settings say otherwise: four clients that
/// open all that they can are needed to shut out a fifth.
const SHARE: u64 = 4;

/// What connections may take. Event streams and downloads last as long as they like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct ConnectionSettings {
    /// Connections from the network at once.
    pub max: NonZeroU64,
    /// Connections from one address at once.
    pub max_per_address: Option<NonZeroU64>,
    /// Time that a TLS handshake may take.
    pub handshake_seconds: Seconds,
    /// Time that the head of a request may take.
    pub head_seconds: Seconds,
    /// Time that a request body may stop.
    pub body_seconds: Seconds,
    /// Time in which a client may take nothing of an answer.
    pub answer_seconds: Seconds,
    /// Time between an answer and the next request.
    pub idle_seconds: Seconds,
}

impl ConnectionSettings {
    /// Connections that `address` may have at once.
    pub fn share_of(&self, address: IpAddr) -> u64 {
        match self.max_per_address {
            Some(share) => share.get(),
            // A proxy on this machine stands for everybody, and its own programs are trusted.
            None if address.to_canonical().is_loopback() => self.max.get(),
            None => self.max.get().div_ceil(SHARE),
        }
    }
}

/// A limit of time; never none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Seconds(NonZeroU32);

impl Seconds {
    /// The time.
    pub fn time(self) -> Duration {
        Duration::from_secs(self.0.get().into())
    }
}

impl Default for ConnectionSettings {
    fn default() -> Self {
        const fn seconds(count: u32) -> Seconds {
            match NonZeroU32::new(count) {
                Some(count) => Seconds(count),
                None => Seconds(NonZeroU32::MIN),
            }
        }
        Self {
            // Fewer than the open files that a process has by default, 1024.
            max: NonZeroU64::MIN.saturating_add(511),
            max_per_address: None,
            handshake_seconds: seconds(10),
            head_seconds: seconds(20),
            body_seconds: seconds(30),
            answer_seconds: seconds(300),
            idle_seconds: seconds(75),
        }
    }
}

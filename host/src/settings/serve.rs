//! The table `[serve]`: the daemon.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};

use camino::Utf8PathBuf;
use serde::Deserialize;

use super::access::{ConsumerSettings, RateSettings};
use super::callbacks::CallbackSettings;
use super::connections::ConnectionSettings;
use super::tls::TlsSettings;

pub(super) const KEYS: [&str; 13] = [
    "listen",
    "tls",
    "connections",
    "stop_seconds",
    "max_body_mib",
    "max_upload_gib",
    "slots",
    "callbacks",
    "log_format",
    "log_filter",
    "audit_log",
    "consumers",
    "rates",
];
/// The tables below it that are not named by others, and their keys.
pub(super) const TABLES: [(&str, &[&str]); 5] = [
    ("slots", &["build", "convert", "push"]),
    ("callbacks", &super::callbacks::KEYS),
    ("connections", &super::connections::KEYS),
    ("rates", &super::access::RATE_KEYS),
    ("tls", &super::tls::KEYS),
];

/// Port of upstream's daemon.
const PORT: u16 = 8075;

/// The daemon.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct ServeSettings {
    /// Address and port; other than loopback only with TLS.
    pub listen: SocketAddr,
    /// TLS.
    pub tls: TlsSettings,
    /// What connections may take.
    pub connections: ConnectionSettings,
    /// Time that builds under way have to finish when the daemon is stopped, in seconds.
    pub stop_seconds: u64,
    /// Largest request body, in MiB.
    pub max_body_mib: u64,
    /// Largest disk that is taken in, as it is sent and as a guest sees it, in GiB.
    pub max_upload_gib: u64,
    /// How many images are worked on at once.
    pub slots: SlotSettings,
    /// How receivers are told of changes.
    pub callbacks: CallbackSettings,
    /// How the log is written.
    pub log_format: LogFormat,
    /// What is written: a level, or levels by part of the program, as in `info,imageforge::access=off`.
    pub log_filter: Option<String>,
    /// The file that tells who did what; `audit.log` in the data directory when it is missing.
    pub audit_log: Option<Utf8PathBuf>,
    /// Old clients that sign their requests, by key.
    pub consumers: BTreeMap<String, ConsumerSettings>,
    /// How often somebody may call.
    pub rates: RateSettings,
}

impl ServeSettings {
    /// Largest request body, in bytes.
    pub fn max_body_bytes(&self) -> usize {
        usize::try_from(self.max_body_mib << 20).unwrap_or(usize::MAX)
    }
}

impl Default for ServeSettings {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, PORT)),
            tls: TlsSettings::default(),
            connections: ConnectionSettings::default(),
            stop_seconds: 300,
            max_body_mib: 16,
            max_upload_gib: 256,
            slots: SlotSettings::default(),
            callbacks: CallbackSettings::default(),
            log_format: LogFormat::Auto,
            log_filter: None,
            audit_log: None,
            consumers: BTreeMap::new(),
            rates: RateSettings::default(),
        }
    }
}

/// How the daemon writes its log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For the journal below systemd, text on a terminal, else JSON.
    #[default]
    Auto,
    /// Text for people.
    Text,
    /// One JSON document per line.
    Json,
    /// Text behind priorities, as the journal reads it.
    Journal,
}

/// How many images are worked on at once; at least one of each kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct SlotSettings {
    /// Base images that are built.
    pub build: usize,
    /// Target images that are made.
    pub convert: usize,
    /// Images that are delivered.
    pub push: usize,
}

impl Default for SlotSettings {
    fn default() -> Self {
        Self { build: 2, convert: 2, push: 4 }
    }
}

//! The table `[serve]`: the daemon.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};

use camino::Utf8PathBuf;
use serde::Deserialize;

use super::callbacks::CallbackSettings;

pub(super) const KEYS: [&str; 12] = [
    "listen",
    "tls_certificate",
    "tls_key",
    "tls",
    "stop_seconds",
    "max_body_mib",
    "requests_per_second",
    "slots",
    "oauth_clients",
    "callbacks",
    "log_format",
    "log_filter",
];
pub(super) const SLOT_KEYS: [&str; 3] = ["build", "convert", "push"];

/// Port of upstream's daemon.
const PORT: u16 = 8075;

/// The daemon.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct ServeSettings {
    /// Address and port.
    pub listen: SocketAddr,
    /// PEM file with the certificate chain; without one, a self-signed certificate is made.
    pub tls_certificate: Option<Utf8PathBuf>,
    /// PEM file with the private key of the certificate.
    pub tls_key: Option<Utf8PathBuf>,
    /// Whether clients speak TLS; always, when others than this machine can connect.
    pub tls: bool,
    /// Time that builds under way have to finish when the daemon is stopped, in seconds.
    pub stop_seconds: u64,
    /// Largest request body, in MiB; uploads of images are not bound by it.
    pub max_body_mib: u64,
    /// Requests that one client may send in a second, on average; 0 is no limit.
    pub requests_per_second: u32,
    /// How many images are worked on at once.
    pub slots: SlotSettings,
    /// Secrets of clients that sign with OAuth 1.0a, by consumer key.
    pub oauth_clients: OauthClients,
    /// How receivers are told of changes.
    pub callbacks: CallbackSettings,
    /// How the log is written.
    pub log_format: LogFormat,
    /// What is written: a level, or levels by part of the program, as in `info,imageforge::access=off`.
    pub log_filter: Option<String>,
}

impl Default for ServeSettings {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, PORT)),
            tls_certificate: None,
            tls_key: None,
            tls: false,
            stop_seconds: 300,
            max_body_mib: 16,
            requests_per_second: 100,
            slots: SlotSettings::default(),
            oauth_clients: OauthClients::default(),
            callbacks: CallbackSettings::default(),
            log_format: LogFormat::Auto,
            log_filter: None,
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

/// Secrets by consumer key. `Debug` shows the keys only.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct OauthClients(pub BTreeMap<String, String>);

impl fmt::Debug for OauthClients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

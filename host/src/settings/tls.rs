//! The table `[serve.tls]`: how clients know that they talk to this daemon, and to nobody else.

use camino::{Utf8Path, Utf8PathBuf};
use serde::Deserialize;

pub(super) const KEYS: [&str; 4] = ["self_signed", "certificate", "key", "names"];

/// TLS: none by default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct TlsSettings {
    /// The daemon makes a certificate for itself, unless it has made one.
    pub self_signed: bool,
    /// The site's own certificate, PEM, with those that lead to its authority after it.
    pub certificate: Option<Utf8PathBuf>,
    /// The key of the certificate, PEM.
    pub key: Option<Utf8PathBuf>,
    /// Host names and addresses that a self-signed certificate holds besides those that the daemon knows.
    pub names: Vec<String>,
}

impl TlsSettings {
    /// Whether TLS is asked for, rightly or not.
    pub fn is_wanted(&self) -> bool {
        self.self_signed || self.certificate.is_some() || self.key.is_some()
    }

    /// Relative paths begin at `folder`.
    pub(super) fn resolve(&mut self, folder: &Utf8Path) {
        for path in self.certificate.iter_mut().chain(&mut self.key) {
            *path = folder.join(&path);
        }
    }
}

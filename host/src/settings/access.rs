//! The tables `[serve.consumers]` and `[serve.rates]`: who may call besides tokens, and how often.

use std::fmt;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;

use camino::Utf8PathBuf;
use serde::{Deserialize, Deserializer, de};

use crate::scopes::{Scope, Scopes};

pub(super) const CONSUMER_KEYS: [&str; 3] = ["secret", "secret_file", "scopes"];
pub(super) const RATE_KEYS: [&str; 3] = ["requests_per_second", "burst", "failures_per_minute"];

/// Longest file of a secret, in bytes.
const MAX_SECRET_BYTES: u64 = 4096;

/// A text that is never shown, neither by `Debug` nor by an error about it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The text itself.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<redacted>")
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // The error of the parser would show what stands there instead of a text.
        match String::deserialize(deserializer) {
            Ok(text) if !text.is_empty() => Ok(Self(text)),
            _ => Err(de::Error::custom("expected a text that is not empty")),
        }
    }
}

/// A consumer of OAuth 1.0a: a client of ImageFactory that signs its requests.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct ConsumerSettings {
    /// What it signs with.
    pub secret: Option<Secret>,
    /// The file that holds what it signs with, which only its owner may read.
    pub secret_file: Option<Utf8PathBuf>,
    /// What it may do.
    pub scopes: Vec<Scope>,
}

/// Why a consumer cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConsumerError {
    /// Its key cannot be that of a consumer.
    #[error("`{key}` cannot be the key of a consumer")]
    Key {
        /// The key.
        key: String,
    },
    /// It has no secret, or two.
    #[error("consumer `{key}` needs either `secret` or `secret_file`")]
    Secret {
        /// Its key.
        key: String,
    },
    /// It may do nothing.
    #[error("consumer `{key}` has no `scopes`")]
    Scopes {
        /// Its key.
        key: String,
    },
    /// Its secret does not read.
    #[error("cannot read `{path}`, the secret of consumer `{key}`")]
    File {
        /// Its key.
        key: String,
        /// The file.
        path: Utf8PathBuf,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// Others can read its secret.
    #[error("`{path}`, the secret of consumer `{key}`, has mode {mode:03o}: others can read it")]
    Exposed {
        /// Its key.
        key: String,
        /// The file.
        path: Utf8PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// The file of its secret is empty, too long, or no text.
    #[error("`{path}` holds no secret for consumer `{key}`")]
    NoSecret {
        /// Its key.
        key: String,
        /// The file.
        path: Utf8PathBuf,
    },
}

impl ConsumerError {
    /// What the reader can do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Key { .. } => "a key is 1 to 64 printable ASCII characters without blanks",
            Self::Secret { .. } => "prefer `secret_file`: settings are often readable for others",
            Self::Scopes { .. } => "old clients that build need `scopes = [\"images:write\"]`",
            Self::File { .. } => "name a file that the user of the daemon can read",
            Self::Exposed { .. } => "take the rights away with `chmod go= FILE`",
            Self::NoSecret { .. } => {
                "the file holds the secret as text, a last line end is ignored"
            },
        }
    }
}

/// Longest key, in bytes.
const MAX_KEY_BYTES: usize = 64;

impl ConsumerSettings {
    /// Secret and scopes of the consumer `key`.
    ///
    /// # Errors
    /// [`ConsumerError`].
    pub fn resolve(&self, key: &str) -> Result<(Secret, Scopes), ConsumerError> {
        let key = || key.to_owned();
        let is_plain = key().chars().all(|c| c.is_ascii_graphic());
        if !(1..=MAX_KEY_BYTES).contains(&key().len()) || !is_plain {
            return Err(ConsumerError::Key { key: key() });
        }
        let secret = match (&self.secret, &self.secret_file) {
            (Some(secret), None) => secret.clone(),
            (None, Some(path)) => read_secret(key(), path.clone())?,
            _ => return Err(ConsumerError::Secret { key: key() }),
        };
        if self.scopes.is_empty() {
            return Err(ConsumerError::Scopes { key: key() });
        }
        Ok((secret, self.scopes.iter().cloned().collect()))
    }
}

fn read_secret(key: String, path: Utf8PathBuf) -> Result<Secret, ConsumerError> {
    let read = || {
        let file = fs_err::File::open(&path)?;
        let mode = file.metadata()?.mode() & 0o777;
        let mut bytes = Vec::new();
        file.take(MAX_SECRET_BYTES + 1).read_to_end(&mut bytes)?;
        Ok((mode, bytes))
    };
    let (mode, bytes) = match read() {
        Ok(read) => read,
        Err(source) => return Err(ConsumerError::File { key, path, source }),
    };
    if mode & 0o077 != 0 {
        return Err(ConsumerError::Exposed { key, path, mode });
    }
    let text = String::from_utf8(bytes).unwrap_or_default();
    let text = text.trim_end_matches(['\r', '\n']);
    if text.is_empty() || text.len() as u64 > MAX_SECRET_BYTES {
        return Err(ConsumerError::NoSecret { key, path });
    }
    Ok(text.to_owned().into())
}

/// How often somebody may call. 0 is no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct RateSettings {
    /// Requests of one caller, on average.
    pub requests_per_second: u32,
    /// Requests of one caller that may come at once.
    pub burst: u32,
    /// Requests with wrong credentials from one address.
    pub failures_per_minute: u32,
}

impl Default for RateSettings {
    fn default() -> Self {
        Self { requests_per_second: 200, burst: 2000, failures_per_minute: 30 }
    }
}

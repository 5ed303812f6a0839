//! What a user may write as provider and as credentials.
//!
//! Both arrive as the text that the user gave; what it means is the plugin's own affair.

use std::fmt;

use camino::Utf8PathBuf;
use fs_err::metadata;
use plugin_api::{DelegateError, DelegateErrorKind, Parameters, ResultExt};
use serde::Deserialize;

/// A directory that plays the account at a cloud.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Provider {
    /// Where images are put.
    pub(crate) directory: Utf8PathBuf,
    /// The largest image that it takes, in bytes.
    pub(crate) capacity: Option<u64>,
    /// Time that a push takes besides, in milliseconds.
    pub(crate) delay_ms: u64,
}

impl Provider {
    /// Reads a path, or JSON such as `{"directory": "/srv/images"}`.
    pub(crate) fn parse(text: &str) -> Result<Self, DelegateError> {
        let text = text.trim();
        let provider = if text.starts_with('{') {
            serde_json::from_str(text)
                .or_delegate_error(DelegateErrorKind::InvalidInput, "the provider cannot be read")
        } else {
            Ok(Self { directory: text.into(), ..Self::default() })
        }?;
        if provider.directory.as_str().is_empty() {
            return Err(DelegateError::invalid_input("the provider names no directory")
                .hint("name one that exists, for example `--provider /srv/images`"));
        }
        Ok(provider)
    }

    /// Whether there is room for an image: a cloud often tells that only when it is there.
    pub(crate) fn take_in(&self, bytes: u64) -> Result<(), DelegateError> {
        match self.capacity {
            Some(capacity) if bytes > capacity => Err(DelegateError::unavailable(format!(
                "provider `{}` takes {capacity} bytes and not {bytes}",
                self.directory
            ))
            .hint("delete what it has, or name another provider")),
            _ => Ok(()),
        }
    }

    /// Whether the directory is there and lets `credentials` in.
    pub(crate) fn accept(&self, credentials: &Credentials) -> Result<(), DelegateError> {
        let directory = &self.directory;
        match metadata(directory) {
            Ok(found) if found.is_dir() => {},
            Ok(_) => {
                return Err(DelegateError::invalid_input(format!(
                    "provider `{directory}` is no directory"
                )));
            },
            Err(error) => {
                let message = format!("provider `{directory}` cannot be reached");
                return Err(DelegateError::unavailable(message)
                    .caused_by(error)
                    .hint("make the directory, or name another one"));
            },
        }
        if credentials.password == "wrong" {
            return Err(DelegateError::credentials(format!(
                "provider `{directory}` refuses the password"
            ))
            .hint("any other password will do"));
        }
        Ok(())
    }
}

/// A name and a password; both may be missing.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct Credentials {
    /// The account.
    pub(crate) username: Option<String>,
    password: String,
}

impl Credentials {
    /// What the plugin's own settings say, for deliveries without credentials.
    pub(crate) fn configured(configuration: Parameters<'_>) -> Result<Self, DelegateError> {
        let username = configuration.string("username")?;
        Ok(Self { username, password: configuration.string("password")?.unwrap_or_default() })
    }

    /// Reads JSON such as `{"username": "ada", "password": "secret"}`.
    pub(crate) fn parse(text: &str) -> Result<Self, DelegateError> {
        // The error of the parser could quote the password, so it is not passed on.
        serde_json::from_str(text).map_err(|_| {
            DelegateError::invalid_input("the credentials cannot be read")
                .hint(r#"write them as {"username": "...", "password": "..."}"#)
        })
    }
}

/// The password is left out: what is shown may end in a log.
impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("username", &self.username).finish_non_exhaustive()
    }
}

//! Why a settings file cannot be used.

use std::io;

use camino::Utf8PathBuf;

use super::KEYS;
use crate::template::TargetContentError;

/// Why a settings file cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SettingsError {
    /// It does not read.
    #[error("cannot read settings file `{path}`")]
    Read {
        /// The file.
        path: Utf8PathBuf,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// It is longer than 1 MiB.
    #[error("settings file `{path}` has {size_bytes} bytes, more than 1 MiB")]
    TooLarge {
        /// The file.
        path: Utf8PathBuf,
        /// Its length.
        size_bytes: u64,
    },
    /// It is not TOML.
    #[error("`{path}` line {line}: {message}")]
    Syntax {
        /// The file.
        path: Utf8PathBuf,
        /// Line, from 1.
        line: usize,
        /// What is wrong there.
        message: String,
    },
    /// There is no such setting.
    #[error("`{path}` line {line}: there is no setting `{key}`")]
    UnknownKey {
        /// The file.
        path: Utf8PathBuf,
        /// Line, from 1.
        line: usize,
        /// The key path.
        key: String,
        /// The valid key path that is most like it.
        nearest: Option<String>,
    },
    /// A value has the wrong type.
    #[error("`{path}` line {line}: `{key}`: {message}")]
    Value {
        /// The file.
        path: Utf8PathBuf,
        /// Line, from 1.
        line: usize,
        /// The key path.
        key: String,
        /// What was expected and what was found.
        message: String,
    },
    /// The file that `target_content` names cannot be used.
    #[error(transparent)]
    TargetContent(#[from] TargetContentError),
}

impl SettingsError {
    /// What the reader can do about it.
    pub fn hints(&self) -> Vec<String> {
        match self {
            Self::UnknownKey { nearest: Some(nearest), .. } => {
                vec![format!("did you mean `{nearest}`?")]
            },
            Self::UnknownKey { nearest: None, .. } => {
                vec![format!("the settings are {}", quoted(&KEYS))]
            },
            Self::Read { .. } => vec!["name another file with `--config`".to_owned()],
            Self::TargetContent(error) => error.hints(),
            Self::TooLarge { .. } | Self::Syntax { .. } | Self::Value { .. } => Vec::new(),
        }
    }
}

fn quoted(names: &[&str]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

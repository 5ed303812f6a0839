//! The name of a plugin: the file stem of its link in `plugins.d`.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Most characters of a name.
const MAX_LENGTH: usize = 64;

/// The name of a plugin: a letter or digit, then up to 63 letters, digits, `.`, `_` and `-`.
///
/// So it is always a safe file name, and a stem from which no option of a program can be made.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PluginName(String);

/// A text that is no plugin name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no plugin name: expected a letter or digit, then up to 63 letters, digits, `.`, `_` \
     and `-`"
)]
pub struct InvalidPluginName(pub String);

impl PluginName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for PluginName {
    type Err = InvalidPluginName;

    fn from_str(text: &str) -> Result<Self, InvalidPluginName> {
        let bytes = text.as_bytes();
        let valid = bytes.len() <= MAX_LENGTH
            && bytes.first().is_some_and(u8::is_ascii_alphanumeric)
            && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(byte));
        if valid { Ok(Self(text.to_owned())) } else { Err(InvalidPluginName(text.to_owned())) }
    }
}

impl TryFrom<String> for PluginName {
    type Error = InvalidPluginName;

    fn try_from(text: String) -> Result<Self, InvalidPluginName> {
        text.parse()
    }
}

impl From<PluginName> for String {
    fn from(name: PluginName) -> Self {
        name.0
    }
}

impl Borrow<str> for PluginName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for PluginName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

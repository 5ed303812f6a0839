//! Identifiers of images.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Identifier of one image: a version 4 UUID, written with hyphens in lower case.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ImageId(Uuid);

/// The text is no image identifier.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not an image identifier")]
pub struct ParseImageIdError {
    text: String,
}

impl ImageId {
    /// A new identifier that no other image has.
    #[expect(clippy::new_without_default, reason = "every call answers another value")]
    pub fn new() -> Self {
        Self(Uuid::new_v4())
    }

    /// The first eight digits: enough for people, accepted by [`Store::find`](super::Store::find).
    pub fn short(&self) -> String {
        self.to_string().chars().take(8).collect()
    }
}

impl fmt::Display for ImageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_hyphenated().fmt(f)
    }
}

impl fmt::Debug for ImageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for ImageId {
    type Err = ParseImageIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // The parser of the crate also takes braces and URNs, which are no file names of ours.
        match Uuid::try_parse(text) {
            Ok(uuid) if text.len() == 36 => Ok(Self(uuid)),
            _ => Err(ParseImageIdError { text: text.to_owned() }),
        }
    }
}

impl TryFrom<String> for ImageId {
    type Error = ParseImageIdError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<ImageId> for String {
    fn from(id: ImageId) -> Self {
        id.to_string()
    }
}

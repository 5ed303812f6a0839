//! Identifiers of images and jobs.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

/// A kind of identifier: a version 4 UUID, written with hyphens in lower case.
macro_rules! identifier {
    ($(#[$about:meta])* $name:ident, $(#[$error_about:meta])* $error:ident, $message:literal) => {
        $(#[$about])*
        #[derive(
            Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema
        )]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Uuid);

        $(#[$error_about])*
        #[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
        #[error($message)]
        pub struct $error {
            text: String,
        }

        impl $name {
            /// A new identifier that nothing else has.
            #[expect(clippy::new_without_default, reason = "every call answers another value")]
            pub fn new() -> Self {
                Self(Uuid::new_v4())
            }

            /// The first eight digits: enough for people.
            pub fn short(&self) -> String {
                self.to_string().chars().take(8).collect()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.as_hyphenated().fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = $error;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                // The parser of the crate also takes braces and URNs, which are no file names of ours.
                match Uuid::try_parse(text) {
                    Ok(uuid) if text.len() == 36 => Ok(Self(uuid)),
                    _ => Err($error { text: text.to_owned() }),
                }
            }
        }

        impl TryFrom<String> for $name {
            type Error = $error;

            fn try_from(text: String) -> Result<Self, Self::Error> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.to_string()
            }
        }
    };
}

identifier!(
    /// Identifier of one image. [`Store::find`](super::Store::find) also takes its beginning.
    ImageId,
    /// The text is no image identifier.
    ParseImageIdError,
    "`{text}` is not an image identifier"
);

identifier!(
    /// Identifier of one job.
    JobId,
    /// The text is no job identifier.
    ParseJobIdError,
    "`{text}` is not a job identifier"
);

//! The one error that a delegate answers with.
//!
//! The kind says whose fault it is; the host derives exit codes and HTTP status from it. The message
//! is a lowercase sentence with values in backticks; the remedy goes into the hint.

use std::error::Error;
use std::fmt;

use serde::{Deserialize, Serialize};

/// Whose fault a failure is, and whether trying again may help.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum DelegateErrorKind {
    /// The template, a parameter or a body file is wrong; trying again cannot help.
    InvalidInput,
    /// The provider refused the credentials.
    Credentials,
    /// Something that was named does not exist.
    NotFound,
    /// Something that was named exists already or is in use.
    Conflict,
    /// A server, a mirror or a resource is not available now; trying again may help.
    Unavailable,
    /// This plugin cannot do what was asked.
    Unsupported,
    /// The build was cancelled.
    Cancelled,
    /// A program, a kernel feature or a right is missing on the build machine.
    MissingRequirement,
    /// The work itself failed: a command of the template, a tool, the disk.
    Failed,
    /// The plugin broke a promise of this API, or panicked.
    BugInPlugin,
}

/// Why a delegate could not do what it was asked for.
///
/// ```
/// use plugin_api::DelegateError;
///
/// let error = DelegateError::missing_requirement("program `mmdebstrap` is not installed")
///     .hint("install it: apt-get install mmdebstrap");
/// assert_eq!(error.to_string(), "program `mmdebstrap` is not installed");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DelegateError(Box<Told>);

/// Boxed, so that an answer without an error stays as small as a pointer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Told {
    kind: DelegateErrorKind,
    message: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    causes: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    hints: Vec<String>,
}

macro_rules! constructors {
    ($($(#[$doc:meta])* $name:ident => $kind:ident;)*) => {
        impl DelegateError {
            $($(#[$doc])*
            pub fn $name(message: impl Into<String>) -> Self {
                Self::new(DelegateErrorKind::$kind, message)
            })*
        }
    };
}

constructors! {
    /// The template, a parameter or a body file is wrong.
    invalid_input => InvalidInput;
    /// The provider refused the credentials.
    credentials => Credentials;
    /// Something that was named does not exist.
    not_found => NotFound;
    /// Something that was named exists already or is in use.
    conflict => Conflict;
    /// Not available now; trying again may help.
    unavailable => Unavailable;
    /// This plugin cannot do what was asked.
    unsupported => Unsupported;
    /// The build was cancelled.
    cancelled => Cancelled;
    /// A program, a kernel feature or a right is missing on the build machine.
    missing_requirement => MissingRequirement;
    /// The work itself failed.
    failed => Failed;
    /// The plugin broke a promise of this API.
    bug_in_plugin => BugInPlugin;
}

impl DelegateError {
    /// An error of `kind` that says `message`: a lowercase sentence, values in backticks.
    pub fn new(kind: DelegateErrorKind, message: impl Into<String>) -> Self {
        Self(Box::new(Told {
            kind,
            message: message.into(),
            causes: Vec::new(),
            hints: Vec::new(),
        }))
    }

    /// Adds what the reader can do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hints.push(hint.into());
        self
    }

    /// Adds `error` and everything that caused it to the chain of causes.
    #[must_use]
    pub fn caused_by(mut self, error: impl Error) -> Self {
        self.0.causes.push(error.to_string());
        let mut source = error.source();
        while let Some(cause) = source {
            self.0.causes.push(cause.to_string());
            source = cause.source();
        }
        self
    }

    /// Adds one line to the chain of causes.
    #[must_use]
    pub fn because(mut self, cause: impl Into<String>) -> Self {
        self.0.causes.push(cause.into());
        self
    }

    /// Whose fault it is.
    pub fn kind(&self) -> DelegateErrorKind {
        self.0.kind
    }

    /// What is so, without causes and hints.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// What caused it, outermost first.
    pub fn causes(&self) -> &[String] {
        &self.0.causes
    }

    /// What the reader can do about it.
    pub fn hints(&self) -> &[String] {
        &self.0.hints
    }
}

impl fmt::Display for DelegateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl Error for DelegateError {}

/// A failed system call becomes [`DelegateErrorKind::Failed`], with a hint where one is known.
impl From<std::io::Error> for DelegateError {
    fn from(error: std::io::Error) -> Self {
        let known = match error.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
                Some("free space in the data directory, or name another one with `--data-dir`")
            },
            std::io::ErrorKind::PermissionDenied => Some("check owner and mode of that path"),
            _ => None,
        };
        let failed = Self::failed(error.to_string());
        match known {
            Some(hint) => failed.hint(hint),
            None => failed,
        }
    }
}

/// Turns any error into a [`DelegateError`] that says what was being done.
pub trait ResultExt<T> {
    /// Says what was being done and whose fault it is; the error becomes the cause.
    ///
    /// # Errors
    /// The same failure, with `message` before it.
    fn or_delegate_error(
        self,
        kind: DelegateErrorKind,
        message: impl Into<String>,
    ) -> Result<T, DelegateError>;
}

impl<T, E: Error> ResultExt<T> for Result<T, E> {
    fn or_delegate_error(
        self,
        kind: DelegateErrorKind,
        message: impl Into<String>,
    ) -> Result<T, DelegateError> {
        self.map_err(|error| DelegateError::new(kind, message).caused_by(error))
    }
}

//! From typed errors to what a user reads: a sentence, its causes, hints, and an exit code.

use std::error::Error;
use std::process::ExitCode;

use plugin_api::{DelegateError, DelegateErrorKind};
use serde_json::{Value, json};

/// How a command ended; the number is the exit code. Documented in `docs/exit-codes.md`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Exit {
    /// Done.
    Done = 0,
    /// A build, a boot or a check of images failed.
    Failed = 1,
    /// The command line is wrong.
    Usage = 2,
    /// A template, a parameter or a file is wrong.
    InvalidInput = 3,
    /// No plugin can do it, or the one that could cannot be used.
    NoPlugin = 4,
    /// There is no such image or file.
    NotFound = 5,
    /// Something is in use or exists already.
    Conflict = 6,
    /// A provider is unavailable or refused the credentials.
    Provider = 7,
    /// Cancelled.
    Cancelled = 8,
    /// The server of `--server` cannot be spoken to.
    Server = 9,
    /// A defect of imageforge, or a machine that does not let it work.
    Internal = 70,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

impl From<DelegateErrorKind> for Exit {
    fn from(kind: DelegateErrorKind) -> Self {
        match kind {
            DelegateErrorKind::InvalidInput | DelegateErrorKind::Unsupported => Self::InvalidInput,
            DelegateErrorKind::NotFound => Self::NotFound,
            DelegateErrorKind::Conflict => Self::Conflict,
            DelegateErrorKind::Credentials | DelegateErrorKind::Unavailable => Self::Provider,
            DelegateErrorKind::MissingRequirement => Self::NoPlugin,
            DelegateErrorKind::Cancelled => Self::Cancelled,
            _ => Self::Failed,
        }
    }
}

/// What caused an error, the nearest cause first.
pub fn causes(error: &dyn Error) -> impl Iterator<Item = String> {
    std::iter::successors(error.source(), |&cause| cause.source()).map(ToString::to_string)
}

/// One thing that went wrong, ready to be printed.
#[derive(Debug)]
pub struct Failure {
    exit: Exit,
    message: String,
    causes: Vec<String>,
    hints: Vec<String>,
}

impl Failure {
    /// A failure that says `message` and ends with `exit`.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into(), causes: Vec::new(), hints: Vec::new() }
    }

    /// `error` and everything that caused it.
    pub fn from_error(exit: Exit, error: &dyn Error) -> Self {
        let mut failure = Self::new(exit, error.to_string());
        failure.causes = causes(error).collect();
        failure
    }

    /// Adds a cause.
    #[must_use]
    pub fn because(mut self, cause: impl Into<String>) -> Self {
        self.causes.push(cause.into());
        self
    }

    /// Adds what the reader can do.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// Adds hints.
    #[must_use]
    pub fn hints<S: Into<String>>(mut self, hints: impl IntoIterator<Item = S>) -> Self {
        self.hints.extend(hints.into_iter().map(Into::into));
        self
    }

    /// How the command ends.
    pub fn exit(&self) -> Exit {
        self.exit
    }

    /// For people: the sentence, `caused by:` lines, `hint:` lines.
    pub fn to_text(&self) -> String {
        // Further lines of a text are indented: they must not pass for lines of ours.
        let whole = |text: &str| text.trim_end().replace('\n', "\n    ");
        let mut lines = vec![format!("error: {}", whole(&self.message))];
        lines.extend(self.causes.iter().map(|cause| format!("  caused by: {}", whole(cause))));
        lines.extend(self.hints.iter().map(|hint| format!("  hint: {}", whole(hint))));
        lines.join("\n")
    }

    /// For programs.
    pub fn to_json(&self) -> Value {
        json!({
            "message": self.message,
            "caused_by": self.causes,
            "hints": self.hints,
            "exit_code": self.exit as u8,
        })
    }

    /// What [`Failure::to_json`] wrote; `None` when there is no message.
    pub fn from_json(document: &Value) -> Option<Self> {
        let texts = |name: &str| {
            let texts = document[name].as_array().into_iter().flatten();
            texts.filter_map(Value::as_str).map(str::to_owned).collect()
        };
        let code = document["exit_code"].as_i64().and_then(|code| i32::try_from(code).ok());
        Some(Self {
            exit: Exit::from_code(code),
            message: document["message"].as_str()?.to_owned(),
            causes: texts("caused_by"),
            hints: texts("hints"),
        })
    }
}

impl From<&DelegateError> for Failure {
    fn from(error: &DelegateError) -> Self {
        Self {
            exit: error.kind().into(),
            message: error.message().to_owned(),
            causes: error.causes().to_vec(),
            hints: error.hints().to_vec(),
        }
    }
}

/// Everything that stood against a command, at least one failure.
#[derive(Debug)]
pub struct Failures {
    first: Failure,
    more: Vec<Failure>,
}

impl Failures {
    /// All of `failures`; `None` when there are none.
    pub fn collect(failures: impl IntoIterator<Item = Failure>) -> Option<Self> {
        let mut failures = failures.into_iter();
        let first = failures.next()?;
        Some(Self { first, more: failures.collect() })
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Failure> {
        std::iter::once(&self.first).chain(&self.more)
    }

    /// Adds to the first what the reader can do.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.first = self.first.hint(hint);
        self
    }

    /// For programs: one document each.
    pub fn to_json(&self) -> Vec<Value> {
        self.iter().map(Failure::to_json).collect()
    }

    /// How the command ends: as the first failure says.
    pub fn exit(&self) -> Exit {
        self.first.exit
    }
}

impl IntoIterator for Failures {
    type Item = Failure;
    type IntoIter = std::iter::Chain<std::iter::Once<Failure>, std::vec::IntoIter<Failure>>;

    fn into_iter(self) -> Self::IntoIter {
        std::iter::once(self.first).chain(self.more)
    }
}

impl From<Failure> for Failures {
    fn from(failure: Failure) -> Self {
        Self { first: failure, more: Vec::new() }
    }
}

impl Exit {
    /// The exit of a process that ended with `code`.
    pub fn from_code(code: Option<i32>) -> Self {
        let all = [
            Self::Done,
            Self::Failed,
            Self::Usage,
            Self::InvalidInput,
            Self::NoPlugin,
            Self::NotFound,
            Self::Conflict,
            Self::Provider,
            Self::Cancelled,
            Self::Server,
        ];
        let found = all.into_iter().find(|exit| code == Some(i32::from(*exit as u8)));
        found.unwrap_or(Self::Internal)
    }

    /// How a command ends when a build that had begun ends with an error of this kind.
    pub fn of_build(kind: DelegateErrorKind) -> Self {
        match kind {
            DelegateErrorKind::Credentials | DelegateErrorKind::Unavailable => Self::Provider,
            DelegateErrorKind::Cancelled => Self::Cancelled,
            _ => Self::Failed,
        }
    }
}

//! A program to run as part of a build.

use std::time::Duration;

use camino::Utf8PathBuf;
use serde::{Deserialize, Serialize};

/// A program to run with [`crate::Builder::run`]: in the build's process group, its output in the
/// build log, ended on cancel.
///
/// ```
/// use plugin_api::Command;
///
/// let list = Command::new("dpkg-query").args(["--root", "/target", "--show"]).quiet();
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[must_use = "a command does nothing until it is given to `Builder::run`"]
pub struct Command {
    pub(crate) argv: Vec<String>,
    pub(crate) env: Vec<(String, String)>,
    pub(crate) env_clear: bool,
    pub(crate) cwd: Option<Utf8PathBuf>,
    pub(crate) stdin: Option<String>,
    pub(crate) stdout_to: Option<Utf8PathBuf>,
    pub(crate) quiet: bool,
    pub(crate) accept: Vec<i32>,
    pub(crate) secrets: Vec<String>,
    pub(crate) time_limit: Option<Duration>,
}

impl Command {
    /// The program `program`: a path, or a name that is looked up in `PATH`.
    pub fn new(program: impl Into<String>) -> Self {
        Self { argv: vec![program.into()], ..Self::default() }
    }

    /// Adds one argument.
    pub fn arg(mut self, argument: impl Into<String>) -> Self {
        self.argv.push(argument.into());
        self
    }

    /// Adds arguments.
    pub fn args<S: Into<String>>(mut self, arguments: impl IntoIterator<Item = S>) -> Self {
        self.argv.extend(arguments.into_iter().map(Into::into));
        self
    }

    /// Sets one environment variable.
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    /// Starts from an empty environment.
    pub fn env_clear(mut self) -> Self {
        self.env_clear = true;
        self
    }

    /// Runs in `directory`; the default is the work directory of the build.
    pub fn cwd(mut self, directory: impl Into<Utf8PathBuf>) -> Self {
        self.cwd = Some(directory.into());
        self
    }

    /// Gives `text` on standard input; the default is an empty one.
    pub fn stdin(mut self, text: impl Into<String>) -> Self {
        self.stdin = Some(text.into());
        self
    }

    /// Writes standard output to this file, byte for byte.
    pub fn stdout_to(mut self, path: impl Into<Utf8PathBuf>) -> Self {
        self.stdout_to = Some(path.into());
        self
    }

    /// Keeps standard output out of the build log; it is still answered.
    pub fn quiet(mut self) -> Self {
        self.quiet = true;
        self
    }

    /// Counts this exit code as success besides 0.
    pub fn accept(mut self, code: i32) -> Self {
        self.accept.push(code);
        self
    }

    /// Replaces `secret` by `<redacted>` in logs and errors.
    pub fn secret(mut self, secret: impl Into<String>) -> Self {
        self.secrets.push(secret.into());
        self
    }

    /// Ends it when it takes longer than this, which is an error; without a limit it is bound by that of the build.
    pub fn time_limit(mut self, limit: Duration) -> Self {
        self.time_limit = Some(limit);
        self
    }

    /// Program and arguments.
    pub fn argv(&self) -> &[String] {
        &self.argv
    }

    /// What the host needs to run it: everything by name.
    pub fn parts(&self) -> CommandParts<'_> {
        CommandParts {
            argv: &self.argv,
            env: &self.env,
            env_clear: self.env_clear,
            cwd: self.cwd.as_deref(),
            stdin: self.stdin.as_deref(),
            stdout_to: self.stdout_to.as_deref(),
            quiet: self.quiet,
            accept: &self.accept,
            secrets: &self.secrets,
            time_limit: self.time_limit,
        }
    }
}

/// A [`Command`] taken apart, for the side that runs it.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct CommandParts<'a> {
    /// Program and arguments.
    pub argv: &'a [String],
    /// Variables to set.
    pub env: &'a [(String, String)],
    /// Whether the environment starts empty.
    pub env_clear: bool,
    /// Working directory.
    pub cwd: Option<&'a camino::Utf8Path>,
    /// Text for standard input.
    pub stdin: Option<&'a str>,
    /// File for standard output.
    pub stdout_to: Option<&'a camino::Utf8Path>,
    /// Whether standard output stays out of the log.
    pub quiet: bool,
    /// Exit codes besides 0 that are success.
    pub accept: &'a [i32],
    /// Texts that are never shown.
    pub secrets: &'a [String],
    /// How long it may take.
    pub time_limit: Option<Duration>,
}

/// What a [`Command`] left behind.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct CommandOutput {
    /// Its exit code.
    pub code: i32,
    /// Its standard output, at most 16 MiB, invalid UTF-8 replaced; empty with
    /// [`Command::stdout_to`].
    pub stdout: String,
}

impl CommandOutput {
    /// An output with this exit code and standard output.
    pub fn new(code: i32, stdout: impl Into<String>) -> Self {
        Self { code, stdout: stdout.into() }
    }
}

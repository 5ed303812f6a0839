//! Running a program without knowing who runs it.
//!
//! This crate starts no process: it says what to run and reads what came out. A plugin backs [`Run`]
//! with `plugin_api::Builder::run`, so that a child belongs to the build, its output to the build
//! log, and a cancelled build ends it. Any closure of the same shape is a [`Run`] too.

use std::error::Error;

/// A program with its arguments and the variables added to its environment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CommandLine {
    /// Program and arguments; the program is a path, or a name to look up in `PATH`.
    pub argv: Vec<String>,
    /// Variables to set besides the inherited ones.
    pub env: Vec<(String, String)>,
}

impl CommandLine {
    /// The program `program` without arguments.
    pub fn new(program: impl Into<String>) -> Self {
        Self { argv: vec![program.into()], env: Vec::new() }
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<S: Into<String>>(mut self, arguments: impl IntoIterator<Item = S>) -> Self {
        self.argv.extend(arguments.into_iter().map(Into::into));
        self
    }

    /// Sets one environment variable.
    #[must_use]
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }
}

/// Why a program could not be run or did not succeed; it names the program.
pub type RunError = Box<dyn Error + Send + Sync>;

/// Something that runs programs.
pub trait Run {
    /// Runs `command` to its end and answers its standard output.
    ///
    /// # Errors
    /// The program could not be started, or ended with another exit code than 0.
    fn run(&self, command: &CommandLine) -> Result<String, RunError>;
}

impl<F: Fn(&CommandLine) -> Result<String, RunError>> Run for F {
    fn run(&self, command: &CommandLine) -> Result<String, RunError> {
        self(command)
    }
}

/// Runs programs directly, for the tests of this crate.
#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test has no builder to run programs")]
pub(crate) fn directly(command: &CommandLine) -> Result<String, RunError> {
    let output = std::process::Command::new(&command.argv[0])
        .args(&command.argv[1..])
        .envs(command.env.iter().map(|(name, value)| (name, value)))
        .output()?;
    if !output.status.success() {
        let log = String::from_utf8_lossy(&output.stderr).into_owned();
        let shown = String::from_utf8_lossy(&output.stdout).into_owned();
        return Err(format!("{:?}: {}: {shown}{log}", command.argv, output.status).into());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

//! Running what `plugin-kit` says must be run.

use plugin_api::{Builder, Command, DelegateError};
use plugin_kit::run::CommandLine;

/// Runs `line` as part of the build and answers its standard output.
///
/// # Errors
/// As [`Builder::run`].
pub fn run_line(builder: &Builder, line: &CommandLine) -> Result<String, DelegateError> {
    let mut words = line.argv.iter();
    let program = words.next().map(String::as_str).unwrap_or_default();
    let mut command = Command::new(program).args(words.map(String::as_str)).quiet();
    for (name, value) in &line.env {
        command = command.env(name.as_str(), value.as_str());
    }
    builder.run(command).map(|output| output.stdout)
}

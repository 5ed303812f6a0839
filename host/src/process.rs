//! The one place that starts processes.

use std::process::Command;

/// A command for `program`: a path, or a name that is looked up in `PATH`.
#[expect(clippy::disallowed_methods, reason = "the one place that starts processes")]
pub fn command(program: impl AsRef<std::ffi::OsStr>) -> Command {
    Command::new(program)
}

/// A command for this very executable, also when it was replaced on disk meanwhile.
///
/// # Errors
/// When the system does not tell where it is.
pub fn this_executable() -> std::io::Result<Command> {
    Ok(command(std::env::current_exe()?))
}

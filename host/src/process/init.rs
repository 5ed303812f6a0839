//! The first process of a pid namespace.
//!
//! The kernel shields the first process of a namespace from signals, its own included, so a crash
//! of a plugin there would be told wrongly. It therefore starts the real work as its child, takes
//! care of orphans, reports how the child ended, and ends: the namespace with everything in it
//! ends with it.

use std::io::Write;
use std::process::ExitCode;

use rustix::process::{WaitOptions, WaitStatus};
use serde::{Deserialize, Serialize};

use super::executable::this_program;
use super::{Exit, Reach};

/// The last line on standard output, as JSON.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Report {
    /// The child ended.
    Exited(Exit),
}

/// Runs this executable with `arguments`, within `reach`, and answers its exit code.
pub fn run(arguments: &[&str], reach: &Reach) -> ExitCode {
    if let Err(error) = reach.bind() {
        // Everything else of the fence stands.
        tracing::warn!(%error, "not all of the host's own files are hidden from this process");
    }
    match start_and_reap(arguments) {
        Ok(exit) => {
            // Nobody may be listening any more.
            let line = serde_json::to_string(&Report::Exited(exit)).unwrap_or_default();
            let mut stdout = std::io::stdout().lock();
            let written = writeln!(stdout, "\n{line}").and_then(|()| stdout.flush());
            match (written, exit) {
                (Ok(()), Exit::Code(0)) => ExitCode::SUCCESS,
                _ => ExitCode::FAILURE,
            }
        },
        Err(error) => {
            tracing::error!(%error, "cannot start the real process");
            ExitCode::FAILURE
        },
    }
}

fn start_and_reap(arguments: &[&str]) -> std::io::Result<Exit> {
    // A session without a terminal: a program that asks there for a password gets an error, where it
    // would be stopped for ever, because nothing in the background may read a terminal.
    rustix::process::setsid()?;
    let child = this_program()?.args(arguments).spawn()?;
    let child = i32::try_from(child.id()).unwrap_or_default();
    loop {
        let Some((pid, status)) = rustix::process::wait(WaitOptions::empty())? else {
            continue;
        };
        if pid.as_raw_nonzero().get() == child {
            return Ok(exit_of(status));
        }
    }
}

fn exit_of(status: WaitStatus) -> Exit {
    match status.terminating_signal() {
        Some(signal) => Exit::Signal(signal),
        None => Exit::Code(status.exit_status().unwrap_or(-1)),
    }
}

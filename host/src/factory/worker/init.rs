//! The first process of a worker's pid namespace.
//!
//! The kernel shields the first process of a namespace from signals, its own included, so a crash
//! of a plugin there would be told wrongly. It therefore starts the real worker as its child, takes
//! care of orphans, reports how the worker ended, and ends: the namespace with everything in it
//! ends with it.

use std::io::Write;
use std::process::ExitCode;

use rustix::process::{WaitOptions, WaitStatus};

use crate::factory::protocol::{Exit, Message};
use crate::process;

/// Runs the worker and answers its exit code.
pub fn run() -> ExitCode {
    match start_and_reap() {
        Ok(exit) => {
            // After `Done` nobody may be listening any more.
            let line = serde_json::to_string(&Message::Exited(exit)).unwrap_or_default();
            let mut stdout = std::io::stdout().lock();
            let written = writeln!(stdout, "\n{line}").and_then(|()| stdout.flush());
            match (written, exit) {
                (Ok(()), Exit::Code(0)) => ExitCode::SUCCESS,
                _ => ExitCode::FAILURE,
            }
        },
        Err(error) => {
            tracing::error!(%error, "cannot start the worker");
            ExitCode::FAILURE
        },
    }
}

fn start_and_reap() -> std::io::Result<Exit> {
    let child = process::this_executable()?.arg("worker").spawn()?;
    let worker = i32::try_from(child.id()).unwrap_or_default();
    loop {
        let Some((pid, status)) = rustix::process::wait(WaitOptions::empty())? else {
            continue;
        };
        if pid.as_raw_nonzero().get() == worker {
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

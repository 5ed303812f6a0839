//! Runs the programs of a delegate under test. Unlike a host, it ends only the program itself on
//! cancel and not what that has started.

use std::io::{ErrorKind, Read, Write};
use std::process::{Child, ExitStatus, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use camino::Utf8Path;

use crate::command::{Command, CommandOutput, CommandParts};
use crate::error::DelegateError;

pub(super) fn run(
    command: &Command,
    work_dir: &Utf8Path,
    cancelled: &dyn Fn() -> bool,
) -> Result<CommandOutput, DelegateError> {
    let parts = command.parts();
    let mut child = spawn(&parts, work_dir)?;
    let stdin = child.stdin.take();
    let text = parts.stdin.unwrap_or_default().to_owned();
    let feeding = thread::spawn(move || {
        // A program may end without having read its input.
        stdin.and_then(|mut pipe| pipe.write_all(text.as_bytes()).ok())
    });
    let stdout = collect(child.stdout.take());
    let stderr = collect(child.stderr.take());
    let status = wait(&mut child, &parts, cancelled)?;
    drop(feeding.join());
    let stdout = stdout.join().unwrap_or_default();
    let stderr = stderr.join().unwrap_or_default();
    match status.code() {
        Some(code) if code == 0 || parts.accept.contains(&code) => {
            Ok(CommandOutput::new(code, stdout))
        },
        _ => Err(failure(&parts, status, &stderr)),
    }
}

#[expect(clippy::disallowed_methods, reason = "this is what `Builder::run` comes to")]
fn spawn(parts: &CommandParts<'_>, work_dir: &Utf8Path) -> Result<Child, DelegateError> {
    let (program, arguments) = parts
        .argv
        .split_first()
        .ok_or_else(|| DelegateError::bug_in_plugin("a command without a program"))?;
    let mut process = std::process::Command::new(program);
    if parts.env_clear {
        process.env_clear();
    }
    let stdout = match parts.stdout_to {
        Some(path) => Stdio::from(fs_err::File::create(path)?.into_file()),
        None => Stdio::piped(),
    };
    process
        .args(arguments)
        .envs(parts.env.iter().map(|(name, value)| (name, value)))
        .current_dir(parts.cwd.unwrap_or(work_dir))
        .stdin(Stdio::piped())
        .stdout(stdout)
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| match error.kind() {
            ErrorKind::NotFound => {
                DelegateError::missing_requirement(format!("there is no program `{program}`"))
            },
            _ => DelegateError::failed(format!("`{program}` cannot be started")).caused_by(error),
        })
}

fn collect(pipe: Option<impl Read + Send + 'static>) -> JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            // What was read before a failure is still worth showing.
            drop(pipe.read_to_end(&mut bytes));
        }
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

fn wait(
    child: &mut Child,
    parts: &CommandParts<'_>,
    cancelled: &dyn Fn() -> bool,
) -> Result<ExitStatus, DelegateError> {
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        let overdue = parts.time_limit.filter(|limit| start.elapsed() > *limit);
        let is_cancelled = cancelled();
        if overdue.is_some() || is_cancelled {
            child.kill()?;
            child.wait()?;
        }
        if let Some(limit) = overdue {
            let message = format!("`{}` took longer than {limit:?} and was ended", shown(parts));
            return Err(DelegateError::failed(message));
        }
        if is_cancelled {
            return Err(DelegateError::cancelled("the build was cancelled"));
        }
        thread::sleep(Duration::from_millis(2));
    }
}

fn failure(parts: &CommandParts<'_>, status: ExitStatus, stderr: &str) -> DelegateError {
    let lines: Vec<&str> = stderr.lines().collect();
    let last = &lines[lines.len().saturating_sub(5)..];
    let error = DelegateError::failed(format!("`{}` failed: {status}", shown(parts)));
    last.iter().fold(error, |error, line| error.because(redacted(parts, line)))
}

fn shown(parts: &CommandParts<'_>) -> String {
    redacted(parts, &parts.argv.join(" "))
}

fn redacted(parts: &CommandParts<'_>, text: &str) -> String {
    let secrets = parts.secrets.iter().filter(|secret| !secret.is_empty());
    secrets.fold(text.to_owned(), |text, secret| text.replace(secret.as_str(), "<redacted>"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_takes_too_long_is_ended() {
        let slow = Command::new("sleep").arg("600").time_limit(Duration::from_millis(20));
        let error = run(&slow, Utf8Path::new("/"), &|| false).unwrap_err();
        assert_eq!(error.message(), "`sleep 600` took longer than 20ms and was ended");
    }
}

//! `--detach`: the same command again, in a session of its own.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::Stdio;

use serde_json::{Value, json};

use super::error::{Exit, Failure, Failures};
use super::inputs;
use super::output::{Output, write_stdout};
use crate::images::ImageId;
use crate::process;

/// Starts the command, and waits until it has accepted the order.
pub(super) fn start(output: Output) -> Result<Exit, Failures> {
    let internal = |error: std::io::Error| Failure::from_error(Exit::Internal, &error);
    let executable = process::named_executable().map_err(internal)?;
    let arguments = std::env::args_os().skip(1).map(|argument| match argument.to_string_lossy() {
        text if text == "--detach" => "--announce".to_owned(),
        text => text.into_owned(),
    });
    // It inherits standard input, from which it may read the template.
    let mut child = process::command("setsid")
        .arg(executable)
        .args(inputs::join_pairs(arguments))
        .stdout(Stdio::piped())
        .spawn()
        .map_err(internal)?;
    let mut text = String::new();
    if let Some(stdout) = child.stdout.take() {
        let mut stdout = BufReader::new(stdout);
        stdout.read_line(&mut text).map_err(internal)?;
        if let Some(ids) = announced(&text) {
            told(output, &ids);
            return Ok(Exit::Done);
        }
        stdout.read_to_string(&mut text).map_err(internal)?;
    }
    // It was refused and has said why, or there was only a plan to print.
    if !text.is_empty() {
        write_stdout(text.trim_end());
    }
    let status = child.wait().map_err(internal)?;
    Ok(Exit::from_code(status.code()))
}

/// Prints which images will be built.
pub(super) fn told(output: Output, ids: &[String]) {
    output.json(&json!({ "images": ids }));
    output.text(ids.join("\n"));
}

fn announced(line: &str) -> Option<Vec<String>> {
    let document: Value = serde_json::from_str(line).ok()?;
    serde_json::from_value(document.get("announced")?.clone()).ok()
}

/// Tells the process that waits for it which images will be built, and goes on without a terminal.
pub(super) fn announce(ids: &[ImageId]) -> Result<(), Failure> {
    let internal = |error: std::io::Error| Failure::from_error(Exit::Internal, &error);
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{}", json!({ "announced": ids })).map_err(internal)?;
    stdout.flush().map_err(internal)?;
    let nowhere =
        fs_err::OpenOptions::new().read(true).write(true).open("/dev/null").map_err(internal)?;
    rustix::stdio::dup2_stdin(&nowhere)
        .and_then(|()| rustix::stdio::dup2_stdout(&nowhere))
        .and_then(|()| rustix::stdio::dup2_stderr(&nowhere))
        .map_err(|error| internal(error.into()))
}

//! Running a program for a delegate.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::time::Duration;

use plugin_api::{Command, CommandOutput, CommandParts, DelegateError};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions};

use super::channel::Channel;
use super::control::Control;
use crate::factory::protocol::Message;
use crate::factory::secrets::Secrets;
use crate::process::{self, Exit};

/// Standard output that is answered to the delegate.
const MAX_STDOUT_BYTES: u64 = 16 << 20;
/// A line longer than this is cut in the log.
const MAX_LINE_BYTES: u64 = 64 << 10;
/// Last lines of a failed program that its error shows.
const SHOWN_LINES: usize = 12;
/// Lines read ahead of the log.
const QUEUED_LINES: usize = 1024;
/// Time for the streams to end after the program did; a daemon that it started may hold them.
const DRAIN: Duration = Duration::from_secs(2);

/// Where a program's lines go, and what must not be seen in them.
#[derive(Debug)]
pub(super) struct Runner<'a> {
    pub(super) channel: &'a Channel,
    pub(super) control: &'a Control,
    pub(super) secrets: &'a Secrets,
    pub(super) work_dir: &'a camino::Utf8Path,
}

impl Runner<'_> {
    /// Runs `command` and waits for it.
    pub(super) fn run(&self, command: &Command) -> Result<CommandOutput, DelegateError> {
        let parts = command.parts();
        let secrets = self.secrets.with(parts.secrets);
        let argv = secrets.mask(&shown(parts.argv));
        if self.control.cancelled() {
            return Err(cancelled(&argv));
        }
        let mut child = self.spawn(&parts, &argv)?;
        let pid = Pid::from_child(&child);
        self.control.add_child(pid);
        let (events, streams) = Streams::start(&mut child, &parts);
        let (over, ended) = mpsc::channel();
        let (last_lines, overdue) = std::thread::scope(|scope| {
            scope.spawn(move || {
                self.await_end(pid, &events);
                drop(over);
            });
            let overdue =
                parts.time_limit.map(|limit| scope.spawn(move || end_after(limit, pid, &ended)));
            let last_lines = self.forward(&streams, &secrets, parts.quiet);
            let overdue = overdue.is_some_and(|watch| watch.join().unwrap_or_default());
            (last_lines, overdue)
        });
        let exit = child.wait().map(Exit::of).map_err(|error| {
            DelegateError::failed(format!("lost track of `{argv}`")).caused_by(error)
        })?;
        let stdout = streams.stdout.recv_timeout(DRAIN).unwrap_or_default();
        if self.control.cancelled() {
            return Err(cancelled(&argv));
        }
        match exit {
            _ if overdue => Err(too_long(&argv, parts.time_limit, &last_lines)),
            Exit::Code(code) if code == 0 || parts.accept.contains(&code) => {
                Ok(CommandOutput::new(code, String::from_utf8_lossy(&stdout)))
            },
            _ => Err(failed(&argv, exit, &last_lines)),
        }
    }

    fn spawn(&self, parts: &CommandParts<'_>, argv: &str) -> Result<Child, DelegateError> {
        let Some((program, arguments)) = parts.argv.split_first() else {
            return Err(DelegateError::bug_in_plugin("asked to run a command without a program"));
        };
        let mut command = process::command(program);
        if parts.env_clear {
            command.env_clear();
        }
        command
            .args(arguments)
            .envs(parts.env.iter().map(|(name, value)| (name, value)))
            .current_dir(parts.cwd.unwrap_or(self.work_dir))
            .stdin(if parts.stdin.is_some() { Stdio::piped() } else { Stdio::null() })
            .stdout(match parts.stdout_to {
                Some(path) => Stdio::from(fs_err::File::create(path)?.into_file()),
                None => Stdio::piped(),
            })
            .stderr(Stdio::piped())
            .process_group(0);
        tracing::debug!(%argv, "running");
        command.spawn().map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => {
                DelegateError::missing_requirement(format!("program `{program}` is not installed"))
                    .caused_by(error)
                    .hint(format!("install it, or add its folder to PATH: `{program}`"))
            },
            // Also when it is nowhere, and a folder of PATH is closed to whoever looks.
            std::io::ErrorKind::PermissionDenied => DelegateError::missing_requirement(format!(
                "program `{program}` may not be run"
            ))
            .caused_by(error)
            .hint(
                "look whether it is installed, and at the modes of it and of the folders in PATH",
            ),
            _ => DelegateError::failed(format!("cannot start `{argv}`")).caused_by(error),
        })
    }

    /// Sends lines to the log until the program has ended, and keeps the last of them.
    fn forward(&self, streams: &Streams, secrets: &Secrets, quiet: bool) -> VecDeque<String> {
        let mut last = VecDeque::with_capacity(SHOWN_LINES + 1);
        let mut patience = Duration::MAX;
        while let Ok(event) = streams.events.recv_timeout(patience) {
            let Event::Line(stream, line) = event else {
                patience = DRAIN;
                continue;
            };
            let line = secrets.mask(&line);
            if !(quiet && stream == Stream::Stdout) {
                self.channel.send(Message::Output(line.clone()));
            }
            if !line.trim().is_empty() {
                last.push_back(line);
            }
            if last.len() > SHOWN_LINES {
                last.pop_front();
            }
        }
        last
    }

    /// Waits for the program, and ends what it left behind in its process group. Waiting without
    /// reaping keeps the id taken until nobody can signal it any more.
    fn await_end(&self, pid: Pid, events: &SyncSender<Event>) {
        let peek = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        while let Err(Errno::INTR) = rustix::process::waitid(WaitId::Pid(pid), peek) {}
        rustix::process::kill_process_group(pid, Signal::KILL).ok();
        self.control.remove_child(pid);
        drop(events.send(Event::Ended));
    }
}

/// Ends the process group of `pid` when the program has not ended after `limit`; answers whether it did so.
fn end_after(limit: Duration, pid: Pid, ended: &Receiver<Infallible>) -> bool {
    let overdue = ended.recv_timeout(limit) == Err(RecvTimeoutError::Timeout);
    if overdue {
        rustix::process::kill_process_group(pid, Signal::KILL).ok();
    }
    overdue
}

/// Which stream a line came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stream {
    Stdout,
    Stderr,
}

/// What happens while a program runs.
enum Event {
    Line(Stream, String),
    Ended,
}

/// The streams of a running program, each read by a thread of its own.
struct Streams {
    events: Receiver<Event>,
    stdout: Receiver<Vec<u8>>,
}

impl Streams {
    fn start(child: &mut Child, parts: &CommandParts<'_>) -> (SyncSender<Event>, Self) {
        let (sender, events) = mpsc::sync_channel(QUEUED_LINES);
        let (stdout_in, stdout) = mpsc::channel();
        if let (Some(mut pipe), Some(text)) = (child.stdin.take(), parts.stdin) {
            let text = text.to_owned();
            // A program that does not read its input to the end is no error of ours.
            std::thread::spawn(move || drop(pipe.write_all(text.as_bytes())));
        }
        if let Some(pipe) = child.stdout.take() {
            let sender = sender.clone();
            std::thread::spawn(move || {
                drop(stdout_in.send(read_lines(pipe, Stream::Stdout, &sender)));
            });
        }
        if let Some(pipe) = child.stderr.take() {
            let sender = sender.clone();
            std::thread::spawn(move || read_lines(pipe, Stream::Stderr, &sender));
        }
        (sender, Self { events, stdout })
    }
}

/// Sends each line on, and answers the first [`MAX_STDOUT_BYTES`] of all of them.
fn read_lines(pipe: impl Read, stream: Stream, events: &SyncSender<Event>) -> Vec<u8> {
    let mut reader = BufReader::new(pipe);
    let mut all = Vec::new();
    let mut line = Vec::new();
    loop {
        line.clear();
        match reader.by_ref().take(MAX_LINE_BYTES).read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => return all,
            Ok(_) => {},
        }
        if stream == Stream::Stdout && all.len() as u64 + line.len() as u64 <= MAX_STDOUT_BYTES {
            all.extend_from_slice(&line);
        }
        let text = String::from_utf8_lossy(&line).trim_end().to_owned();
        if events.send(Event::Line(stream, text)).is_err() {
            return all;
        }
    }
}

/// The command line as a shell would take it.
fn shown(argv: &[String]) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@%".contains(c);
    argv.iter()
        .map(|word| {
            if !word.is_empty() && word.chars().all(plain) {
                word.clone()
            } else {
                format!("'{}'", word.replace('\'', r"'\''"))
            }
        })
        .collect::<Vec<_>>()
        .join(" ")
}

fn cancelled(argv: &str) -> DelegateError {
    DelegateError::cancelled(format!("the build was cancelled while running `{argv}`"))
}

fn failed(argv: &str, exit: Exit, last_lines: &VecDeque<String>) -> DelegateError {
    with_lines(DelegateError::failed(format!("`{argv}` {exit}")), last_lines)
}

fn too_long(argv: &str, limit: Option<Duration>, last_lines: &VecDeque<String>) -> DelegateError {
    let seconds = limit.unwrap_or_default().as_secs_f32();
    let message = format!("`{argv}` took longer than {seconds} s and was ended");
    with_lines(DelegateError::failed(message), last_lines)
}

fn with_lines(error: DelegateError, last_lines: &VecDeque<String>) -> DelegateError {
    last_lines.iter().fold(error, |error, line| error.because(line.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_ended_when_its_time_is_over_and_not_before() {
        let mut program = process::command("sleep").arg("600").process_group(0).spawn().unwrap();
        let pid = Pid::from_child(&program);
        let (over, ended) = mpsc::channel();
        drop(over);
        assert!(!end_after(Duration::from_mins(10), pid, &ended));
        assert!(program.try_wait().unwrap().is_none());
        let (_over, ended) = mpsc::channel();
        assert!(end_after(Duration::from_millis(10), pid, &ended));
        assert!(!program.wait().unwrap().success());
        let error = too_long("sleep 600", Some(Duration::from_millis(1500)), &VecDeque::new());
        assert_eq!(error.message(), "`sleep 600` took longer than 1.5 s and was ended");
    }

    #[test]
    fn an_argument_with_spaces_is_shown_as_one_word() {
        let argv = ["sh", "-c", "echo it's"].map(str::to_owned);
        assert_eq!(shown(&argv), r"sh -c 'echo it'\''s'");
    }
}

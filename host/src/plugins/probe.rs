//! Asks a library what it is, in a child process that may die of it.
//!
//! `imageforge probe LIBRARY NONCE` opens the library and prints one `Answer`. Only an answer
//! that repeats the nonce counts: a constructor that prints something or ends the process with
//! status 0 proves nothing. The child runs behind the same fence as a worker, which ends when the
//! time is up and after the answer alike, with everything that the library started.

mod patience;

use std::fmt;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, ExitCode, Stdio};
use std::time::{Duration, Instant};

use camino::Utf8Path;
use plugin_api::abi::{Description, LoadError, PluginLibrary};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::process::{
    Pid, PidfdFlags, Resource, Rlimit, Signal, getrlimit, kill_process_group, pidfd_open, setrlimit,
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::failures;
use crate::process::init::Report;
use crate::process::{Exit, Isolation, Reach, family, signal_name};
use patience::Patience;

/// How long a library may take to say what it is: processor time, or time without doing anything.
pub const TIME_LIMIT: Duration = Duration::from_secs(10);

/// Private memory that a library may take to say what it is, in bytes.
const MAX_MEMORY: u64 = 2 << 30;

/// Files that it may have open.
const MAX_FILES: u64 = 1024;

/// Longest file that it may write, in bytes.
const MAX_FILE: u64 = 64 << 20;

/// Processes that it may start, those of the fence included.
const MAX_PROCESSES: u64 = 64;

/// Time between two looks at its processes.
const LOOK: Duration = Duration::from_millis(100);

/// Most bytes of an answer.
const MAX_ANSWER: usize = 256 * 1024;

/// Bytes of standard error that are kept, from its end.
const STDERR_TAIL: usize = 2048;

/// What came of a probe.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ProbeOutcome {
    /// It is a plugin for this host.
    Fits(Description),
    /// It is a plugin for another plugin API.
    Incompatible {
        /// How they differ, in one line.
        reason: String,
        /// What the reader can do about it.
        hint: String,
    },
    /// It is no plugin, or cannot be loaded.
    Refused {
        /// Why, in one line.
        reason: String,
        /// What the reader can do about it.
        hint: String,
    },
    /// It ended the process by a signal.
    Crashed {
        /// Name of the signal.
        signal: String,
        /// The end of its standard error.
        stderr: String,
    },
    /// It ended the process without an answer.
    Exited {
        /// Exit status.
        code: i32,
        /// The end of its standard error.
        stderr: String,
    },
    /// It did not answer in time.
    Hung {
        /// The time limit in milliseconds.
        milliseconds: u64,
        /// The end of its standard error.
        stderr: String,
    },
    /// It started processes without end.
    Multiplied {
        /// How many it may start.
        limit: u64,
        /// The end of its standard error.
        stderr: String,
    },
    /// The child could not be started; says nothing about the library and is never recorded.
    NotProbed {
        /// Why.
        reason: String,
    },
}

impl ProbeOutcome {
    /// What the reader can do about it; empty when it fits.
    pub fn hint(&self) -> &str {
        match self {
            Self::Fits(_) => "",
            Self::Incompatible { hint, .. } | Self::Refused { hint, .. } => hint,
            Self::Crashed { .. }
            | Self::Exited { .. }
            | Self::Hung { .. }
            | Self::Multiplied { .. } => {
                "replace the library, or have it tried again with `imageforge plugins check --again NAME`"
            },
            Self::NotProbed { .. } => "try again",
        }
    }

    /// Whether it keeps the library out until the file changes or somebody asks to try again: whatever
    /// host tried it, it did not survive.
    pub(super) fn is_quarantine(&self) -> bool {
        use crate::plugins::{PluginState, Status};
        Status::from(self).state == PluginState::Quarantined
    }

    /// Whether it, or its first process, ended as a process ends that somebody kills.
    pub(super) fn may_be_a_kill(&self) -> bool {
        let from_outside = [Signal::KILL, Signal::TERM, Signal::INT, Signal::HUP];
        match self {
            Self::Crashed { signal, .. } => {
                from_outside.iter().any(|kill| signal_name(kill.as_raw()) == *signal)
            },
            Self::NotProbed { .. } => true,
            _ => false,
        }
    }

    /// Whether it is worth remembering.
    pub(crate) fn is_about_the_library(&self) -> bool {
        !matches!(self, Self::NotProbed { .. })
    }
}

impl fmt::Display for ProbeOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (text, stderr) = match self {
            Self::Fits(description) => {
                return write!(f, "fits (plugin API {})", description.api_version);
            },
            Self::Incompatible { reason, .. } | Self::Refused { reason, .. } => {
                return f.write_str(reason);
            },
            Self::NotProbed { reason } => return write!(f, "it could not be probed: {reason}"),
            Self::Crashed { signal, stderr } => {
                (format!("the library crashed when it was opened ({signal})"), stderr)
            },
            Self::Exited { code, stderr } => (
                format!("the library ended the process when it was opened (status {code})"),
                stderr,
            ),
            Self::Hung { milliseconds, stderr } => {
                let limit = Duration::from_millis(*milliseconds);
                (format!("the library did not open within {limit:?}"), stderr)
            },
            Self::Multiplied { limit, stderr } => (
                format!("the library started more than {limit} processes when it was opened"),
                stderr,
            ),
        };
        f.write_str(&text)?;
        // What the standard library says of itself says nothing about the library.
        let says_something = |line: &&str| {
            !line.trim().is_empty() && !line.starts_with("note: run with `RUST_BACKTRACE")
        };
        match stderr.lines().rev().find(says_something) {
            Some(line) => write!(f, "; its last words: {}", line.trim()),
            None => Ok(()),
        }
    }
}

/// What the child prints: one line of JSON.
#[derive(Debug, Serialize, Deserialize)]
struct Answer {
    nonce: String,
    #[serde(flatten)]
    outcome: ProbeOutcome,
}

/// Opens `library` in this process and prints what it is: the child's side.
pub fn answer(library: &Utf8Path, nonce: &str) -> ExitCode {
    for (resource, limit) in [
        (Resource::Data, MAX_MEMORY),
        (Resource::Nofile, MAX_FILES),
        (Resource::Fsize, MAX_FILE),
        (Resource::Core, 0),
    ] {
        let maximum = getrlimit(resource).maximum.map_or(limit, |now| now.min(limit));
        // Only raising a limit could be refused.
        setrlimit(resource, Rlimit { current: Some(maximum), maximum: Some(maximum) }).ok();
    }
    let outcome = match PluginLibrary::open(library) {
        Ok(library) => ProbeOutcome::Fits(library.description().clone()),
        Err(error) => of_load_error(&error),
    };
    let answer = Answer { nonce: nonce.to_owned(), outcome };
    let Ok(mut line) = serde_json::to_vec(&answer) else {
        return ExitCode::FAILURE;
    };
    line.push(b'\n');
    // A constructor may have printed half a line.
    line.insert(0, b'\n');
    let mut stdout = io::stdout().lock();
    match stdout.write_all(&line).and_then(|()| stdout.flush()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn of_load_error(error: &LoadError) -> ProbeOutcome {
    let mut reason = error.to_string();
    for cause in failures::causes(error) {
        reason = format!("{reason}: {cause}");
    }
    let hint = error.hint().to_owned();
    match error {
        LoadError::AbiStableVersion { .. }
        | LoadError::ApiVersion { .. }
        | LoadError::IncompatibleLayout { .. } => ProbeOutcome::Incompatible { reason, hint },
        _ => ProbeOutcome::Refused { reason, hint },
    }
}

/// Has `executable` open `library` in a child process within `reach`, for at most
/// `limit`.
pub fn run(
    executable: &Utf8Path,
    library: &Utf8Path,
    reach: &Reach,
    limit: Duration,
) -> ProbeOutcome {
    run_behind(Isolation::available(), executable, library, reach, limit)
}

fn run_behind(
    fence: Isolation,
    executable: &Utf8Path,
    library: &Utf8Path,
    reach: &Reach,
    limit: Duration,
) -> ProbeOutcome {
    let not_probed = |error: io::Error| ProbeOutcome::NotProbed {
        reason: format!("cannot start a probe: {error}"),
    };
    let nonce = Uuid::new_v4().simple().to_string();
    let mut command = fence.command(executable.as_str());
    command.arg("probe");
    if fence.has_pid_namespace() {
        command.arg("--init");
        reach.clone().keeping(library).pass(&mut command);
    }
    let child = fs_err::metadata(executable).and_then(|_| {
        command
            .args([library.as_str(), &nonce])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
    });
    let ended = match child.and_then(|child| watch(child, limit)) {
        Ok(ended) => ended,
        Err(error) => return not_probed(error),
    };
    let stderr = tail(&ended.stderr);
    let status = match ended.end {
        End::Own(status) => status,
        End::TimeUp(limit) => {
            let milliseconds = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
            return ProbeOutcome::Hung { milliseconds, stderr };
        },
        End::TooMany => return ProbeOutcome::Multiplied { limit: MAX_PROCESSES, stderr },
    };
    let (mut answer, mut exit) = (None, (!fence.has_pid_namespace()).then_some(status));
    for line in ended.stdout.split(|byte| *byte == b'\n') {
        match serde_json::from_slice::<Answer>(line) {
            Ok(found) if found.nonce == nonce => answer = Some(found),
            _ if !fence.has_pid_namespace() => {},
            // The last one is of the namespace's first process, whatever the library printed.
            _ => {
                exit = serde_json::from_slice(line).map_or(exit, |Report::Exited(exit)| Some(exit));
            },
        }
    }
    match (exit, answer) {
        (Some(Exit::Signal(signal)), _) => {
            ProbeOutcome::Crashed { signal: signal_name(signal), stderr }
        },
        (Some(Exit::Code(0)), Some(answer)) => answer.outcome,
        (Some(Exit::Code(code)), _) => ProbeOutcome::Exited { code, stderr },
        (None, _) => ProbeOutcome::NotProbed { reason: format!("its process {status}: {stderr}") },
    }
}

/// What a child left behind.
struct Ended {
    end: End,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

/// Why a child is no more.
enum End {
    /// It ended by itself.
    Own(Exit),
    /// It was ended when its time was up.
    TimeUp(Duration),
    /// It was ended for its many processes.
    TooMany,
}

/// Collects output until the child ends or must end, then ends its process group.
fn watch(mut child: Child, limit: Duration) -> io::Result<Ended> {
    let group = Pid::from_child(&child);
    let collected = collect(&mut child, group, limit);
    // The child is not reaped yet, so the number of its group cannot belong to anybody else.
    let killed = kill_process_group(group, Signal::KILL);
    let status = child.wait()?;
    let (ended, stdout, stderr) = collected?;
    if let Err(errno) = killed
        && errno != rustix::io::Errno::SRCH
        && errno != rustix::io::Errno::PERM
    {
        return Err(errno.into());
    }
    Ok(Ended { end: ended.unwrap_or(End::Own(Exit::of(status))), stdout, stderr })
}

/// Output of the child, and why it must end if it did not by itself.
type Collected = (Option<End>, Vec<u8>, Vec<u8>);

fn collect(child: &mut Child, pid: Pid, limit: Duration) -> io::Result<Collected> {
    let missing = || io::Error::other("the child has no pipes");
    let mut stdout = Pipe::new(child.stdout.take().ok_or_else(missing)?, MAX_ANSWER)?;
    let mut stderr = Pipe::new(child.stderr.take().ok_or_else(missing)?, 2 * STDERR_TAIL)?;
    let process = pidfd_open(pid, PidfdFlags::empty())?;
    let mut patience = Patience::new(limit);
    let mut looked = Instant::now();
    let end = loop {
        let mut watched = vec![PollFd::new(&process, PollFlags::IN)];
        for pipe in [stdout.watched(), stderr.watched()] {
            watched.extend(pipe);
        }
        let timeout = Timespec::try_from(LOOK).map_err(io::Error::other)?;
        match poll(&mut watched, Some(&timeout)) {
            Err(rustix::io::Errno::INTR) => continue,
            other => other?,
        };
        let ended = watched.first().is_some_and(|process| !process.revents().is_empty());
        stdout.drain()?;
        stderr.drain()?;
        if ended {
            break None;
        }
        if looked.elapsed() >= LOOK {
            looked = Instant::now();
            let family = family(child.id());
            if family.processes > MAX_PROCESSES {
                break Some(End::TooMany);
            }
            if let Some(limit) = patience.exceeded(&family) {
                break Some(End::TimeUp(limit));
            }
        }
    };
    Ok((end, stdout.kept, stderr.kept))
}

/// One output of the child, read without waiting.
struct Pipe<R> {
    reader: Option<R>,
    kept: Vec<u8>,
    limit: usize,
}

impl<R: Read + AsFd> Pipe<R> {
    fn new(reader: R, limit: usize) -> io::Result<Self> {
        fcntl_setfl(&reader, fcntl_getfl(&reader)? | OFlags::NONBLOCK)?;
        Ok(Self { reader: Some(reader), kept: Vec::new(), limit })
    }

    fn watched(&self) -> Option<PollFd<'_>> {
        self.reader.as_ref().map(|reader| PollFd::new(reader, PollFlags::IN))
    }

    /// Takes what is there and keeps the last bytes; a child that floods cannot fill the memory or
    /// keep this from looking at the clock.
    fn drain(&mut self) -> io::Result<()> {
        let mut buffer = [0; 16 * 1024];
        let mut taken = 0;
        while let Some(reader) = &mut self.reader
            && taken < MAX_ANSWER
        {
            match reader.read(&mut buffer) {
                Ok(0) => self.reader = None,
                Ok(count) => {
                    taken += count;
                    self.kept.extend_from_slice(buffer.get(..count).unwrap_or_default());
                    let surplus = self.kept.len().saturating_sub(self.limit);
                    self.kept.drain(..surplus);
                },
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {},
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

fn tail(bytes: &[u8]) -> String {
    let start = bytes.len().saturating_sub(STDERR_TAIL);
    String::from_utf8_lossy(bytes.get(start..).unwrap_or_default()).trim().to_owned()
}

#[cfg(test)]
mod tests;

//! The lines to and from the supervisor.

use std::io::{BufReader, PipeReader, Write};
use std::sync::{Mutex, PoisonError};

use rustix::fd::AsFd;

use crate::factory::bounds::bounded;
use crate::factory::protocol::Message;

/// Writes messages to the supervisor, one JSON document per line.
#[derive(Debug)]
pub(crate) struct Channel {
    stream: Mutex<std::io::PipeWriter>,
}

/// Descriptors from here on are out of the way of programs that reuse low numbers.
const FIRST_PRIVATE_FD: i32 = 100;

impl Channel {
    /// Takes standard output away from everything that may print, and points it at standard error.
    pub(crate) fn take_over_stdout() -> std::io::Result<Self> {
        let stdout = std::io::stdout();
        let stream = rustix::io::fcntl_dupfd_cloexec(stdout.as_fd(), FIRST_PRIVATE_FD)?;
        rustix::stdio::dup2_stdout(std::io::stderr().as_fd())?;
        Ok(Self { stream: Mutex::new(std::io::PipeWriter::from(stream)) })
    }

    /// Takes standard input away from everything that may read: what the supervisor says is for this
    /// process alone.
    pub(crate) fn take_over_stdin() -> std::io::Result<BufReader<PipeReader>> {
        let stdin = std::io::stdin();
        let stream = rustix::io::fcntl_dupfd_cloexec(stdin.as_fd(), FIRST_PRIVATE_FD)?;
        rustix::stdio::dup2_stdin(fs_err::File::open("/dev/null")?)?;
        Ok(BufReader::new(PipeReader::from(stream)))
    }

    /// Sends one message, cut where it is too long. A supervisor that is gone is no error: this process ends with it.
    pub(crate) fn send(&self, message: Message) {
        // A plugin may have written half a line here; this one begins on its own.
        let mut line = vec![b'\n'];
        if serde_json::to_writer(&mut line, &bounded(message)).is_err() {
            return;
        }
        line.push(b'\n');
        // A plugin in another language may have sent text that is none.
        if std::str::from_utf8(&line).is_err() {
            line = String::from_utf8_lossy(&line).into_owned().into_bytes();
        }
        let mut stream = self.stream.lock().unwrap_or_else(PoisonError::into_inner);
        drop(stream.write_all(&line));
    }
}

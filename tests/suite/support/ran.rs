//! Commands that ran, and commands that still do.

use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

use super::processes::has_thread;
use super::{Process, kill};

/// A command that has ended.
#[derive(Debug)]
pub(crate) struct Ran {
    /// Its exit code; `None` when a signal ended it.
    pub(crate) code: Option<i32>,
    /// What it printed as data.
    pub(crate) stdout: String,
    /// What it said besides.
    pub(crate) stderr: String,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

impl Ran {
    /// It ended well.
    #[track_caller]
    pub(crate) fn done(self) -> Self {
        self.ended(0)
    }

    /// It ended with `code`.
    #[track_caller]
    pub(crate) fn ended(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self:#?}");
        self
    }

    /// It was refused: `code`, no data, exactly one error, and at least one hint.
    #[track_caller]
    pub(crate) fn refused(self, code: i32) -> Self {
        let count = |start: &str| {
            let lines = self.stderr.lines();
            lines.filter(|line| line.starts_with(start)).count()
        };
        assert_eq!(self.code, Some(code), "{self:#?}");
        assert_eq!(count("error: "), 1, "exactly one error: {self:#?}");
        assert!(count("  hint: ") > 0, "at least one hint: {self:#?}");
        assert_eq!(self.stdout, "", "no data: {self:#?}");
        self
    }

    /// It said `text` on standard error.
    #[track_caller]
    pub(crate) fn says(self, text: &str) -> Self {
        assert!(self.stderr.contains(text), "`{text}` in {self:#?}");
        self
    }

    /// It did not say `text` anywhere.
    #[track_caller]
    pub(crate) fn never_says(self, text: &str) -> Self {
        assert!(!self.stderr.contains(text), "`{text}` in {self:#?}");
        assert!(!self.stdout.contains(text), "`{text}` in {self:#?}");
        self
    }

    /// It printed `text` as data.
    #[track_caller]
    pub(crate) fn prints(self, text: &str) -> Self {
        assert!(self.stdout.contains(text), "`{text}` in {self:#?}");
        self
    }

    /// Its one JSON document.
    #[track_caller]
    pub(crate) fn document(&self) -> Value {
        match serde_json::from_str(&self.stdout) {
            Ok(document) => document,
            Err(error) => panic!("one JSON document was expected ({error}): {self:#?}"),
        }
    }
}

/// A command that is under way; it is killed when the test forgets it.
#[derive(Debug)]
pub(crate) struct Running(Option<Child>);

impl Running {
    pub(super) fn new(child: Child) -> Self {
        Self(Some(child))
    }

    /// Starts a command whose output is wanted.
    pub(crate) fn start(mut command: Command) -> Self {
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        Self::new(child.expect("it can be started"))
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.0.as_ref().expect("it has not been waited for").id()
    }

    /// Whether it has ended.
    pub(crate) fn has_ended(&mut self) -> bool {
        let child = self.0.as_mut().expect("it has not been waited for");
        child.try_wait().is_ok_and(|status| status.is_some())
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        kill(self.id(), signal);
    }

    /// Whether it has ended.
    pub(crate) fn is_over(&mut self) -> bool {
        let child = self.0.as_mut().expect("it has not been waited for");
        child.try_wait().expect("a child can be waited for").is_some()
    }

    /// Whether it has a thread of this name.
    pub(crate) fn has_thread(&self, name: &str) -> bool {
        has_thread(self.id(), name)
    }

    /// Waits for its end.
    pub(crate) fn wait(mut self) -> Ran {
        let child = self.0.take().expect("it has not been waited for");
        child.wait_with_output().expect("a child can be waited for").into()
    }

    /// The processes that it started, and those that these started.
    pub(crate) fn descendants(&self) -> Vec<Process> {
        Process::descendants_of(self.id())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            // It may have ended already.
            drop(child.kill());
            drop(child.wait());
        }
    }
}

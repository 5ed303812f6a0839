//! A terminal of the test's own, which can be closed.

use std::os::fd::OwnedFd;
use std::process::Stdio;

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use super::{Running, Workshop, executable};

/// The side of a terminal on which its user sits. Dropping it closes the window.
#[derive(Debug)]
pub(crate) struct Terminal {
    /// Never read: little is written there.
    window: OwnedFd,
    name: String,
}

impl Terminal {
    /// Opens a window.
    pub(crate) fn open() -> Self {
        let window = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC);
        let window = window.expect("the system has terminals");
        grantpt(&window).unwrap();
        unlockpt(&window).unwrap();
        let name = ptsname(&window, Vec::new()).unwrap().into_string().unwrap();
        Self { window, name }
    }

    /// Presses Ctrl-C.
    pub(crate) fn type_ctrl_c(&self) {
        rustix::io::write(&self.window, b"\x03").expect("the window is open");
    }

    /// Runs a script as the shell of this window; `$IMAGEFORGE` is the program.
    pub(crate) fn run(&self, workshop: &Workshop, script: &str) -> Running {
        let side = || {
            let file = fs_err::OpenOptions::new().read(true).write(true).open(&self.name).unwrap();
            Stdio::from(file.into_file())
        };
        let mut command = workshop.environment("setsid");
        command
            .args(["--ctty", "sh", "-c", script])
            .env("IMAGEFORGE", executable())
            .env("TERM", "xterm")
            .stdin(side())
            .stdout(side())
            .stderr(side());
        Running::new(command.spawn().unwrap())
    }
}

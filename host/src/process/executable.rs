//! This very executable, also when another one takes its place on disk, as an upgrade does: builds under
//! way go on with the one that began them.

use std::ffi::{CStr, OsStr};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use camino::Utf8PathBuf;
use rustix::fs::{Mode, OFlags};

use super::command;

/// What runs here, wherever it lies.
const RUNNING: &str = "/proc/self/exe";
/// What people look for in a list of processes.
const NAME: &CStr = c"imageforge";

/// A path under which this process, and those that it starts, can run this executable, whatever happens between
/// the question and the start. It leads to a descriptor, which they inherit.
///
/// # Errors
/// When the system does not tell.
pub fn executable() -> io::Result<Utf8PathBuf> {
    static HELD: Mutex<Option<OwnedFd>> = Mutex::new(None);
    let mut held = HELD.lock().unwrap_or_else(PoisonError::into_inner);
    let file = match held.take() {
        Some(file) => file,
        // It names the file and no more, so whoever inherits it may have it.
        None => rustix::fs::open(RUNNING, OFlags::PATH, Mode::empty())?,
    };
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    *held = Some(file);
    Ok(path.into())
}

/// The same by its name, as long as that leads to it: for a process that people will look for.
///
/// # Errors
/// When the system does not tell.
pub fn named_executable() -> io::Result<Utf8PathBuf> {
    let running = fs_err::metadata(RUNNING)?;
    let is_running = |path: &Utf8PathBuf| {
        let found = fs_err::metadata(path);
        found.is_ok_and(|found| (found.dev(), found.ino()) == (running.dev(), running.ino()))
    };
    let path = Utf8PathBuf::from_path_buf(std::env::current_exe()?).ok();
    path.filter(is_running).map_or_else(executable, Ok)
}

/// A command for this executable itself, which goes by its name.
///
/// # Errors
/// When the system does not tell where it is.
pub(super) fn this_program() -> io::Result<Command> {
    let mut command = command(executable()?);
    command.arg0(OsStr::from_bytes(NAME.to_bytes()));
    Ok(command)
}

/// Has the kernel know this process by the name of the program and not by the number of a descriptor.
pub fn go_by_name() {
    // Nothing but lists of processes depends on it.
    rustix::thread::set_name(NAME).ok();
}

//! This very executable, also when another one has taken its place on disk, as an upgrade does: builds under
//! way go on with the one that began them.

use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::sync::{Mutex, PoisonError};

use camino::Utf8PathBuf;
use fs_err::File;
use rustix::io::FdFlags;

/// What runs here, wherever it lies.
const RUNNING: &str = "/proc/self/exe";

/// A path under which this process, and those that it starts, can run this executable: its own as long as it is
/// there, else one that leads to a descriptor, which they inherit.
///
/// # Errors
/// When the system does not tell.
pub fn executable() -> io::Result<Utf8PathBuf> {
    let running = fs_err::metadata(RUNNING)?;
    let is_running = |path: &Utf8PathBuf| {
        let found = fs_err::metadata(path);
        found.is_ok_and(|found| (found.dev(), found.ino()) == (running.dev(), running.ino()))
    };
    let path = Utf8PathBuf::from_path_buf(std::env::current_exe()?).ok();
    match path.filter(is_running) {
        Some(path) => Ok(path),
        None => held(),
    }
}

/// The path of a descriptor that is opened once. It may be read and no more, so whoever inherits it may have it.
fn held() -> io::Result<Utf8PathBuf> {
    static HELD: Mutex<Option<File>> = Mutex::new(None);
    let mut held = HELD.lock().unwrap_or_else(PoisonError::into_inner);
    let file = if let Some(file) = held.take() {
        file
    } else {
        let file = File::open(RUNNING)?;
        rustix::io::fcntl_setfd(file.file(), FdFlags::empty())?;
        file
    };
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    *held = Some(file);
    Ok(path.into())
}

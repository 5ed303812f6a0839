//! Control groups (version 2): where the machine offers them, each worker gets one of its own.
//!
//! The kernel then holds memory and number of processes of a whole build, not of each process, tells
//! when a limit was passed, and ends everything in it at once. [`look`] says where groups may be made.
//! Without a place, or without a controller, rlimits and the supervisor's looks are what there is;
//! they stay in force beside a group.
//!
//! A group is named after the process that made it, so that the next command finds what a killed one
//! left: `imageforge.NAMESPACE.PROCESS.START.NUMBER`.

mod place;

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use camino::{Utf8Path, Utf8PathBuf};
use rustix::process::{Pid, Signal};

pub use place::{Controllers, NoPlace, Place, look};

use super::limits::Limits;
use crate::process;
use crate::settings::Limit;

const PREFIX: &str = "imageforge.";
const MEBIBYTE: u64 = 1 << 20;
/// The controller counts threads too, and `processes` does not: the supervisor holds a build to the
/// number, the kernel stops what grows faster than it looks.
const THREADS: u64 = 1024;
/// How long killed processes may take to leave their group.
const PATIENCE: Duration = Duration::from_millis(500);
const POLL: Duration = Duration::from_millis(2);

/// The control group of one worker; what is in it ends with it.
#[derive(Debug)]
pub(super) struct Group {
    path: Utf8PathBuf,
}

impl Group {
    /// A new group with these limits; `None` where there is no place for one.
    pub(super) fn new(limits: &Limits) -> Option<Self> {
        static PLACE: OnceLock<Option<(Utf8PathBuf, Controllers)>> = OnceLock::new();
        let place = PLACE.get_or_init(|| {
            let place = look().inspect_err(|error| tracing::debug!(%error, "no control groups"));
            place.ok().map(|place| (place.base.clone(), place.prepare()))
        });
        let (base, controllers) = place.as_ref()?;
        Self::below(base, *controllers, limits)
            .inspect_err(|error| tracing::warn!(%error, "no control group can be made"))
            .ok()
    }

    fn below(base: &Utf8Path, controllers: Controllers, limits: &Limits) -> std::io::Result<Self> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let owner = Owner::this().ok_or_else(|| std::io::Error::other("/proc does not read"))?;
        let path = base.join(format!("{PREFIX}{}.{number}", owner.name()));
        fs_err::create_dir(&path)?;
        let group = Self { path };
        let memory = limits.get(Limit::Memory);
        if controllers.memory && memory > 0 {
            group.write("memory.max", &memory.saturating_mul(MEBIBYTE).to_string())?;
            group.write("memory.oom.group", "1")?;
            // Missing where the kernel does not account for swap.
            drop(group.write("memory.swap.max", "0"));
        }
        let processes = limits.get(Limit::Processes);
        if controllers.pids && processes > 0 {
            group.write("pids.max", &processes.saturating_add(THREADS).to_string())?;
        }
        Ok(group)
    }

    fn write(&self, file: &str, text: &str) -> std::io::Result<()> {
        fs_err::write(self.path.join(file), text)
    }

    /// Its folder.
    pub(super) fn path(&self) -> &Utf8Path {
        &self.path
    }

    /// The limit that the kernel says was passed.
    pub(super) fn passed(&self) -> Option<Limit> {
        let happened = |file: &str, event: &str| {
            let text = fs_err::read_to_string(self.path.join(file)).unwrap_or_default();
            let count = text.lines().find_map(|line| line.strip_prefix(event)?.strip_prefix(' '));
            count.is_some_and(|count| count.trim() != "0")
        };
        if happened("memory.events", "oom_kill") {
            return Some(Limit::Memory);
        }
        happened("pids.events", "max").then_some(Limit::Processes)
    }

    /// Ends every process in it.
    pub(super) fn kill(&self) {
        kill(&self.path);
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        remove(&self.path);
    }
}

/// Goes into the group at `path`: the worker does, before it loads a plugin.
///
/// # Errors
/// The kernel's.
pub(super) fn join(path: &Utf8Path) -> std::io::Result<()> {
    fs_err::write(path.join("cgroup.procs"), "0")
}

/// Ends and removes the groups that killed processes left.
pub fn recover() {
    if let Ok(place) = look() {
        recover_below(&place.base);
    }
}

fn recover_below(base: &Utf8Path) {
    let (Some(this), Ok(entries)) = (Owner::this(), base.read_dir_utf8()) else {
        return;
    };
    for entry in entries.flatten() {
        let Some(owner) = entry.file_name().strip_prefix(PREFIX).and_then(Owner::parse) else {
            continue;
        };
        if owner.namespace != this.namespace {
            // Whether its owner lives cannot be seen from here; an empty one is of no use to anybody.
            drop(fs_err::remove_dir(entry.path()));
        } else if process::started(owner.process) != Some(owner.started) {
            tracing::info!(group = %entry.path(), "removing what a killed process left");
            remove(entry.path());
        }
    }
}

fn kill(group: &Utf8Path) {
    if fs_err::write(group.join("cgroup.kill"), "1").is_ok() {
        return;
    }
    // Linux before 5.14.
    for id in place::processes(group) {
        if let Some(id) = i32::try_from(id).ok().and_then(Pid::from_raw) {
            rustix::process::kill_process(id, Signal::KILL).ok();
        }
    }
}

/// Removes a group with those below it and everything that runs there.
fn remove(group: &Utf8Path) {
    let start = Instant::now();
    while fs_err::remove_dir(group).is_err() && group.exists() {
        if start.elapsed() > PATIENCE {
            tracing::warn!(%group, "a control group does not go; the next command tries again");
            return;
        }
        kill(group);
        for below in group.read_dir_utf8().into_iter().flatten().flatten() {
            if below.file_type().is_ok_and(|kind| kind.is_dir()) {
                remove(below.path());
            }
        }
        std::thread::sleep(POLL);
    }
}

/// The process that made a group. Ids are used again, start times are not.
#[derive(Debug, PartialEq, Eq)]
struct Owner {
    namespace: u64,
    process: u32,
    started: u64,
}

impl Owner {
    fn this() -> Option<Self> {
        let process = std::process::id();
        let namespace = rustix::fs::stat("/proc/self/ns/pid").ok()?.st_ino;
        Some(Self { namespace, process, started: process::started(process)? })
    }

    fn name(&self) -> String {
        format!("{}.{}.{}", self.namespace, self.process, self.started)
    }

    fn parse(name: &str) -> Option<Self> {
        let [namespace, process, started, _] =
            name.split('.').collect::<Vec<_>>().try_into().ok()?;
        Some(Self {
            namespace: namespace.parse().ok()?,
            process: process.parse().ok()?,
            started: started.parse().ok()?,
        })
    }
}

#[cfg(test)]
mod tests;

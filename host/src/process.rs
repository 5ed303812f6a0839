//! The one place that starts processes, and how they are fenced off.

mod executable;
mod exit;
pub mod init;
mod isolation;
mod memory;
mod priority;
mod reach;

use std::process::Command;
use std::time::Duration;

pub use executable::{executable, go_by_name, named_executable};
pub use exit::{Exit, signal_name};
pub use isolation::Isolation;
pub use memory::keep_heap_small;
pub use priority::give_way;
pub use reach::Reach;

/// What no other process is to have: only the daemon itself speaks to systemd (`sd_notify(3)`).
const OURS: [&str; 3] = ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"];

/// Whether a variable is a secret between the user and this program, such as `IMAGEFORGE_TOKEN`.
fn is_secret(name: &std::ffi::OsStr) -> bool {
    const WORDS: [&str; 4] = ["TOKEN", "CREDENTIAL", "PASSWORD", "SECRET"];
    let name = name.to_string_lossy();
    let ours = name.strip_prefix("IMAGEFORGE_");
    ours.is_some_and(|rest| WORDS.iter().any(|word| rest.contains(word)))
}

/// A command for `program`: a path, or a name that is looked up in `PATH`.
#[expect(clippy::disallowed_methods, reason = "the one place that starts processes")]
pub fn command(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(program);
    for name in OURS {
        command.env_remove(name);
    }
    for (name, _) in std::env::vars_os().filter(|(name, _)| is_secret(name)) {
        command.env_remove(name);
    }
    command
}

/// What a process and everything below it take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Family {
    /// How many they are, the first included.
    pub processes: u64,
    /// Their private memory. Mapped files count for nobody.
    pub memory_bytes: u64,
    /// Processor time, that of children that have ended included.
    pub processor_time: Duration,
    /// How often they waited for a page from a disk.
    pub major_faults: u64,
}

/// Adds up a process and its descendants. An orphan counts below who adopted it.
pub fn family(id: u32) -> Family {
    let mut parents = Vec::new();
    for entry in fs_err::read_dir("/proc").into_iter().flatten().flatten() {
        let name = entry.file_name();
        if let Some(id) = name.to_str().and_then(|name| name.parse::<u32>().ok())
            && let Some(parent) = parent(id)
        {
            parents.push((parent, id));
        }
    }
    parents.sort_unstable();
    let mut found = Family::default();
    let mut ids = vec![id];
    while let Some(id) = ids.pop() {
        found.processes += 1;
        found.memory_bytes += private_bytes(id).unwrap_or_default();
        found.processor_time += processor_time(id).unwrap_or_default();
        found.major_faults += stat::<u64>(id, 12).unwrap_or_default();
        let start = parents.partition_point(|(parent, _)| *parent < id);
        let children = parents.iter().skip(start).take_while(|(parent, _)| *parent == id);
        ids.extend(children.map(|(_, child)| child));
    }
    found
}

/// Of the process itself and of its children that have ended.
fn processor_time(id: u32) -> Option<Duration> {
    let ticks: u64 = (14..=17).map(|field| stat::<u64>(id, field)).sum::<Option<u64>>()?;
    let a_second = rustix::param::clock_ticks_per_second().max(1);
    Some(Duration::from_millis(ticks.saturating_mul(1000) / a_second))
}

fn parent(id: u32) -> Option<u32> {
    stat(id, 4)
}

/// When a living process was started, in clock ticks after the machine was.
pub fn started(id: u32) -> Option<u64> {
    stat(id, 22)
}

/// A field of `/proc/ID/stat`, numbered as in `proc_pid_stat(5)`, from 3 on.
fn stat<T: std::str::FromStr>(id: u32, field: usize) -> Option<T> {
    let stat = fs_err::read(format!("/proc/{id}/stat")).ok()?;
    // The name, field 2, stands in parentheses and may hold anything.
    let end = stat.iter().rposition(|byte| *byte == b')')?;
    let rest = std::str::from_utf8(stat.get(end + 1..)?).ok()?;
    rest.split_whitespace().nth(field.checked_sub(3)?)?.parse().ok()
}

fn private_bytes(id: u32) -> Option<u64> {
    let pages = fs_err::read_to_string(format!("/proc/{id}/statm")).ok()?;
    let mut pages = pages.split_whitespace().skip(1).map(str::parse::<u64>);
    let (resident, shared) = (pages.next()?.ok()?, pages.next()?.ok()?);
    Some(resident.saturating_sub(shared).saturating_mul(rustix::param::page_size() as u64))
}

/// The disk space of a folder, holes not counted; what cannot be read counts nothing.
pub fn disk_bytes(folder: &camino::Utf8Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let mut bytes = 0_u64;
    let mut folders = vec![folder.as_std_path().to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs_err::read_dir(folder).into_iter().flatten().flatten() {
            // The kernel counts blocks of 512 bytes, whatever the file system's are.
            let Ok(found) = entry.metadata() else {
                continue;
            };
            bytes = bytes.saturating_add(found.blocks().saturating_mul(512));
            if found.is_dir() {
                folders.push(entry.path());
            }
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_with_a_child_is_a_family_of_two() {
        // The grandchild ends with its standard input, so nothing outlives this test.
        let mut child = command("sh")
            .args(["-c", "cat; true"])
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let start = std::time::Instant::now();
        while family(child.id()).processes < 2 && start.elapsed().as_secs() < 30 {
            std::thread::sleep(Duration::from_millis(5));
        }
        let found = family(child.id());
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(found.processes, 2);
        assert!(found.memory_bytes > 0, "{found:?}");
    }

    #[test]
    fn a_hole_takes_no_disk_space() {
        let folder = tempfile::tempdir().unwrap();
        let place = camino::Utf8Path::from_path(folder.path()).unwrap();
        fs_err::create_dir(place.join("below")).unwrap();
        fs_err::File::create(place.join("below/hole")).unwrap().set_len(1 << 30).unwrap();
        assert!(disk_bytes(place) < 1 << 20);
    }
}

//! What a fenced process may write to.
//!
//! The first process of a private mount namespace mounts folders onto themselves, some of them
//! read-only, before any code of a plugin is loaded. This stops what is done by accident; whoever
//! may mount may also take a mount away again.

use std::process::Command;

use camino::{Utf8Path, Utf8PathBuf};
use clap::Args;
use rustix::fs::{StatVfsMountFlags, statvfs};
use rustix::io::Errno;
use rustix::mount::{MountFlags, mount_bind_recursive, mount_remount};

/// Folders that a process may only read, and those in them that it may write to all the same.
/// What is not there is left out.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq)]
pub struct Reach {
    /// May only be read
    #[arg(long)]
    pub read_only: Vec<Utf8PathBuf>,
    /// May be written to, although it lies in one that may not
    #[arg(long)]
    pub writable: Vec<Utf8PathBuf>,
}

impl Reach {
    /// Has the first process of a namespace, started as `command`, set these bounds.
    pub fn pass(&self, command: &mut Command) {
        for (option, folders) in [("--read-only", &self.read_only), ("--writable", &self.writable)]
        {
            for folder in folders {
                command.args([option, folder.as_str()]);
            }
        }
    }

    /// Sets these bounds for this mount namespace, which must be a private one.
    ///
    /// # Errors
    /// What the kernel refuses.
    pub(super) fn bind(&self) -> std::io::Result<()> {
        let mut folders: Vec<_> = self.read_only.iter().chain(&self.writable).collect();
        // A folder comes before what is in it, whose mount would be hidden otherwise.
        folders.sort_unstable();
        for folder in folders {
            match mount_bind_recursive(folder.as_std_path(), folder.as_std_path()) {
                Ok(()) | Err(Errno::NOENT) => {},
                Err(errno) => return Err(errno.into()),
            }
        }
        for folder in &self.read_only {
            match make_read_only(folder) {
                Ok(()) | Err(Errno::NOENT) => {},
                Err(errno) => return Err(errno.into()),
            }
        }
        // This process stood below those mounts.
        std::env::set_current_dir(std::env::current_dir()?)
    }
}

fn make_read_only(folder: &Utf8Path) -> Result<(), Errno> {
    let kept = [
        (StatVfsMountFlags::NOSUID, MountFlags::NOSUID),
        (StatVfsMountFlags::NODEV, MountFlags::NODEV),
        (StatVfsMountFlags::NOEXEC, MountFlags::NOEXEC),
    ];
    let found = statvfs(folder.as_std_path())?.f_flag;
    // A user namespace may not take these away.
    let kept = kept.into_iter().filter(|(flag, _)| found.contains(*flag)).map(|(_, flag)| flag);
    let flags = MountFlags::BIND | MountFlags::RDONLY | kept.collect::<MountFlags>();
    mount_remount(folder.as_std_path(), flags, "")
}

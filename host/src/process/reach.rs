//! What a fenced process may see of the host's own files, and what it may write to.
//!
//! The first process of a private mount namespace covers folders with empty ones and mounts into
//! those what is needed, before any code of a plugin is loaded. So a file that nobody thought of is
//! hidden. This stops what is done by accident or out of curiosity; whoever may mount may also take
//! a mount away again.

mod cover;

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::Command;

use camino::{Utf8Path, Utf8PathBuf};
use clap::Args;
use rustix::fs::{Mode, OFlags, StatVfsMountFlags, statvfs};
use rustix::io::Errno;
use rustix::mount::{MountFlags, mount_bind, mount_bind_recursive, mount_remount};

use cover::Cover;

/// What is hidden from a process, and what it may do to the rest. What is not there is left out.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq)]
pub struct Reach {
    /// May not be seen: a folder with all that is in it, or what a file holds
    #[arg(long)]
    pub hidden: Vec<Utf8PathBuf>,
    /// May only be read, also when it lies in a hidden folder
    #[arg(long)]
    pub read_only: Vec<Utf8PathBuf>,
    /// May be written to, also when it lies in a folder that is hidden or may only be read
    #[arg(long)]
    pub writable: Vec<Utf8PathBuf>,
}

impl Reach {
    /// The same for a process that opens `file`, which may lie in a hidden folder: it stays
    /// there, with what is beside it.
    #[must_use]
    pub fn keeping(mut self, file: &Utf8Path) -> Self {
        let real = |path: &Utf8Path| path.canonicalize_utf8().ok();
        let hidden: Vec<_> = self.hidden.iter().filter_map(|path| real(path)).collect();
        for file in [Some(file.to_owned()), real(file)].into_iter().flatten() {
            if hidden.iter().any(|folder| file.starts_with(folder)) {
                let is_seen =
                    |folder: &&Utf8Path| real(folder).is_some_and(|it| !hidden.contains(&it));
                self.read_only.push(file.parent().filter(is_seen).unwrap_or(&file).to_owned());
            }
        }
        self
    }

    /// Has the first process of a namespace, started as `command`, set these bounds.
    pub fn pass(&self, command: &mut Command) {
        let options = [
            ("--hidden", &self.hidden),
            ("--read-only", &self.read_only),
            ("--writable", &self.writable),
        ];
        for (option, paths) in options {
            for path in paths {
                command.args([option, path.as_str()]);
            }
        }
    }

    /// Sets these bounds for this mount namespace, which must be a private one.
    ///
    /// # Errors
    /// What the kernel refuses; then no folder is hidden.
    pub(super) fn bind(&self) -> io::Result<()> {
        let here = std::env::current_dir();
        let kept = self.kept()?;
        let (mut folders, mut files) = (Vec::new(), Vec::new());
        for path in &self.hidden {
            match real(path) {
                Some(path) if path.is_dir() => folders.push(path),
                Some(path) if path.is_file() => files.push(path),
                _ => {},
            }
        }
        let places: Vec<&Path> = kept.iter().flat_map(Kept::places).collect();
        folders.sort_unstable();
        folders.dedup_by(|inner, outer| inner.starts_with(outer));
        let covers: Vec<Cover> =
            folders.iter().map(|folder| Cover::new(folder, &places)).collect::<io::Result<_>>()?;
        let set = cover::put_all(&covers, || {
            kept.iter().try_for_each(Kept::mount)?;
            // Later, since a folder may hold one that may be written to: its mount has its own rights.
            kept.iter()
                .filter(|kept| kept.read_only)
                .try_for_each(|kept| make_read_only(&kept.path))
        });
        // This process stood below those mounts, perhaps where nothing is any more.
        here.and_then(std::env::set_current_dir).or_else(|_| std::env::set_current_dir("/"))?;
        set?;
        // Most of them vanished with their folder.
        files.iter().filter(|file| file.exists()).try_for_each(|file| {
            mount_bind("/dev/null", file.as_path()).map_err(|errno| located(file, errno))
        })
    }

    /// What is not hidden, a folder before what is in it, whose mount would be covered otherwise.
    fn kept(&self) -> io::Result<Vec<Kept>> {
        let mut kept = Vec::new();
        for (paths, read_only) in [(&self.read_only, true), (&self.writable, false)] {
            for named in paths {
                if let Some(path) = real(named) {
                    let flags = OFlags::PATH | OFlags::CLOEXEC;
                    let handle = rustix::fs::open(&path, flags, Mode::empty())?;
                    kept.push(Kept { named: named.into(), path, handle, read_only });
                }
            }
        }
        kept.sort_unstable_by(|one, other| one.path.cmp(&other.path));
        Ok(kept)
    }
}

/// Something that is not hidden.
struct Kept {
    /// How others call it: links on the way to it are kept, too.
    named: PathBuf,
    /// Where it is.
    path: PathBuf,
    /// Leads to it when it is covered.
    handle: OwnedFd,
    read_only: bool,
}

impl Kept {
    fn places(&self) -> [&Path; 2] {
        [&self.named, &self.path]
    }

    fn mount(&self) -> io::Result<()> {
        let handle = format!("/proc/self/fd/{}", self.handle.as_raw_fd());
        mount_bind_recursive(handle, &self.path).map_err(|errno| located(&self.path, errno))
    }
}

/// The path without links; `None` where this process, and so a plugin, gets nowhere.
fn real(path: &Utf8Path) -> Option<PathBuf> {
    fs_err::canonicalize(path).ok()
}

fn make_read_only(path: &Path) -> io::Result<()> {
    let kept = [
        (StatVfsMountFlags::NOSUID, MountFlags::NOSUID),
        (StatVfsMountFlags::NODEV, MountFlags::NODEV),
        (StatVfsMountFlags::NOEXEC, MountFlags::NOEXEC),
    ];
    let found = statvfs(path)?.f_flag;
    // A user namespace may not take these away.
    let kept = kept.into_iter().filter(|(flag, _)| found.contains(*flag)).map(|(_, flag)| flag);
    let flags = MountFlags::BIND | MountFlags::RDONLY | kept.collect::<MountFlags>();
    mount_remount(path, flags, "").map_err(|errno| located(path, errno))
}

fn located(path: &Path, errno: Errno) -> io::Error {
    io::Error::new(errno.kind(), format!("`{}`: {errno}", path.display()))
}

//! A root file system in the making: working space, mounts, programs inside.
//!
//! Everything is mounted in the mount namespace of the worker process, so it is gone with the process
//! at the latest. The working space lies in memory when that is large enough: a package manager syncs
//! and rewrites far more than it leaves behind.

use camino::{Utf8Path, Utf8PathBuf};
use fs_err as fs;
use plugin_api::{Builder, Command, DelegateError};
use rustix::mount::{
    MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_bind, mount_bind_recursive,
    mount_change, unmount,
};

use crate::inside;

/// Mount points, unmounted last to first when dropped.
#[derive(Debug, Default)]
pub struct Mounts {
    points: Vec<Utf8PathBuf>,
}

impl Mounts {
    /// Mounts a new file system of type `kind`.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn new_fs(
        &mut self,
        kind: &str,
        point: &Utf8Path,
        data: &str,
    ) -> Result<(), DelegateError> {
        fs::create_dir_all(point)?;
        let data = std::ffi::CString::new(data).unwrap_or_default();
        mount(kind, point.as_str(), kind, MountFlags::empty(), data.as_c_str())
            .map_err(|error| cannot_mount(kind, point, error))?;
        self.points.push(point.to_owned());
        Ok(())
    }

    /// Makes `from` visible at `point`, which must exist.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn bind(&mut self, from: &Utf8Path, point: &Utf8Path) -> Result<(), DelegateError> {
        mount_bind(from.as_str(), point.as_str())
            .map_err(|error| cannot_mount(from.as_str(), point, error))?;
        self.points.push(point.to_owned());
        Ok(())
    }

    /// As [`Self::bind`], with all mounts below.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn bind_tree(&mut self, from: &Utf8Path, point: &Utf8Path) -> Result<(), DelegateError> {
        mount_bind_recursive(from.as_str(), point.as_str())
            .map_err(|error| cannot_mount(from.as_str(), point, error))?;
        self.points.push(point.to_owned());
        // Unmounting here must not reach back to where it came from.
        let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
        mount_change(point.as_str(), private)
            .map_err(|error| cannot_mount(from.as_str(), point, error))
    }
}

impl Drop for Mounts {
    fn drop(&mut self) {
        while let Some(point) = self.points.pop() {
            if let Err(error) = unmount(point.as_str(), UnmountFlags::DETACH) {
                tracing::warn!(%point, %error, "cannot unmount");
            }
        }
    }
}

fn cannot_mount(what: &str, point: &Utf8Path, error: rustix::io::Errno) -> DelegateError {
    DelegateError::missing_requirement(format!("cannot mount `{what}` on `{point}`"))
        .caused_by(std::io::Error::from(error))
        .hint("this needs root, or user namespaces and sub-ids (package `uidmap`, an entry in /etc/subuid)")
}

/// Working space of a build.
#[derive(Debug)]
pub struct Scratch {
    /// Its folder.
    pub dir: Utf8PathBuf,
    mounts: Mounts,
}

/// On disk, what is left belongs to many users of a user namespace, so it is removed from within.
impl Drop for Scratch {
    fn drop(&mut self) {
        let in_memory = !self.mounts.points.is_empty();
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        if in_memory || is_mounted_below(&mounts, &self.dir) {
            return;
        }
        if let Err(error) = fs::remove_dir_all(&self.dir) {
            tracing::warn!(%error, "cannot remove the working space");
        }
    }
}

/// Whether something is mounted on `dir` or below it, as far as `/proc/self/mountinfo` says.
fn is_mounted_below(mountinfo: &str, dir: &Utf8Path) -> bool {
    // Without any line nothing is known.
    mountinfo.is_empty()
        || mountinfo
            .lines()
            .filter_map(|line| line.split(' ').nth(4))
            .any(|point| Utf8Path::new(&point.replace("\\040", " ")).starts_with(dir))
}

impl Scratch {
    /// Working space: in memory as `workspace` says, or when enough is available.
    ///
    /// # Errors
    /// The folder cannot be made.
    pub fn make(builder: &Builder, workspace: Workspace) -> Result<Self, DelegateError> {
        let dir = builder.work_dir().join("scratch");
        fs::create_dir_all(&dir)?;
        let mut mounts = Mounts::default();
        let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let available = available_memory(&meminfo).unwrap_or(0);
        let in_memory = match workspace {
            Workspace::Auto => available >= ENOUGH_MEMORY,
            Workspace::Memory => true,
            Workspace::Disk => false,
        };
        if in_memory {
            let options = format!("size={},mode=0755", available / 3 * 2);
            if let Err(error) = mounts.new_fs("tmpfs", &dir, &options) {
                tracing::warn!(%error, "working on disk, which is slower");
            }
        } else {
            tracing::info!(available, "working on disk, which is slower");
        }
        Ok(Self { dir, mounts })
    }
}

/// Where a build works.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Workspace {
    /// In memory when enough is available.
    #[default]
    Auto,
    /// In memory.
    Memory,
    /// On the file system of the image store.
    Disk,
}

/// Twice what a usual system takes.
const ENOUGH_MEMORY: u64 = 5 << 29;

/// `MemAvailable` of `/proc/meminfo`, in bytes.
fn available_memory(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.split_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1024)
}

/// A root file system in which programs can run.
#[derive(Debug)]
pub struct Root {
    /// Its folder on the build machine.
    pub dir: Utf8PathBuf,
    epoch: i64,
    mounts: Mounts,
}

impl Root {
    /// Unpacks `tar` to `dir` and mounts what programs expect.
    ///
    /// # Errors
    /// The archive cannot be unpacked, or the kernel refuses a mount.
    pub fn unpack(
        builder: &Builder,
        tar: &Utf8Path,
        dir: Utf8PathBuf,
        epoch: i64,
    ) -> Result<Self, DelegateError> {
        fs::create_dir_all(&dir)?;
        builder.run(
            Command::new("tar")
                .args(["--extract", "--numeric-owner", "--preserve-permissions", "--same-owner"])
                .args(["--xattrs", "--xattrs-include=*", "--file", tar.as_str()])
                .args(["--directory", dir.as_str()]),
        )?;
        let mut root = Self { dir, epoch, mounts: Mounts::default() };
        root.mount()?;
        Ok(root)
    }

    fn mount(&mut self) -> Result<(), DelegateError> {
        let at = |path: &str| self.dir.join(path);
        let mounts = &mut self.mounts;
        if mounts.new_fs("proc", &at("proc"), "").is_err() {
            // A container may hide parts of /proc and forbid a new one.
            mounts.bind_tree("/proc".into(), &at("proc"))?;
        }
        mounts.bind_tree("/sys".into(), &at("sys"))?;
        mounts.new_fs("tmpfs", &at("run"), "mode=0755")?;
        mounts.new_fs("tmpfs", &at("dev"), "mode=0755")?;
        for device in ["null", "zero", "full", "random", "urandom", "tty"] {
            let point = at("dev").join(device);
            fs::write(&point, "")?;
            mounts.bind(&Utf8Path::new("/dev").join(device), &point)?;
        }
        for (link, target) in
            [("fd", "/proc/self/fd"), ("stdin", "fd/0"), ("stdout", "fd/1"), ("stderr", "fd/2")]
        {
            fs::os::unix::fs::symlink(target, at("dev").join(link))?;
        }
        mounts.new_fs("tmpfs", &at("dev/shm"), "mode=1777")?;
        // Some programs want a terminal; nothing here depends on one.
        match mounts.new_fs("devpts", &at("dev/pts"), "newinstance,ptmxmode=0666,mode=0620") {
            Ok(()) => fs::os::unix::fs::symlink("pts/ptmx", at("dev/ptmx"))?,
            Err(error) => tracing::debug!(%error, "no terminals in the image being built"),
        }
        self.resolver()
    }

    /// Lends the build machine's resolver to the commands of the template.
    fn resolver(&mut self) -> Result<(), DelegateError> {
        let Ok(conf) = fs::read("/etc/resolv.conf") else {
            return Ok(());
        };
        let place = self.dir.join("etc/resolv.conf");
        match fs::read_link(&place) {
            // A link into /run, which is a file system of its own now.
            Ok(target) => {
                if let Some(inside) =
                    target.to_str().and_then(|path| path.find("run/").map(|at| &path[at..]))
                {
                    let place = self.dir.join(inside);
                    if let Some(folder) = place.parent() {
                        fs::create_dir_all(folder)?;
                    }
                    fs::write(place, conf)?;
                }
            },
            Err(_) => fs::write(place, conf)?,
        }
        Ok(())
    }

    /// Binds a folder of the build machine into the root.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn bind(&mut self, from: &Utf8Path, inside: &str) -> Result<(), DelegateError> {
        let point = self.dir.join(inside);
        fs::create_dir_all(&point)?;
        self.mounts.bind(from, &point)
    }

    /// Unmounts everything; nothing can run inside any more.
    pub fn close(mut self) -> Utf8PathBuf {
        drop(std::mem::take(&mut self.mounts));
        self.dir
    }

    /// A program that runs inside.
    pub fn command(&self, program: &str) -> Command {
        environment(Command::new("/usr/sbin/chroot").env_clear(), self.epoch)
            .arg(self.dir.as_str())
            .arg(program)
    }

    /// A shell script to run inside; `stdin` is its standard input.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn script(&self, script: &str, stdin: &str) -> Result<Command, DelegateError> {
        // A file, so that an error does not show the whole script. /run is no part of the image.
        let place = "/run/imageforge-script";
        inside::write(&self.dir, place, script.as_bytes(), 0o700)?;
        Ok(self.command("/bin/sh").args(["-e", place]).stdin(stdin))
    }
}

/// The environment of programs that set up the image: no questions, no clock, no RAM disk.
pub fn environment(command: Command, epoch: i64) -> Command {
    command
        .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
        .env("HOME", "/root")
        // That of whoever builds is no folder in there.
        .env("TMPDIR", "/tmp")
        .env("LC_ALL", "C.UTF-8")
        .env("DEBIAN_FRONTEND", "noninteractive")
        .env("DEBCONF_NONINTERACTIVE_SEEN", "true")
        .env("INITRD", "No")
        .env("SOURCE_DATE_EPOCH", epoch.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_below_the_working_space_is_noticed() {
        let text = "22 1 0:20 / / rw - ext4 /dev/a rw\n30 22 0:5 / /w/my\\040build/root/dev rw - tmpfs t rw\n";
        assert!(is_mounted_below(text, "/w/my build".into()));
        assert!(!is_mounted_below(text, "/w/other".into()));
        assert!(is_mounted_below("", "/w/other".into()));
    }

    #[test]
    fn the_available_memory_is_read() {
        let text = "MemTotal:  100 kB\nMemFree:  1 kB\nMemAvailable:    2048 kB\n";
        assert_eq!(available_memory(text), Some(2048 * 1024));
        assert_eq!(available_memory(""), None);
    }
}

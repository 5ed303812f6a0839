//! Removing what must not be in an image: what identifies one machine, what is only a cache, and what
//! differs between two builds of the same input.

use std::io;

use camino::Utf8Path;
use fs_err as fs;

/// Files and folders that are removed. A `*` at the beginning or end of the last name matches any
/// text.
const REMOVED: &[&str] = &[
    "/etc/.pwd.lock",
    "/etc/apt/apt.conf.d/99mmdebstrap",
    "/etc/group-",
    "/etc/gshadow-",
    "/etc/passwd-",
    "/etc/shadow-",
    "/etc/ssh/ssh_host_*",
    "/etc/subgid-",
    "/etc/subuid-",
    "/root/.bash_history",
    "/root/.wget-hsts",
    "/tmp/*",
    "/usr/sbin/policy-rc.d",
    "/var/cache/apt/*.bin",
    "/var/cache/apt/archives/*",
    "/var/cache/debconf/*-old",
    "/var/cache/ldconfig/aux-cache",
    "/var/lib/apt/lists/*",
    "/var/lib/dbus/machine-id",
    "/var/lib/dpkg/*-old",
    "/var/lib/dpkg/lock*",
    "/var/lib/systemd/random-seed",
    "/var/tmp/*",
];

/// Folders whose files become empty or, being rotated logs, go away.
const LOGS: &str = "/var/log";
/// Logs of the installation, and what rotation left; other files are made empty.
const WRITTEN_BY_THE_BUILD: &[&str] = &[
    "dpkg.log",
    "alternatives.log",
    "bootstrap.log",
    "fontconfig.log",
    "history.log",
    "term.log",
    "eipp.log.xz",
    "*.gz",
    "*.journal",
];
/// An empty file: systemd writes a new identifier at the first start and keeps it.
const MACHINE_ID: &str = "/etc/machine-id";

/// Cleans the root file system at `root`, in which nothing runs and nothing is mounted.
///
/// # Errors
/// Something cannot be removed.
pub fn clean(root: &Utf8Path) -> io::Result<()> {
    for pattern in REMOVED {
        remove(root, pattern)?;
    }
    empty_logs(&root.join(LOGS.trim_start_matches('/')))?;
    crate::inside::write(root, MACHINE_ID, b"", 0o644)?;
    for folder in ["var/lib/apt/lists/partial", "var/cache/apt/archives/partial"] {
        fs::create_dir_all(root.join(folder))?;
    }
    Ok(())
}

fn remove(root: &Utf8Path, pattern: &str) -> io::Result<()> {
    let pattern = Utf8Path::new(pattern);
    let folder = root.join(pattern.parent().unwrap_or("/".into()).as_str().trim_start_matches('/'));
    let name = pattern.file_name().unwrap_or_default();
    let is_folder = fs::symlink_metadata(&folder).is_ok_and(|meta| meta.is_dir());
    if !is_folder {
        return Ok(());
    }
    for entry in folder.read_dir_utf8()? {
        let entry = entry?;
        if !matches(name, entry.file_name()) {
            continue;
        }
        if entry.file_type()?.is_dir() {
            fs::remove_dir_all(entry.path())?;
        } else {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

fn matches(pattern: &str, name: &str) -> bool {
    match (pattern.strip_prefix('*'), pattern.strip_suffix('*')) {
        (Some(end), None) => name.ends_with(end),
        (_, Some(start)) => name.starts_with(start.trim_start_matches('*')),
        _ => name == pattern,
    }
}

fn empty_logs(folder: &Utf8Path) -> io::Result<()> {
    if !folder.is_dir() {
        return Ok(());
    }
    for entry in folder.read_dir_utf8()? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            empty_logs(entry.path())?;
        } else if kind.is_file() {
            if WRITTEN_BY_THE_BUILD.iter().any(|pattern| matches(pattern, entry.file_name())) {
                fs::remove_file(entry.path())?;
            } else {
                // wtmp, btmp and lastlog must exist with their owners.
                fs::OpenOptions::new().write(true).truncate(true).open(entry.path())?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identity_caches_and_logs_go_and_the_rest_stays() {
        let dir = tempfile::tempdir().unwrap();
        let root = Utf8Path::from_path(dir.path()).unwrap();
        let files = [
            "etc/machine-id",
            "etc/ssh/ssh_host_rsa_key",
            "etc/ssh/sshd_config",
            "etc/passwd-",
            "etc/passwd",
            "var/log/dpkg.log",
            "var/log/wtmp",
            "var/cache/debconf/config.dat-old",
            "var/cache/debconf/config.dat",
            "tmp/x/y",
        ];
        for file in files {
            fs::create_dir_all(root.join(file).parent().unwrap()).unwrap();
            fs::write(root.join(file), "text").unwrap();
        }
        clean(root).unwrap();
        let length = |file: &str| fs::metadata(root.join(file)).map(|meta| meta.len()).ok();
        assert_eq!(length("etc/machine-id"), Some(0));
        assert_eq!(length("var/log/wtmp"), Some(0));
        for gone in [
            "etc/ssh/ssh_host_rsa_key",
            "etc/passwd-",
            "var/log/dpkg.log",
            "tmp/x",
            "var/cache/debconf/config.dat-old",
        ] {
            assert_eq!(length(gone), None, "{gone}");
        }
        for kept in ["etc/passwd", "etc/ssh/sshd_config", "var/cache/debconf/config.dat"] {
            assert_eq!(length(kept), Some(4), "{kept}");
        }
    }
}

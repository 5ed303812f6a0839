//! The system in memory: BusyBox, a few configuration files, and what the template adds.

use plugin_api::DelegateError;
use plugin_kit::boot::initrd::{InvalidPath, Node, Ramdisk};
use sha_crypt::{PasswordHasher, ShaCrypt};

use crate::settings::Settings;

/// Fills the RAM disk.
///
/// # Errors
/// `InvalidInput` for a path that cannot be written, or a password that cannot be hashed.
pub(crate) fn ramdisk(settings: &Settings, busybox: &[u8]) -> Result<Ramdisk, DelegateError> {
    let mut disk = Ramdisk::new();
    base(&mut disk, settings, busybox).map_err(|error| refused(&error))?;
    let shadow = shadow(settings)?;
    disk.file("etc/shadow", 0o600, shadow).map_err(|error| refused(&error))?;
    for file in &settings.files {
        disk.file(&file.path, file.mode, file.contents.as_slice())
            .map_err(|error| refused(&error))?;
    }
    for (number, (name, script)) in (1..).zip(&settings.scripts) {
        let path = format!("etc/rc.d/{number:03}-{}", file_name(name));
        disk.file(&path, 0o755, executable(script)).map_err(|error| refused(&error))?;
    }
    Ok(disk)
}

fn base(disk: &mut Ramdisk, settings: &Settings, busybox: &[u8]) -> Result<(), InvalidPath> {
    let name = &settings.host_name;
    for folder in FOLDERS {
        disk.insert(folder, Node::Directory(0o755))?;
    }
    disk.insert("root", Node::Directory(0o700))?;
    disk.insert("tmp", Node::Directory(0o1777))?;
    // The kernel opens it for the first process before /dev is mounted.
    disk.insert("dev/console", Node::CharDevice { mode: 0o600, major: 5, minor: 1 })?;
    disk.file("bin/busybox", 0o755, busybox)?;
    disk.symlink("bin/sh", "busybox")?;
    disk.symlink("init", "bin/busybox")?;
    disk.file("etc/rc", 0o755, RC)?;
    disk.file("etc/inittab", 0o644, inittab(settings.autologin))?;
    disk.file("etc/autologin", 0o755, AUTOLOGIN)?;
    disk.file("etc/hostname", 0o644, format!("{name}\n"))?;
    disk.file("etc/hosts", 0o644, format!("127.0.0.1 localhost\n127.0.1.1 {name}\n"))?;
    disk.file("etc/issue", 0o644, "\\n \\l\n\n")?;
    disk.file("etc/passwd", 0o644, "root:x:0:0:root:/root:/bin/sh\n")?;
    disk.file("etc/group", 0o644, "root:x:0:\ntty:x:5:\n")?;
    disk.file("etc/profile", 0o644, format!("export PATH={PATH}\n"))
}

fn inittab(autologin: bool) -> String {
    let login = if autologin { " -n -l /etc/autologin" } else { "" };
    format!(
        "::sysinit:/etc/rc\n\
         ttyS0::respawn:/sbin/getty{login} -L 115200 ttyS0 vt102\n\
         tty1::respawn:/sbin/getty{login} 38400 tty1 linux\n\
         ::ctrlaltdel:/sbin/reboot\n"
    )
}

/// The line of root. `*` is a password that nobody has.
fn shadow(settings: &Settings) -> Result<String, DelegateError> {
    let hash = match settings.root_password.as_deref() {
        None => "*".to_owned(),
        Some(hash) if hash.starts_with('$') => hash.to_owned(),
        Some(password) => hashed(password, &settings.seed)?,
    };
    if hash.contains([':', '\n']) {
        return Err(DelegateError::invalid_input("the hash of root's password is not valid"));
    }
    Ok(format!("root:{hash}:19000:0:99999:7:::\n"))
}

/// SHA-512 crypt with a salt derived from `seed`, so that equal builds give equal bytes.
fn hashed(password: &str, seed: &str) -> Result<String, DelegateError> {
    let salt = plugin_kit::disk::derived_uuid(seed, "root password");
    ShaCrypt::SHA512
        .hash_password_with_salt(password.as_bytes(), &salt.as_bytes()[..12])
        .map(|hash| hash.as_str().to_owned())
        .map_err(|error| {
            DelegateError::invalid_input("root's password cannot be hashed").caused_by(error)
        })
}

/// A script without `#!` is one for the shell.
fn executable(script: &[u8]) -> Vec<u8> {
    if script.starts_with(b"#!") { script.to_vec() } else { [b"#!/bin/sh\n", script].concat() }
}

/// The name of a command as part of a file name.
fn file_name(name: &str) -> String {
    let safe = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '-' };
    name.chars().map(safe).take(100).collect()
}

fn refused(error: &InvalidPath) -> DelegateError {
    DelegateError::invalid_input(error.to_string())
        .hint("a file of the template needs an absolute path that leads through folders only")
}

const FOLDERS: &[&str] = &[
    "bin", "sbin", "usr/bin", "usr/sbin", "dev", "proc", "sys", "run", "etc/rc.d", "mnt", "var/log",
];
const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";
const RC: &str = include_str!("rc.sh");
/// getty runs it in place of login, without arguments of its own.
const AUTOLOGIN: &str = "#!/bin/sh\nexec /bin/login -f root\n";

#[cfg(test)]
mod tests;

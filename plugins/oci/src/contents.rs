//! What of the root file system goes into a container.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use ext4::{Entry, Kind, Tree};

use crate::settings::Settings;

/// Folders whose content is the running system's; the folders themselves are kept.
const RUNTIME: [&str; 5] = ["dev", "proc", "run", "sys", "tmp"];
/// Of a kernel, which a container has not.
const KERNEL: [&str; 9] = [
    "boot/*",
    "lib/modules/*",
    "usr/lib/modules/*",
    "vmlinuz",
    "vmlinuz.old",
    "initrd.img",
    "initrd.img.old",
    "etc/kernel-img.conf",
    "var/lib/initramfs-tools/*",
];
/// Where a system keeps what tells it from its copies.
const MACHINE_IDS: [&str; 2] = ["etc/machine-id", "var/lib/dbus/machine-id"];

/// Whether `path`, which has no leading `/`, is wanted.
pub(crate) fn wanted(settings: &Settings, path: &Path) -> bool {
    let below_runtime = RUNTIME
        .iter()
        .any(|folder| path.strip_prefix(folder).is_ok_and(|rest| rest != Path::new("")));
    if below_runtime {
        return false;
    }
    let path = path.as_os_str().as_bytes();
    let matches = |pattern: &str| {
        let pattern =
            pattern.strip_prefix('.').filter(|rest| rest.starts_with('/')).unwrap_or(pattern);
        glob(pattern.trim_matches('/').as_bytes(), path)
    };
    let kernel = !settings.keep_kernel && KERNEL.iter().any(|pattern| matches(pattern));
    !kernel && !settings.excludes.iter().any(|pattern| matches(pattern))
}

/// Makes every container a system of its own.
pub(crate) fn clear_identity(tree: &mut Tree) {
    for path in MACHINE_IDS {
        if let Some(entry) = tree.get(path)
            && let Kind::File(content) = &entry.kind
            && content.length() > 0
        {
            let mut empty = Entry { kind: Kind::File("".into()), ..entry.clone() };
            empty.mode = 0o444;
            // The path is one of the tree's own.
            drop(tree.put(path, empty));
        }
    }
}

/// Whether `pattern` is all of `path`; `*` stands for any bytes and `?` for one.
fn glob(pattern: &[u8], path: &[u8]) -> bool {
    let (mut at, mut from) = (0, 0);
    // Where to go on when what follows the last `*` does not match.
    let mut retry = None;
    while from < path.len() {
        match pattern.get(at) {
            Some(b'*') => {
                retry = Some((at, from));
                at += 1;
            },
            Some(b'?') => (at, from) = (at + 1, from + 1),
            Some(byte) if *byte == path[from] => (at, from) = (at + 1, from + 1),
            _ => match retry {
                Some((star, tried)) => {
                    retry = Some((star, tried + 1));
                    (at, from) = (star + 1, tried + 1);
                },
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_whole_paths() {
        for (pattern, path) in [
            ("etc/fstab", "etc/fstab"),
            ("*.pyc", "usr/lib/x.pyc"),
            ("usr/*/doc", "usr/share/doc"),
            ("a?c", "abc"),
            ("*", "anything/at/all"),
            ("a*b*c", "a-b-b-c"),
        ] {
            assert!(glob(pattern.as_bytes(), path.as_bytes()), "{pattern} {path}");
        }
        for (pattern, path) in [("etc", "etc/fstab"), ("a?c", "ac"), ("a*b", "a-b-c"), ("", "a")] {
            assert!(!glob(pattern.as_bytes(), path.as_bytes()), "{pattern} {path}");
        }
    }
}

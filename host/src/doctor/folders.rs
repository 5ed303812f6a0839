//! The data directory and the store in it.

use std::os::unix::fs::PermissionsExt;

use camino::Utf8Path;
use rustix::fs::{Access, access, statfs, statvfs};

use super::{Check, State, Subject};
use crate::images;

/// Space that an image reserves by default.
const RESERVE_BYTES: u64 = 1 << 30;
/// Magic numbers of statfs(2).
const FILE_SYSTEMS: [(u64, &str); 6] = [
    (0xEF53, "ext4"),
    (0x0102_1994, "tmpfs"),
    (0x9123_683E, "btrfs"),
    (0x5846_5342, "xfs"),
    (0x794C_7630, "overlay"),
    (0x6969, "nfs"),
];

pub(super) fn checks(subject: &Subject) -> Vec<Check> {
    let folder = &subject.data_dir;
    let data_dir = data_dir(folder);
    if data_dir.state == State::Problem || !folder.exists() {
        return vec![data_dir];
    }
    vec![data_dir, store(folder)]
}

fn data_dir(folder: &Utf8Path) -> Check {
    let name = "data-dir";
    // What will be made is made below what is there.
    let there = folder.ancestors().find(|path| path.exists()).unwrap_or(Utf8Path::new("/"));
    let problem = |what: String| {
        Check::new(name, State::Problem, what)
            .hint("name a directory that you may write to with `--data-dir`")
    };
    if !there.is_dir() {
        return problem(format!("`{there}` is no directory"));
    }
    if let Err(error) = access(there.as_std_path(), Access::WRITE_OK | Access::EXEC_OK) {
        return problem(format!("`{there}` cannot be written: {}", std::io::Error::from(error)));
    }
    let Ok(space) = statvfs(there.as_std_path()) else {
        return problem(format!("the file system of `{there}` does not tell its size"));
    };
    let free = space.f_bavail.saturating_mul(space.f_frsize);
    let kind = statfs(there.as_std_path()).ok().and_then(|found| {
        let magic = u64::try_from(found.f_type).ok()?;
        FILE_SYSTEMS.iter().find(|(number, _)| *number == magic).map(|(_, name)| *name)
    });
    let made = if there == folder { "" } else { " will be made" };
    let says =
        format!("`{folder}`{made}, {} MiB free on {}", free >> 20, kind.unwrap_or("its disk"));
    let mode = fs_err::metadata(folder).map(|found| found.permissions().mode()).unwrap_or_default();
    if free < RESERVE_BYTES {
        return Check::new(name, State::Warning, says)
            .hint("an image reserves 1024 MiB unless `reserve_mib` says otherwise");
    }
    if mode & 0o022 != 0 {
        return Check::new(name, State::Warning, format!("{says}; others may write to it"))
            .hint(format!("chmod 700 {folder}"));
    }
    Check::new(name, State::Ok, says)
}

fn store(folder: &Utf8Path) -> Check {
    let name = "store";
    match images::inspect(folder) {
        Ok(None) => Check::new(name, State::Ok, "has no image yet"),
        Ok(Some(health)) if !health.damage.is_empty() => {
            Check::new(name, State::Problem, format!("it is damaged: {}", health.damage))
                .hint("restore `store.db` from a copy, or use another `--data-dir`")
        },
        Ok(Some(health)) if health.interrupted > 0 => {
            let says = format!("{} images, {} interrupted", health.images, health.interrupted);
            Check::new(name, State::Warning, says).hint("the next command puts them in order")
        },
        Ok(Some(health)) => Check::new(name, State::Ok, format!("{} images, whole", health.images)),
        Err(error) => {
            let hints = error.hints().join("; ");
            Check::new(name, State::Problem, error.to_string()).hint(hints)
        },
    }
}

//! Letting the root file system fill its disk when the machine starts.
//!
//! The root partition is the last one, so a larger disk has free space behind it. With cloud-init in
//! the image this is its task.

use camino::Utf8Path;

use crate::inside;

/// The unit to enable.
pub const UNIT: &str = "grow-root.service";

/// Writes the unit and its script into `root`.
///
/// # Errors
/// They cannot be written.
pub fn write(root: &Utf8Path) -> std::io::Result<()> {
    inside::write(root, "/usr/local/sbin/grow-root", SCRIPT.as_bytes(), 0o755)?;
    inside::write(root, &format!("/etc/systemd/system/{UNIT}"), SERVICE.as_bytes(), 0o644)
}

/// 4096 sectors are more than the alignment and the second partition table, which a full disk has
/// behind its last partition. A start that was interrupted between the two steps is made up for,
/// because resize2fs is always asked: on a full partition it does nothing.
const SCRIPT: &str = r#"#!/bin/sh
# Lets the last partition and the root file system on it fill the disk. Silent when they do.
set -e
root=$(readlink -f "/sys/dev/block/$(mountpoint -d /)")
[ -e "$root/partition" ] || exit 0
number=$(cat "$root/partition")
disk=${root%/*}
end=$(($(cat "$root/start") + $(cat "$root/size")))
for other in "$disk"/*/start; do
    [ "$(cat "$other")" -lt "$end" ] || exit 0
done
if [ $(($(cat "$disk/size") - end)) -gt 4096 ]; then
    echo ", +" | sfdisk --quiet --no-reread --no-tell-kernel -N "$number" "/dev/${disk##*/}" 2>/run/grow-root.log ||
        { cat /run/grow-root.log; exit 1; }
    partx --update --nr "$number" "/dev/${disk##*/}"
fi
resize2fs "/dev/${root##*/}" >/run/grow-root.log 2>&1 || { cat /run/grow-root.log; exit 1; }
"#;

/// It runs beside the rest of the start; cloud-init, where a template installs it, comes later.
const SERVICE: &str = "[Unit]\nDescription=Let the root file system fill its disk\n\
    DefaultDependencies=no\nAfter=systemd-remount-fs.service\n\
    Before=cloud-init-local.service shutdown.target\nConflicts=shutdown.target\n\
    ConditionPathIsReadWrite=/\n\n\
    [Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/usr/local/sbin/grow-root\n\n\
    [Install]\nWantedBy=sysinit.target\n";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unit_starts_the_script_that_is_written() {
        let dir = tempfile::tempdir().unwrap();
        let root = Utf8Path::from_path(dir.path()).unwrap();
        write(root).unwrap();
        let unit = fs_err::read_to_string(root.join("etc/systemd/system").join(UNIT)).unwrap();
        let script = unit.lines().find_map(|line| line.strip_prefix("ExecStart=/")).unwrap();
        assert!(fs_err::read_to_string(root.join(script)).unwrap().starts_with("#!/bin/sh"));
    }
}

//! Where this process may make control groups.
//!
//! Only below a group that was given to us: one that systemd marked as delegated (`Delegate=yes` sets
//! an extended attribute), or the top of a tree that no manager shows us, as in a container. Everywhere
//! else groups belong to somebody else, also where root could make them. The kernel takes no
//! controllers for the children of a group that has processes itself (the top excepted), so this
//! process leaves such a group for a child of it, if nobody else is there.

use camino::{Utf8Path, Utf8PathBuf};
use rustix::fs::{Access, access, getxattr};

/// The child into which this process goes where it may not stay.
const HOST: &str = "imageforge.host";
/// What systemd 251 and later, and earlier ones, call their mark: systemd.resource-control(5), `Delegate=`.
const MARKS: [&str; 2] = ["user.delegate", "trusted.delegate"];

/// Controllers that a build is bound by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Controllers {
    /// Memory.
    pub memory: bool,
    /// Number of processes.
    pub pids: bool,
}

/// A group below which this process may make others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its folder.
    pub base: Utf8PathBuf,
    /// What groups below it are bound by, once it is prepared.
    pub controllers: Controllers,
    /// Why they are not bound by more.
    pub lacks: Option<String>,
    enabled: Controllers,
    must_leave: bool,
}

/// Why there is no place for control groups.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NoPlace {
    /// The machine shows no control groups of version 2.
    #[error("no file system of type cgroup2 shows the group of this process")]
    NotMounted,
    /// The group is managed by somebody who did not hand it over.
    #[error("control group `{0}` is not delegated to us")]
    NotDelegated(Utf8PathBuf),
    /// It is ours and cannot be used all the same.
    #[error("control group `{path}` cannot be written")]
    NotWritable {
        /// Its folder.
        path: Utf8PathBuf,
        /// Cause.
        #[source]
        source: std::io::Error,
    },
}

/// What the machine shows of control groups.
pub(super) struct Tree<'a> {
    /// `/proc/self/mountinfo`
    pub(super) mounts: &'a str,
    /// `/proc/self/cgroup`
    pub(super) membership: &'a str,
    /// The id of this process.
    pub(super) process: u32,
    /// Whether a folder is marked as delegated.
    pub(super) is_delegated: &'a dyn Fn(&Utf8Path) -> bool,
}

/// Looks for a place, and changes nothing.
///
/// # Errors
/// [`NoPlace`].
pub fn look() -> Result<Place, NoPlace> {
    let read = |name: &str| fs_err::read_to_string(format!("/proc/self/{name}"));
    let (Ok(mounts), Ok(membership)) = (read("mountinfo"), read("cgroup")) else {
        return Err(NoPlace::NotMounted);
    };
    let tree = Tree {
        mounts: &mounts,
        membership: &membership,
        process: std::process::id(),
        is_delegated: &is_marked,
    };
    tree.place()
}

impl Tree<'_> {
    pub(super) fn place(&self) -> Result<Place, NoPlace> {
        let (top, own) = self.own_group().ok_or(NoPlace::NotMounted)?;
        let parent = own.parent().filter(|parent| parent.starts_with(&top));
        let base = match parent {
            _ if own == top || (self.is_delegated)(&own) => own.clone(),
            Some(parent) if own.file_name() == Some(HOST) || (self.is_delegated)(parent) => {
                parent.to_owned()
            },
            _ => return Err(NoPlace::NotDelegated(own)),
        };
        for name in ["", "cgroup.procs", "cgroup.subtree_control"] {
            let path = base.join(name);
            access(path.as_std_path(), Access::WRITE_OK)
                .map_err(|errno| NoPlace::NotWritable { path, source: errno.into() })?;
        }
        let offered = controllers(&base.join("cgroup.controllers"));
        let enabled = controllers(&base.join("cgroup.subtree_control"));
        // The top of the machine's tree has no type, and its processes do not matter.
        let is_root = !base.join("cgroup.type").exists();
        let inside = processes(&base);
        let others = inside.iter().any(|id| *id != self.process);
        let open = enabled == offered || is_root || !others;
        let controllers = if open { offered } else { enabled };
        let lacks = match controllers {
            Controllers { memory: true, pids: true } => None,
            _ if !open => Some(format!("other processes are in control group `{base}`")),
            _ => Some(format!("controllers `memory` and `pids` are not both offered to `{base}`")),
        };
        let must_leave = enabled != controllers && !is_root && !inside.is_empty();
        Ok(Place { base, controllers, lacks, enabled, must_leave })
    }

    /// The top of the tree as it is mounted, and the group of this process.
    fn own_group(&self) -> Option<(Utf8PathBuf, Utf8PathBuf)> {
        let member = self.membership.lines().find_map(|line| line.strip_prefix("0::"))?;
        // proc_pid_mountinfo(5): root and mount point are the fields 4 and 5, the type follows ` - `.
        self.mounts.lines().rev().find_map(|line| {
            let (mount, kind) = line.split_once(" - ")?;
            if kind.split(' ').next() != Some("cgroup2") {
                return None;
            }
            let mut fields = mount.split(' ').skip(3);
            let (root, top) = (fields.next()?, Utf8PathBuf::from(fields.next()?));
            let below = Utf8Path::new(member).strip_prefix(root).ok()?;
            let own = if below.as_str().is_empty() { top.clone() } else { top.join(below) };
            // A group outside of our namespace shows as `/../…`.
            (!below.as_str().starts_with("..") && own.is_dir()).then_some((top, own))
        })
    }
}

impl Place {
    /// Leaves the group if need be, and has the controllers work below it. Answers which do.
    pub(super) fn prepare(&self) -> Controllers {
        if self.enabled == self.controllers {
            return self.enabled;
        }
        let enable = || -> std::io::Result<()> {
            if self.must_leave {
                let host = self.base.join(HOST);
                fs_err::create_dir_all(&host)?;
                fs_err::write(host.join("cgroup.procs"), "0")?;
            }
            for (name, wanted) in
                [("memory", self.controllers.memory), ("pids", self.controllers.pids)]
            {
                if wanted {
                    fs_err::write(self.base.join("cgroup.subtree_control"), format!("+{name}"))?;
                }
            }
            Ok(())
        };
        if let Err(error) = enable() {
            tracing::warn!(%error, "controllers of control groups cannot be used");
        }
        controllers(&self.base.join("cgroup.subtree_control"))
    }
}

fn controllers(file: &Utf8Path) -> Controllers {
    let text = fs_err::read_to_string(file).unwrap_or_default();
    let has = |name| text.split_whitespace().any(|word| word == name);
    Controllers { memory: has("memory"), pids: has("pids") }
}

/// The processes of a group; nobody's when it does not read.
pub(super) fn processes(group: &Utf8Path) -> Vec<u32> {
    let text = fs_err::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
    text.lines().filter_map(|line| line.parse().ok()).collect()
}

fn is_marked(group: &Utf8Path) -> bool {
    MARKS.iter().any(|mark| {
        let mut value = [0_u8; 8];
        let length = getxattr(group.as_std_path(), *mark, &mut value[..]);
        length.is_ok_and(|length| value.get(..length) == Some(b"1"))
    })
}

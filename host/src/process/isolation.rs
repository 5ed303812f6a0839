//! How a process that runs code of plugins is fenced off: namespaces that vanish with it.
//!
//! `unshare` of util-linux puts it into private mount and pid namespaces, and that of an ordinary
//! user into a user namespace where it is root. What it mounts or starts is gone when the
//! namespace's first process ends, whatever ended it. `setpriv` makes sure that this happens when
//! the process that started it dies.

use std::process::{Command, Stdio};
use std::sync::OnceLock;

use super::command;

/// A fence that this machine allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isolation {
    /// Mount and pid namespaces; the caller is root.
    Root,
    /// The same in a user namespace with the caller's range of subordinate ids.
    User,
    /// The same in a user namespace with one id: tools that change owners will fail.
    SingleUser,
    /// Nothing but a process group.
    ProcessGroup,
}

const NAMESPACES: [&str; 6] =
    ["--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--propagation=private"];

impl Isolation {
    /// The strongest fence of this machine, found by trying, once per process.
    pub fn available() -> Self {
        static AVAILABLE: OnceLock<Isolation> = OnceLock::new();
        *AVAILABLE.get_or_init(|| {
            let candidates: &[Self] = if rustix::process::geteuid().is_root() {
                &[Self::Root]
            } else {
                &[Self::User, Self::SingleUser]
            };
            candidates.iter().copied().find(|fence| fence.works()).unwrap_or(Self::ProcessGroup)
        })
    }

    /// A command for `program` inside this fence; it dies with the thread that starts it.
    pub fn command(self, program: &str) -> Command {
        let mut command = command("setpriv");
        command.args(["--pdeathsig", "KILL"]);
        if self != Self::ProcessGroup {
            command.arg("unshare").args(self.flags()).args(NAMESPACES).arg("--");
        }
        command.arg(program);
        command
    }

    /// Whether the process has a pid namespace of its own, and so needs an init process.
    pub fn has_pid_namespace(self) -> bool {
        self != Self::ProcessGroup
    }

    /// What a user should know about this fence, for `--dry-run` and diagnosis.
    pub fn describe(self) -> &'static str {
        match self {
            Self::Root => "mount and pid namespaces; most of the data directory is hidden there",
            Self::User => {
                "user, mount and pid namespaces; most of the data directory is hidden there"
            },
            Self::SingleUser => {
                "user, mount and pid namespaces with a single user id; most of the data directory is \
                 hidden there"
            },
            Self::ProcessGroup => {
                "a process group only, and can read and write all of the data directory"
            },
        }
    }

    fn flags(self) -> &'static [&'static str] {
        match self {
            Self::Root | Self::ProcessGroup => &[],
            Self::User => &["--user", "--map-root-user", "--map-auto"],
            Self::SingleUser => &["--user", "--map-root-user"],
        }
    }

    fn works(self) -> bool {
        self.command("true")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    }
}

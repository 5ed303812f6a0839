//! A server's process: started, waited for, ended with everything below it.

use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal};
use tempfile::TempDir;

use crate::support::wait_for;

/// Another program may take a port between its choice and the server's start.
const ATTEMPTS: u32 = 3;

/// Where a server keeps what it is given.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Place {
    /// In its folder.
    Folder,
    /// On a disk of so many MiB that only the server sees, and that goes with it.
    Disk(u32),
}

/// A running server. It ends when this is dropped, and also when the test is killed.
#[derive(Debug)]
pub(super) struct Server {
    child: Child,
    folder: TempDir,
    port: u16,
}

impl Server {
    /// Starts what `command` answers for a folder and a port, and waits until it listens. A folder `store`
    /// is there for what the server is given, at `place`.
    #[track_caller]
    pub(super) fn start(place: Place, command: impl Fn(&Path, u16) -> Command) -> Self {
        let mut said = String::new();
        for _attempt in 0..ATTEMPTS {
            let folder = tempfile::Builder::new().prefix("imageforge-server-").tempdir().unwrap();
            fs_err::create_dir(folder.path().join("store")).unwrap();
            let port = free_port();
            let wanted = command(folder.path(), port);
            let child = spawn(&wanted, folder.path(), place);
            let mut server = Self { child, folder, port };
            let listens = wait_for("a server to listen", || {
                let ended = server.child.try_wait().unwrap().is_some();
                let listens = TcpStream::connect(("127.0.0.1", port)).is_ok();
                (ended || listens).then_some(!ended)
            });
            if listens {
                return server;
            }
            said = server.said();
        }
        panic!("the server ended: {said}");
    }

    /// `127.0.0.1:PORT`
    pub(super) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// What it has said so far.
    pub(super) fn said(&self) -> String {
        fs_err::read_to_string(self.folder.path().join("said")).unwrap()
    }

    /// A file or folder of the server, as it sees it: what it mounted is there.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.child.id()));
        root.join(self.folder.path().strip_prefix("/").unwrap()).join(name)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let group = Pid::from_child(&self.child);
        // It may have ended.
        rustix::process::kill_process_group(group, Signal::KILL).ok();
        drop(self.child.wait());
    }
}

/// A port that nobody listens at.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Starts `wanted` in a process group of its own, whose first process dies with the test.
fn spawn(wanted: &Command, folder: &Path, place: Place) -> Child {
    let said = fs_err::File::create(folder.join("said")).unwrap();
    let mut command = match place {
        Place::Folder => Command::new("setpriv"),
        Place::Disk(mebibytes) => {
            let mut command = Command::new("unshare");
            if !rustix::process::geteuid().is_root() {
                command.args(["--user", "--map-root-user"]);
            }
            let script = "mount -t tmpfs -o \"size=$1m\" none store; shift; exec setpriv \"$@\"";
            command.args(["--mount", "--propagation", "private", "sh", "-euc", script, "sh"]);
            command.arg(mebibytes.to_string());
            command
        },
    };
    command.args(["--pdeathsig", "KILL", "--"]).arg(wanted.get_program()).args(wanted.get_args());
    for (name, value) in wanted.get_envs() {
        command.env(name, value.unwrap_or_default());
    }
    command
        .current_dir(folder)
        .env("HOME", folder)
        .stdin(Stdio::null())
        .stdout(Stdio::from(said.into_file().try_clone().unwrap()))
        .process_group(0);
    command.stderr(
        fs_err::OpenOptions::new().append(true).open(folder.join("said")).unwrap().into_file(),
    );
    command.spawn().expect("the server's program is there")
}

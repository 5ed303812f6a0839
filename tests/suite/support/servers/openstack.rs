//! What Glance and keystone have in common: Python programs of one environment, gunicorn before them, and
//! databases that are made once and copied.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::{Certificate, checkout};

/// Runs a script in Python where `openstack`, the clouds' own client, can be imported; answers what it printed.
#[track_caller]
pub(crate) fn python(script: &str, arguments: &[&str]) -> String {
    let mut command = Command::new(environment().join("bin/python"));
    let ran = command.args(["-c", script]).args(arguments).output().unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    String::from_utf8(ran.stdout).unwrap()
}

/// The environment that `.ci/setup` makes.
pub(super) fn environment() -> PathBuf {
    let folder = checkout().join("target/openstack");
    assert!(folder.is_dir(), "`make setup` brings Glance and keystone");
    folder
}

/// gunicorn, which serves the application `module` in `folder`, with the certificate `own` when there is one.
/// Options are in a file: keystone takes those of the command line for its own.
pub(super) fn gunicorn(
    folder: &Path,
    module: &str,
    port: u16,
    own: Option<&Certificate>,
) -> Command {
    let mut settings = format!(
        "wsgi_app = \"{module}:application\"\nbind = \"127.0.0.1:{port}\"\nthreads = 8\n\
         timeout = 600\ncontrol_socket_disable = True\n"
    );
    if let Some(own) = own {
        fs_err::write(folder.join("own.pem"), &own.pem).unwrap();
        fs_err::write(folder.join("key.pem"), &own.key).unwrap();
        settings.push_str("certfile = \"own.pem\"\nkeyfile = \"key.pem\"\n");
    }
    fs_err::write(folder.join("gunicorn.conf.py"), settings).unwrap();
    let mut command = Command::new(environment().join("bin/gunicorn"));
    command.env("PYTHONWARNINGS", "ignore");
    command
}

/// Copies into `folder` the database that `make` makes in another folder, the first time that anybody asks
/// for it.
#[track_caller]
pub(super) fn copy_database(name: &str, folder: &Path, make: impl FnOnce(&Path)) {
    let kept = environment().join("databases").join(name);
    let made = kept.with_added_extension("db");
    let lock = {
        fs_err::create_dir_all(kept.parent().unwrap()).unwrap();
        fs_err::File::create(kept.with_added_extension("lock")).unwrap()
    };
    // Held until the file is closed.
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).unwrap();
    if !made.exists() {
        let partial = tempfile::tempdir_in(kept.parent().unwrap()).unwrap();
        make(partial.path());
        fs_err::rename(partial.path().join("database"), &made).unwrap();
    }
    fs_err::copy(made, folder.join("database")).unwrap();
}

/// Runs a program of the environment to its end.
#[track_caller]
pub(super) fn run(folder: &Path, program: &str, arguments: &[&str]) {
    let mut command = Command::new(environment().join("bin").join(program));
    let ran = command.args(arguments).current_dir(folder).output().unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
}

//! A folder in which one test has everything for itself.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use fs_err::os::unix::fs::symlink;
use serde_json::Value;
use tempfile::TempDir;

use super::checkout::library;
use super::{Ran, Running, checkout, executable, library_dir, wait_for};

/// Templates, a `plugins.d`, a data directory; commands run in it with an environment of their own.
#[derive(Debug)]
pub(crate) struct Workshop {
    folder: TempDir,
}

impl Workshop {
    /// With both teaching plugins, and `mock.tdl`, a template that they can build.
    pub(crate) fn new() -> Self {
        let workshop = Self::without_plugins();
        workshop.link("mock-os");
        workshop.link("mock-cloud");
        workshop.write("mock.tdl", template("MockOS_B"));
        workshop
    }

    /// With an empty `plugins.d`.
    pub(crate) fn without_plugins() -> Self {
        let folder = tempfile::Builder::new().prefix("imageforge-suite-").tempdir().unwrap();
        let workshop = Self { folder };
        for name in ["plugins.d", "tmp", "lib"] {
            fs_err::create_dir(workshop.path(name)).unwrap();
        }
        workshop
    }

    /// A path in the workshop.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The folder of images and records.
    pub(crate) fn data_dir(&self) -> PathBuf {
        self.path("data")
    }

    /// Writes a file and answers its path.
    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs_err::write(&path, content).unwrap();
        path
    }

    /// Writes a template for an operating system.
    pub(crate) fn template_for(&self, name: &str, os: &str) {
        self.write(name, template(os));
    }

    /// Links a plugin of the checkout, whose library must have been built.
    pub(crate) fn link(&self, plugin: &str) {
        drop(library(plugin));
        let info = format!("{plugin}.info");
        let real = checkout().join("plugins").join(plugin).join(&info);
        symlink(real, self.path("plugins.d").join(info)).unwrap();
    }

    /// Links a plugin of `tests/misbehaving`, whose library must have been built.
    pub(crate) fn link_misbehaving(&self, plugin: &str) {
        drop(library(plugin));
        let info = format!("{plugin}.info");
        let real = checkout().join("tests/misbehaving").join(plugin).join(&info);
        symlink(real, self.path("plugins.d").join(info)).unwrap();
    }

    /// Removes a link.
    pub(crate) fn unlink(&self, plugin: &str) {
        let link = self.path("plugins.d").join(format!("{plugin}.info"));
        fs_err::remove_file(link).unwrap();
    }

    /// Writes an `.info` file into `plugins.d`.
    pub(crate) fn info(&self, plugin: &str, json: &str) {
        self.write(&format!("plugins.d/{plugin}.info"), json);
    }

    /// Puts a library where plugins are looked for; answers its bytes' path.
    pub(crate) fn library(&self, plugin: &str, bytes: &[u8]) -> PathBuf {
        self.write(&format!("lib/lib{plugin}.so"), bytes)
    }

    /// `imageforge` with these arguments. Nothing of the caller's environment but `PATH` is in its.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.environment(executable());
        command.args(arguments);
        command
    }

    /// Any program with the environment of this workshop.
    pub(crate) fn environment(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let libraries = [self.path("lib"), library_dir()];
        let mut command = Command::new(program);
        command
            .current_dir(self.folder.path())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.folder.path())
            .env("TMPDIR", self.path("tmp"))
            .env("IMAGEFORGE_DATA_DIR", self.data_dir())
            .env("IMAGEFORGE_PLUGINS_D", self.path("plugins.d"))
            .env("IMAGEFORGE_LIBRARY_PATH", std::env::join_paths(libraries).unwrap())
            .stdin(Stdio::null());
        command
    }

    /// Runs `imageforge` to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        self.command(arguments).output().unwrap().into()
    }

    /// Runs `imageforge` in private namespaces as a script wants it: `$IMAGEFORGE` is the program.
    pub(crate) fn run_script(&self, script: &str) -> Ran {
        let mut command = self.environment("unshare");
        if !rustix::process::geteuid().is_root() {
            command.args(["--user", "--map-root-user"]);
        }
        command
            .args(["--mount", "--propagation", "private", "sh", "-euc", script])
            .env("IMAGEFORGE", executable())
            .output()
            .unwrap()
            .into()
    }

    /// The JSON document of a command that ends well.
    #[track_caller]
    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        let ran = self.run(&[arguments, &["--format", "json"]].concat());
        ran.done().document()
    }

    /// Starts `imageforge` and goes on.
    pub(crate) fn spawn(&self, arguments: &[&str]) -> Running {
        Running::start(self.command(arguments))
    }

    /// Starts a build of `mock.tdl` that takes longer than any test, and waits until its plugin is at
    /// work.
    pub(crate) fn spawn_endless(&self, more: &[&str]) -> Running {
        let arguments = ["build", "mock.tdl", "--parameter", "delay_ms=600000"];
        let running = self.spawn(&[&arguments, more].concat());
        wait_for("the plugin to work", || {
            let images = self.images();
            images
                .iter()
                .any(|image| image["status_detail"]["activity"] == "pretending to install")
                .then_some(())
        });
        running
    }

    /// The value of `mock-os`'s parameter `run` that holds a build until [`Self::let_go`], however
    /// long what a test does meanwhile takes.
    pub(crate) fn hold(&self) -> String {
        format!("until [ -e '{}' ]; do sleep 0.05; done", self.path("go").display())
    }

    /// Lets the builds go on that wait for it.
    pub(crate) fn let_go(&self) {
        self.write("go", "");
    }

    /// Starts a build of `mock.tdl` that is held until [`Self::let_go`].
    pub(crate) fn spawn_held(&self, more: &[&str]) -> Running {
        let run = format!("run={}", self.hold());
        self.spawn(&[&["build", "mock.tdl", "--parameter", &run], more].concat())
    }

    /// All records, newest first.
    #[track_caller]
    pub(crate) fn images(&self) -> Vec<Value> {
        let images = self.json(&["images", "list"]);
        images.as_array().unwrap().clone()
    }

    /// The records of a tier.
    #[track_caller]
    pub(crate) fn images_of(&self, tier: &str) -> Vec<Value> {
        let mut images = self.images();
        images.retain(|image| image["tier"] == tier);
        images
    }

    /// Builds `mock.tdl` and answers the documents of its images.
    #[track_caller]
    pub(crate) fn build(&self, more: &[&str]) -> Vec<Value> {
        let document = self.json(&[&["build", "mock.tdl"], more].concat());
        document["images"].as_array().unwrap().clone()
    }

    /// What can be built, by name.
    #[track_caller]
    pub(crate) fn targets(&self) -> Vec<String> {
        let targets = self.json(&["targets"]);
        texts(targets.as_array().unwrap(), "target")
    }
}

/// A template for a machine of the kind that a mock operating system accepts.
fn template(os: &str) -> String {
    format!(
        "<template>\n  <name>mock</name>\n  <os>\n    <name>{os}</name>\n    \
         <version>1</version>\n    <arch>x86_64</arch>\n    <install type='url'>\n      \
         <url>http://mirror.example/</url>\n    </install>\n  </os>\n</template>\n"
    )
}

/// The texts under `key`, in order.
pub(crate) fn texts(documents: &[Value], key: &str) -> Vec<String> {
    let text = |document: &Value| document[key].as_str().unwrap_or_default().to_owned();
    documents.iter().map(text).collect()
}

//! Builds plugin libraries against modified copies of the plugin API.
//!
//! `abi_stable` compares names and versions of packages, so an older, newer or broken API has to be
//! the package `plugin-api` itself. A copy of its source is edited and built with the lock file and
//! the target directory of this workspace: only the copy and one small plugin are compiled.

#![expect(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    reason = "runs cargo for tests, which fail with it"
)]

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// How a copy of the plugin API differs from the API of this checkout.
struct Fixture {
    name: &'static str,
    /// Version of the copy; that of this checkout when empty.
    version: &'static str,
    /// File below `plugin-api/src/abi`, text, and what takes its place.
    edits: &'static [(&'static str, &'static str, &'static str)],
}

const FIXTURES: &[Fixture] = &[
    Fixture { name: "same", version: "", edits: &[] },
    // The API before the last methods of a session and the last field of the module were appended.
    Fixture {
        name: "older",
        version: "0.1.0",
        edits: &[
            (
                "session.rs",
                "    /// Called from another thread than the rest.\n    fn abort(&self) -> Outcome<()> \
                 {\n        RResult::ROk(())\n    }\n    /// A `Content` as JSON; empty text for \
                 none.\n    fn target_content(&self) -> Outcome<RString> {\n        \
                 RResult::ROk(RString::new())\n    }\n",
                "",
            ),
            (
                "session_body.rs",
                "    fn abort(&self)",
                "}\n\n#[expect(dead_code)]\nimpl Body {\n    fn abort(&self)",
            ),
            ("delegate_session.rs", "value(self.session.abort())", "Ok(())"),
            ("delegate_session.rs", "value(self.session.target_content())?", "RString::new()"),
            (
                "module.rs",
                "    /// The most verbose level that the host wants to hear of, 0 (nothing) to 5 \
                 (trace).\n    #[sabi(missing_field(option))]\n    pub set_log_level: extern \"C\" fn(u8),\n",
                "",
            ),
            ("module.rs", ", set_log_level }", " }"),
        ],
    },
    // A method appended to both traits and a field to the module. The plugin's builder calls the
    // method that this host does not have.
    Fixture {
        name: "newer",
        version: "0.1.99",
        edits: &[
            (
                "session.rs",
                "        RResult::ROk(RString::new())\n    }\n",
                "        RResult::ROk(RString::new())\n    }\n    \
                 fn rehearse(&self) -> Outcome<()> {\n        RResult::ROk(())\n    }\n",
            ),
            (
                "session.rs",
                "    fn call(&self, call: RStr<'_>) -> Outcome<RString>;\n",
                "    fn call(&self, call: RStr<'_>) -> Outcome<RString>;\n    \
                 fn deadline_passed(&self) -> bool {\n        false\n    }\n",
            ),
            (
                "plugin_end.rs",
                "        self.0.cancelled()",
                "        self.0.deadline_passed() || self.0.cancelled()",
            ),
            (
                "module.rs",
                "    pub set_log_level: extern \"C\" fn(u8),\n",
                "    pub set_log_level: extern \"C\" fn(u8),\n    \
                 #[sabi(missing_field(option))]\n    pub rehearse: extern \"C\" fn() -> u8,\n",
            ),
            ("module.rs", ", set_log_level }", ", set_log_level, rehearse }"),
            (
                "module.rs",
                "extern \"C\" fn set_log_level",
                "extern \"C\" fn rehearse() -> u8 {\n    1\n}\n\nextern \"C\" fn set_log_level",
            ),
        ],
    },
    // What must never happen within a major version.
    Fixture {
        name: "changed",
        version: "",
        edits: &[
            (
                "session.rs",
                "    fn progress(&self, percent: u8);",
                "    fn progress(&self, percent: u32);",
            ),
            (
                "host_end.rs",
                "    fn progress(&self, percent: u8) {\n        self.guarded(\"progress\", |host| \
                 host.progress(percent));",
                "    fn progress(&self, percent: u32) {\n        self.guarded(\"progress\", |host| \
                 host.progress(percent as u8));",
            ),
            ("plugin_end.rs", "self.0.progress(percent);", "self.0.progress(u32::from(percent));"),
        ],
    },
    Fixture { name: "major", version: "0.2.0", edits: &[] },
    // The API of this checkout; the plugin alone is compiled with `panic = "abort"`, which is what
    // decides for the whole library.
    Fixture { name: "aborting", version: "", edits: &[] },
];

/// Builds the fixture `name` and answers the path of its library.
///
/// # Panics
/// When there is no such fixture, when an edit finds nothing to change, or when cargo fails.
pub(crate) fn build_fixture(name: &str) -> PathBuf {
    let fixture = FIXTURES
        .iter()
        .find(|fixture| fixture.name == name)
        .unwrap_or_else(|| panic!("there is no fixture `{name}`"));
    let target = Path::new(env!("CARGO_TARGET_TMPDIR"))
        .parent()
        .expect("the folder for temporary files is in the target directory");
    let folder = target.join("fixtures").join(format!("abi-{name}"));
    write_sources(fixture, &folder);

    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let (profile, directory) =
        if cfg!(debug_assertions) { ("dev", "debug") } else { ("release", "release") };
    let panic: &[&str] = if name == "aborting" { &["--", "-C", "panic=abort"] } else { &[] };
    let output = Command::new(cargo)
        .args(["rustc", "--offline", "--quiet", "--profile", profile])
        .args(["--package", &format!("abi-{name}")])
        .args(panic)
        .env("CARGO_TARGET_DIR", target)
        .current_dir(&folder)
        .output()
        .expect("cargo can be started");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "fixture `{name}`: {errors}");
    target.join(directory).join(format!("libabi_{name}.so"))
}

fn write_sources(fixture: &Fixture, folder: &Path) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("this package is a folder of the workspace");
    let read =
        |path: &str| fs_err::read_to_string(root.join(path)).expect("a file of this checkout");
    let name = fixture.name;

    write(&folder.join("Cargo.toml"), &workspace(fixture, &read("Cargo.toml")));
    write(&folder.join("Cargo.lock"), &read("Cargo.lock"));
    write(&folder.join("plugin/src/lib.rs"), &read("tests/fixtures/abi/plugin.rs"));
    write(
        &folder.join("plugin/Cargo.toml"),
        &format!(
            "[package]\nname = \"abi-{name}\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\n[lib]\n\
             crate-type = [\"cdylib\"]\n\n[dependencies]\nplugin-api.workspace = true\n\
             tracing.workspace = true\n"
        ),
    );
    let api = root.join("plugin-api");
    // Tests and their dependencies are left behind.
    let manifest = read("plugin-api/Cargo.toml");
    let manifest = manifest.split("\n[dev-dependencies]").next().unwrap_or_default();
    let copy = folder.join(api_folder(fixture));
    write(&copy.join("Cargo.toml"), manifest);
    write(&copy.join("build.rs"), &read("plugin-api/build.rs"));
    let mut edits_left: Vec<_> = fixture.edits.iter().collect();
    copy_folder(&api.join("src"), &copy.join("src"), &mut |path, text| {
        for (_, from, to) in extract(&mut edits_left, path) {
            assert!(
                text.contains(from),
                "fixture `{name}`: `{}` no longer contains {from:?}",
                path.display()
            );
            *text = text.replacen(from, to, 1);
        }
    });
    assert!(edits_left.is_empty(), "fixture `{name}`: {edits_left:?} name no file");
}

type Edit = &'static (&'static str, &'static str, &'static str);

fn extract(edits: &mut Vec<Edit>, path: &Path) -> Vec<Edit> {
    let (here, elsewhere) =
        edits.drain(..).partition(|(file, _, _)| path.ends_with(Path::new("abi").join(file)));
    *edits = elsewhere;
    here
}

/// Cargo tells packages of one name and version apart by their path below the workspace: were it
/// the same, this copy would take the place of another one in the target directory.
fn api_folder(fixture: &Fixture) -> String {
    format!("plugin-api-{}", fixture.name)
}

/// The manifest of this workspace, with two members and the fixture's version.
fn workspace(fixture: &Fixture, manifest: &str) -> String {
    let lines = manifest.lines().map(|line| {
        if line.starts_with("default-members = ") {
            String::new()
        } else if line.starts_with("members = ") {
            format!("members = [\"{}\", \"plugin\"]", api_folder(fixture))
        } else if line.starts_with("plugin-api = ") {
            format!("plugin-api = {{ path = \"{}\" }}", api_folder(fixture))
        } else if line.starts_with("version = ") && !fixture.version.is_empty() {
            format!("version = \"{}\"", fixture.version)
        } else {
            line.to_owned()
        }
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn copy_folder(from: &Path, to: &Path, edit: &mut dyn FnMut(&Path, &mut String)) {
    for entry in fs_err::read_dir(from).expect("a folder of plugin-api") {
        let path = entry.expect("a file of plugin-api").path();
        let target = to.join(path.file_name().unwrap_or_default());
        if path.is_dir() {
            copy_folder(&path, &target, edit);
        } else {
            let mut text = fs_err::read_to_string(&path).expect("a source file");
            edit(&path, &mut text);
            write(&target, &text);
        }
    }
}

/// Leaves a file alone that has this text already, so that cargo has nothing to do. Other tests may
/// build the same fixture at once: a file appears with its whole text or not at all.
fn write(path: &Path, text: &str) {
    if fs_err::read_to_string(path).is_ok_and(|found| found == text) {
        return;
    }
    fs_err::create_dir_all(path.parent().expect("a folder")).expect("a folder can be made");
    let folder = path.parent().expect("a folder");
    let mut partial = tempfile::NamedTempFile::new_in(folder).expect("a file can be made");
    partial.write_all(text.as_bytes()).expect("a file can be written");
    partial.persist(path).expect("a file can be renamed");
}

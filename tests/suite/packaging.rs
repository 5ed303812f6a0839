//! The Debian packages, made from what was built for the suite; `make deb-test` installs the real ones.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use crate::support::{Ran, Workshop, checkout, library_dir};

const UNIT: &str = "host/debian/imageforge.service";

/// A value of the unit; the last one counts.
fn unit(key: &str) -> String {
    let text = fs_err::read_to_string(checkout().join(UNIT)).unwrap();
    let mut values = text.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    values.next_back().unwrap_or_else(|| panic!("the unit has no `{key}`")).to_owned()
}

fn run(program: &str, arguments: &[&str]) -> Ran {
    Command::new(program).args(arguments).output().unwrap().into()
}

/// Makes both packages in `folder` and answers their paths.
fn packages(workshop: &Workshop, folder: &str) -> Vec<String> {
    // Not compressed and not of the last commit's time: neither is what is tested here.
    let ran: Ran = workshop
        .environment("bash")
        .arg(checkout().join(".ci/deb"))
        .args([library_dir(), workshop.path(folder)])
        .env("SOURCE_DATE_EPOCH", "1700000000")
        .env("DEB_COMPRESSION", "none")
        .output()
        .unwrap()
        .into();
    ran.done().stdout.lines().map(str::to_owned).collect()
}

#[test]
fn the_packages_have_everything_and_the_same_bytes_each_time() {
    let workshop = Workshop::without_plugins();
    let made = packages(&workshop, "one");
    let [main, mock] = made.as_slice() else { panic!("{made:?}") };
    for (again, first) in packages(&workshop, "two").iter().zip(&made) {
        run("cmp", &[first, again]).done();
    }

    let tree = workshop.path("tree");
    let root = tree.to_str().unwrap();
    run("dpkg-deb", &["--raw-extract", main, root]).done();
    run("dpkg-deb", &["--extract", mock, root]).done();
    for path in [
        "usr/bin/imageforge",
        "etc/imageforge/plugins.d",
        "etc/imageforge/imageforge.toml",
        "lib/systemd/system/imageforge.service",
        "usr/share/imageforge/templates/debian-12.tdl",
        "usr/share/doc/imageforge/operations.md",
        "usr/share/doc/imageforge/copyright",
        "usr/share/man/man1/imageforge-target-image.1.gz",
        "usr/share/bash-completion/completions/imageforge",
        "usr/share/zsh/vendor-completions/_imageforge",
        "usr/share/fish/vendor_completions.d/imageforge.fish",
    ] {
        assert!(tree.join(path).exists(), "{path} is missing");
    }
    let version = run("dpkg-deb", &["--field", main, "Version"]).done().stdout;
    assert_eq!(version.trim_end(), env!("CARGO_PKG_VERSION"));
    let depends = run("dpkg-deb", &["--field", main, "Depends"]).done().stdout;
    assert!(depends.contains("libc6 (>= "), "{depends}");

    plugins_are_found(&workshop, &tree);
}

/// The program finds the libraries that lie where the package puts them.
fn plugins_are_found(workshop: &Workshop, tree: &Path) {
    let linked = workshop.path("plugins.d");
    let mut names = BTreeSet::new();
    for entry in fs_err::read_dir(checkout().join("plugins.d")).unwrap() {
        let name = entry.unwrap().file_name();
        let packaged = tree.join("usr/lib/imageforge/plugins").join(&name);
        fs_err::os::unix::fs::symlink(packaged, linked.join(&name)).unwrap();
        names.insert(name.to_str().unwrap().trim_end_matches(".info").to_owned());
    }
    let program = tree.join("usr/bin/imageforge");
    let mut command = workshop.environment(program);
    command.args(["--format", "json", "plugins", "list"]).env_remove("IMAGEFORGE_LIBRARY_PATH");
    let ran: Ran = command.output().unwrap().into();
    let listed = ran.done().document();
    let listed = listed.as_array().unwrap();
    let usable: BTreeSet<String> = listed
        .iter()
        .filter(|plugin| plugin["status"]["state"] == "ready")
        .map(|plugin| plugin["name"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(usable, names, "{listed:#?}");
}

#[test]
fn the_settings_that_the_package_shows_are_valid() {
    let text = fs_err::read_to_string(checkout().join("host/debian/imageforge.toml")).unwrap();
    let shown: Vec<String> = text
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(setting) if !setting.starts_with(' ') => setting.to_owned(),
            _ => line.to_owned(),
        })
        .collect();
    let settings: toml::Table = shown.join("\n").parse().unwrap();
    assert_eq!(settings["serve"]["stop_seconds"].as_integer(), Some(300));
    let workshop = Workshop::new();
    let path = workshop.write("shown.toml", shown.join("\n"));
    workshop.run(&["--config", path.to_str().unwrap(), "targets"]).done();
    // As it is installed, nothing but comments and headers: the defaults hold.
    let installed: toml::Table = text.parse().unwrap();
    assert!(installed.values().all(|table| table.as_table().is_some_and(has_no_value)));
}

fn has_no_value(table: &toml::Table) -> bool {
    table.values().all(|value| value.as_table().is_some_and(has_no_value))
}

#[test]
fn the_unit_gives_builds_the_time_and_the_rights_that_they_need() {
    assert_eq!(unit("Type"), "notify");
    assert_eq!(unit("ExecStart"), "/usr/bin/imageforge serve");
    assert_eq!(unit("Delegate"), "memory pids");
    assert_eq!(unit("KillMode"), "mixed");
    assert_eq!(unit("OOMPolicy"), "continue");
    assert_eq!(unit("StateDirectory"), "imageforge");
    let stop: u64 = unit("TimeoutStopSec").parse().unwrap();
    assert!(stop > 300, "builds have `stop_seconds`, 300, and answers under way a little more");
    let capabilities = fs_err::read_to_string(checkout().join(UNIT)).unwrap();
    for needed in ["CAP_SYS_ADMIN", "CAP_SYS_CHROOT", "CAP_MKNOD", "CAP_SETFCAP", "CAP_CHOWN"] {
        assert!(capabilities.contains(needed), "{needed}");
    }
}

/// `links NAME…` with the packaged script, in a folder instead of `/etc/imageforge/plugins.d`.
#[test]
fn a_link_that_somebody_removed_does_not_come_back() {
    let workshop = Workshop::without_plugins();
    let script = fs_err::read_to_string(checkout().join("host/debian/link-plugins")).unwrap();
    let folder = workshop.path("plugins.d");
    let script = script.replace("/etc/imageforge/plugins.d", folder.to_str().unwrap());
    assert!(script.contains(folder.to_str().unwrap()));
    let path = workshop.write("link-plugins", script);
    let path = path.to_str().unwrap();
    let links = || {
        let entries = fs_err::read_dir(&folder).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| !name.starts_with('.')).collect::<BTreeSet<_>>()
    };
    run("sh", &[path, "raw", "vhd"]).done();
    assert_eq!(links(), BTreeSet::from(["raw.info".to_owned(), "vhd.info".to_owned()]));
    fs_err::remove_file(folder.join("raw.info")).unwrap();
    run("sh", &[path, "raw", "vhd", "vmdk"]).done();
    assert_eq!(links(), BTreeSet::from(["vhd.info".to_owned(), "vmdk.info".to_owned()]));
}

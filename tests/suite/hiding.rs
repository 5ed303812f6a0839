//! Plugins see nothing of what the host keeps to itself, and all that they need.

use std::os::unix::fs::PermissionsExt as _;

use fs_err::PathExt as _;
use rustix::process::Signal;

use crate::support::{Certificate, Daemon, Ran, Workshop, library_dir};

/// A library that looks for secrets as soon as it is loaded, before anybody could ask it anything.
const LOADING: &str = r#"{"type": "os", "targets": [["Loading"]], "library": "libloading.so"}"#;

/// A daemon with secrets of every kind, within its data directory and outside.
fn workshop() -> (Workshop, &'static str) {
    let workshop = Workshop::new();
    workshop.link_misbehaving("intrudes");
    let own = Certificate::new(2020, 2100);
    workshop.write("own.pem", &own.pem);
    for (name, text) in [("own.key", &*own.key), ("consumer.secret", "correct-horse")] {
        let path = workshop.write(name, text);
        fs_err::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
    }
    let settings = "tls = { certificate = \"own.pem\", key = \"own.key\" }\n\
                    audit_log = \"audit.log\"\n\
                    [serve.consumers.old]\n\
                    secret_file = \"consumer.secret\"\n\
                    scopes = [\"images:read\"]\n";
    (workshop, settings)
}

#[test]
fn no_plugin_of_a_daemon_finds_its_keys_its_tokens_or_its_records() {
    let (workshop, settings) = workshop();
    // A certificate that was made before stays where it was.
    let before = Daemon::start(&workshop, "tls = { self_signed = true }");
    assert_eq!(before.stop(Signal::TERM), Some(0));
    workshop.info("loading", LOADING);
    let looks = [("MISBEHAVE", "constructor: read what is secret")];
    let daemon = Daemon::start_with(&workshop, settings, &looks);
    let socket = format!("unix:{}", workshop.data_dir().join("serve.sock").display());
    for os in ["Misbehaving", "Loading"] {
        workshop.template_for("asked.tdl", os);
        let template = workshop.path("asked.tdl").display().to_string();
        let asked = ["--parameter", "when=create_base_image", "--parameter"];
        let how = ["how=reads what is secret"];
        let asked = if os == "Loading" { vec![] } else { [&asked[..], &how].concat() };
        let mut command = daemon.command(&[&["base-image", &template], &asked[..]].concat());
        let built: Ran = command.env("IMAGEFORGE_SERVER", &socket).output().unwrap().into();
        built.done();
    }
    for secret in ["seal.key", "tokens.db", "tls/self-signed.pem", "store.db", "serve.sock"] {
        let path = workshop.data_dir().join(secret);
        assert!(path.fs_err_metadata().is_ok(), "nobody could have found {secret}");
    }
    for secret in ["own.key", "consumer.secret", "serve.toml", "audit.log"] {
        let length = workshop.path(secret).fs_err_metadata().unwrap().len();
        assert!(length > 0, "nobody could have found {secret}");
    }
}

#[test]
fn what_a_build_needs_of_a_data_directory_with_everything_in_it_is_there() {
    let workshop = Workshop::new();
    let library = fs_err::read(library_dir().join("libmock_os.so")).unwrap();
    workshop.library("mock_os", &library);
    // Where nothing but libraries is left.
    let mut command = workshop.command(&["build", "../mock.tdl", "--target", "mock"]);
    command.current_dir(workshop.path("lib")).env("IMAGEFORGE_DATA_DIR", workshop.path(""));
    Ran::from(command.output().unwrap()).done();
    // And where nothing is left at all.
    let mut command = workshop.command(&["build", "../mock.tdl", "--target", "mock", "--rebuild"]);
    command.current_dir(workshop.path("tmp")).env("IMAGEFORGE_DATA_DIR", workshop.path(""));
    Ran::from(command.output().unwrap()).done();
}

#[test]
fn folders_of_the_data_directory_may_be_links_to_another_disk() {
    let workshop = Workshop::new();
    workshop.link_misbehaving("intrudes");
    workshop.template_for("asked.tdl", "Misbehaving");
    fs_err::create_dir(workshop.data_dir()).unwrap();
    for name in ["images", "work", "cache", "libraries"] {
        fs_err::create_dir_all(workshop.path("disk").join(name)).unwrap();
        let target = format!("../disk/{name}");
        fs_err::os::unix::fs::symlink(target, workshop.data_dir().join(name)).unwrap();
    }
    workshop.build(&["--target", "mock"]);
    let other = workshop.path("disk/work/another");
    fs_err::create_dir(&other).unwrap();
    let how = format!("how=lists {}", other.parent().unwrap().display());
    let asked = ["base-image", "asked.tdl", "--parameter", "when=create_base_image", "--parameter"];
    let built = workshop.json(&[&asked[..], &[&how]].concat());
    let id = built["images"][0]["id"].as_str().unwrap();
    let log = workshop.run(&["images", "log", id]).done().stdout;
    assert!(log.contains(&format!("there is {}", other.with_file_name(id).display())), "{log}");
    assert!(!log.contains(&other.display().to_string()), "{log}");
}

#[test]
fn a_plugin_of_an_ordinary_user_finds_nothing_either() {
    // Without root, all other tests show it.
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let workshop = Workshop::new();
    workshop.link_misbehaving("intrudes");
    workshop.template_for("asked.tdl", "Misbehaving");
    let ran = workshop.run_script(
        "chown -R 65534:65534 .; chmod 755 .
         user() { setpriv --reuid 65534 --regid 65534 --clear-groups \"$@\"; }
         # Some machines have no user namespaces for them, or keep the checkout from them.
         user unshare --user --map-root-user --mount-proc --pid --fork \"$IMAGEFORGE\" --version || exit 0
         user \"$IMAGEFORGE\" base-image asked.tdl --parameter when=create_base_image \
             --parameter 'how=reads what is secret'",
    );
    ran.done();
}

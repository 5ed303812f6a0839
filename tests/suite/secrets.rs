//! Credentials and secret parameters are in no file, no record and no output.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;

use crate::support::{Process, Ran, Workshop};

const SECRET: &str = "correct-horse-battery-staple";

/// An operating system with a secret parameter; `skip` is one so that a plugin repeats it.
const INFO: &str = r#"{
    "type": "os", "targets": [["Secretive"]], "library": "libmock_os.so",
    "parameters": {"type": "object", "properties": {
        "skip": {"type": "string", "x-secret": true},
        "token": {"type": "string", "x-secret": true},
        "delay_ms": {"type": "integer"},
        "fail_with": {"type": "string"}
    }}
}"#;

fn workshop() -> Workshop {
    let workshop = Workshop::new();
    workshop.info("secretive", INFO);
    workshop.template_for("secretive.tdl", "Secretive");
    fs_err::create_dir(workshop.path("cloud")).unwrap();
    workshop
}

#[track_caller]
fn assert_unseen(workshop: &Workshop, ran: &[Ran]) {
    for ran in ran {
        assert!(!ran.stdout.contains(SECRET), "{ran:#?}");
        assert!(!ran.stderr.contains(SECRET), "{ran:#?}");
    }
    let mut seen = 0;
    let mut folders = vec![workshop.data_dir(), workshop.path("tmp"), workshop.path("cloud")];
    while let Some(folder) = folders.pop() {
        for entry in fs_err::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                assert!(!holds_secret(&path), "the secret is in {}", path.display());
                seen += 1;
            }
        }
    }
    assert!(seen > 3, "only {seen} files were looked at");
}

fn holds_secret(path: &Path) -> bool {
    let bytes = fs_err::read(path).unwrap();
    bytes.windows(SECRET.len()).any(|window| window == SECRET.as_bytes())
}

#[test]
fn credentials_are_nowhere_after_a_push_and_a_deletion() {
    let workshop = workshop();
    let credentials = format!(r#"@{{"username": "ada", "password": "{SECRET}"}}"#);
    let build = workshop.run(&[
        "build",
        "mock.tdl",
        "--target",
        "mock",
        "--provider",
        "cloud",
        "--credentials",
        &credentials,
        "-v",
        "-v",
        "--format",
        "json",
    ]);
    let build = build.done();
    let id = build.document()["images"][2]["id"].as_str().unwrap().to_owned();
    let log = workshop.run(&["images", "log", &id, "--format", "json"]).done();
    let show = workshop.run(&["images", "show", &id]).done();
    assert_unseen(&workshop, &[build, log, show]);
    let delete = workshop.run(&["images", "delete", &id, "--credentials", &credentials]);
    assert_unseen(&workshop, &[delete.done()]);
}

/// Everything in which a plugin, a program or a server may repeat a password.
fn ways_to_repeat(user: &str) -> Vec<String> {
    let basic = STANDARD_NO_PAD.encode(format!("{user}:{SECRET}"));
    vec![SECRET.to_owned(), basic, STANDARD_NO_PAD.encode(SECRET)]
}

#[test]
fn credentials_in_any_form_are_nowhere_whoever_repeats_their_parts() {
    let written = [
        format!(r#"{{"auth": {{"username": "ada", "password": "{SECRET}"}}}}"#),
        format!("clouds:\n  main:\n    auth:\n      username: ada\n      password: \"{SECRET}\"\n"),
        format!("<c><username>ada</username><password>{SECRET}</password></c>"),
        format!("OS_USERNAME=ada\nOS_PASSWORD={SECRET}\n"),
    ];
    for credentials in &written {
        let workshop = workshop();
        workshop.link_misbehaving("clouds");
        workshop.write("credentials", credentials);
        workshop.write("repeated", ways_to_repeat("ada").join("\n") + "\n" + credentials);
        // A program of the build prints them, and then fails with them.
        let run = format!("cat {0}; cat {0} >&2; exit 1", workshop.path("repeated").display());
        let build = workshop.run(&[
            "build",
            "mock.tdl",
            "-vv",
            "--target",
            "misbehaving",
            "--provider",
            &format!("https://ada:{SECRET}@cloud.example/"),
            "--credentials",
            "credentials",
            "--parameter",
            &format!("run={run}"),
        ]);
        let build = build.ended(1);
        assert!(build.stderr.contains("<redacted>"), "{build:#?}");
        let mut ran = vec![build];
        for image in workshop.images() {
            let id = image["id"].as_str().unwrap().to_owned();
            ran.push(workshop.run(&["images", "log", &id, "--format", "json"]).done());
            ran.push(workshop.run(&["images", "show", &id, "--format", "json"]).done());
        }
        fs_err::remove_file(workshop.path("repeated")).unwrap();
        assert_unseen(&workshop, &ran);
        for way in ways_to_repeat("ada") {
            for ran in &ran {
                assert!(!ran.stdout.contains(&way) && !ran.stderr.contains(&way), "{ran:#?}");
            }
        }
    }
}

#[test]
fn workers_have_no_secrets_of_the_hosts_environment() {
    let workshop = workshop();
    let run = "env | grep ^IMAGEFORGE_ | sort; exit 1";
    let mut command =
        workshop.command(&["build", "mock.tdl", "-v", "--parameter", &format!("run={run}")]);
    for name in ["IMAGEFORGE_TOKEN", "IMAGEFORGE_CREDENTIALS", "IMAGEFORGE_SERVER_PASSWORD"] {
        command.env(name, SECRET);
    }
    let ran: Ran = command.output().unwrap().into();
    let ran = ran.ended(1).says("IMAGEFORGE_DATA_DIR=");
    assert_unseen(&workshop, &[ran.never_says("IMAGEFORGE_TOKEN")]);
}

#[test]
fn a_secret_parameter_is_nowhere_even_when_the_plugin_repeats_it() {
    let workshop = workshop();
    let token = format!("token={SECRET}");
    let skip = format!("skip={SECRET} 2");
    let mut ran = Vec::new();
    for secret in [&token, &skip] {
        let build = ["build", "secretive.tdl", "-vv", "--parameter", secret];
        ran.push(workshop.run(&build).done());
        ran.push(workshop.run(&[&build[..], &["--format", "json", "--rebuild"]].concat()));
        ran.push(workshop.run(&[&build[..], &["--format", "json", "--dry-run"]].concat()));
    }
    for image in workshop.images() {
        let id = image["id"].as_str().unwrap().to_owned();
        ran.push(workshop.run(&["images", "log", &id]).done());
        ran.push(workshop.run(&["images", "show", &id, "--format", "json"]).done());
    }
    assert_unseen(&workshop, &ran);
}

#[test]
fn secrets_are_in_no_command_line_while_building() {
    let workshop = workshop();
    workshop.write("token", SECRET);
    let build = workshop.spawn(&[
        "build",
        "secretive.tdl",
        "--file-parameter",
        "token=token",
        "--parameter",
        "delay_ms=600000",
    ]);
    crate::support::wait_for("the worker", || {
        build.descendants().iter().any(Process::is_worker).then_some(())
    });
    for process in build.descendants() {
        let line = process.arguments.join(" ");
        assert!(!line.contains(SECRET), "{line}");
    }
    build.signal(rustix::process::Signal::INT);
    let ran = build.wait().ended(8);
    assert_unseen(&workshop, &[ran]);
}

#[test]
fn different_secrets_give_different_base_images() {
    let workshop = workshop();
    for token in ["token=first-secret", "token=second-secret", "token=first-secret"] {
        workshop.run(&["build", "secretive.tdl", "--parameter", token]).done();
    }
    assert_eq!(workshop.images_of("base").len(), 2);
}

//! Builds at a daemon: told, ended, delivered and deleted like those on this machine.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use rustix::process::Signal;
use serde_json::{Value, json};

use super::said::said;
use crate::support::{Daemon, Running, Workshop, kill, wait_for};

const CREDENTIALS: &str = r#"@{"username": "ada", "password": "hunter2-and-more"}"#;
const ENDLESS: [&str; 4] = ["build", "mock.tdl", "--parameter", "delay_ms=600000"];

/// The image that is being built.
fn under_way(workshop: &Workshop) -> Value {
    wait_for("the plugin to work", || {
        workshop
            .images()
            .into_iter()
            .find(|image| image["status_detail"]["activity"] == "pretending to install")
    })
}

/// The file in which a template includes another.
fn write_templates(workshop: &Workshop) {
    workshop.write("motd", "hello\n");
    let whole = fs_err::read_to_string(workshop.path("mock.tdl")).unwrap();
    let files = "<files><file name='/etc/motd'><xi:include \
                 xmlns:xi='http://www.w3.org/2001/XInclude' href='motd' parse='text'/></file></files>\n</template>";
    workshop.write("include.tdl", whole.replace("</template>", files));
    workshop.write("disk.raw", vec![7; 1 << 20]);
    workshop.write("disk.vmdk", "KDMV and nothing that follows it");
    workshop.write("parameters.json", r#"{"log_lines": 3}"#);
}

#[test]
fn builds_say_the_same_at_a_server_as_here() {
    let workshop = Workshop::new();
    write_templates(&workshop);
    fs_err::create_dir(workshop.path("cloud")).unwrap();
    fs_err::create_dir(workshop.path("other")).unwrap();
    let daemon = Daemon::start(&workshop, "");
    let push = ["--target", "mock", "--provider", "cloud", "--credentials", CREDENTIALS];
    let commands: &[&[&str]] = &[
        &["build", "mock.tdl", "--target", "mock", "--dry-run"],
        &["templates", "check", "include.tdl", "--target", "mock"],
        &["build", "mock.tdl", "--target", "mock"],
        &["build", "mock.tdl", "--target", "mock", "--name", "second", "--label", "a=b"],
        &["build", "mock.tdl", "-v", "--rebuild", "--parameters", "parameters.json"],
        &["base-image", "mock.tdl", "--name", "based", "--parameter", "size_bytes=70000"],
        &["target-image", "mock", "--id", "based"],
        &["build", "mock.tdl", "--parameter", "fail_with=failed", "--target", "mock"],
        &["build", "mock.tdl", "--parameter", "fail_with=unavailable"],
        &["build", "mock.tdl", "--parameter", "skip=nobody needs it", "--target", "mock"],
        &[&["build", "mock.tdl", "--name", "pushed"], &push[..]].concat(),
        &[&["build", "mock.tdl", "--provider", "other", "--dry-run"], &push[..]].concat(),
        // Quiet, since the two are delivered at once and in no order.
        &[&["build", "mock.tdl", "-q", "--provider", "other"], &push[..]].concat(),
        &["images", "import", "disk.raw", "--template", "mock.tdl", "--name", "taken"],
        &["images", "import", "disk.vmdk", "--template", "mock.tdl"],
        &["images", "import", "nowhere.raw", "--template", "mock.tdl"],
        &["images", "delete", "based"],
        &["images", "delete", "nobody", "second", "--force"],
    ];
    for arguments in commands {
        for format in ["text", "json"] {
            let here = [*arguments, &["--format", format, "--data-dir", "here"]].concat();
            let here = said(&workshop.run(&here));
            let there = said(&daemon.run(&[*arguments, &["--format", format]].concat()));
            assert_eq!(there, here, "{arguments:?}");
        }
    }
    // What a template includes is sent in its place, which its record shows.
    let include = ["build", "include.tdl", "--target", "mock", "--rebuild"];
    let here = said(&workshop.run(&[&include[..], &["--data-dir", "here"]].concat()));
    assert_eq!(said(&daemon.run(&include)), here);
}

#[test]
fn bodies_are_brought_here_whole_and_replace_nothing_unasked() {
    let workshop = Workshop::new();
    let daemon = Daemon::start(&workshop, "");
    let big = ["--parameter", "size_bytes=3000000", "--output", "disk.raw"];
    daemon.run(&[&["build", "mock.tdl", "--name", "big"], &big[..]].concat()).done();
    let image = workshop.images().remove(0);
    let body = fs_err::read(image["path"].as_str().unwrap()).unwrap();
    assert_eq!(body.len(), 3_000_000);
    assert!(fs_err::read(workshop.path("disk.raw")).unwrap() == body);
    let export = ["images", "export", "big", "disk.raw"];
    daemon.run(&export).refused(6).says("exists already");
    workshop.write("disk.raw", "");
    daemon.run(&[&export[..], &["--force"]].concat()).done();
    assert!(fs_err::read(workshop.path("disk.raw")).unwrap() == body);
    daemon.run(&["images", "export", "big", "no/such/folder"]).ended(1);
}

#[test]
fn a_provider_that_refuses_the_credentials_is_not_asked_again() {
    let workshop = Workshop::new();
    fs_err::create_dir(workshop.path("cloud")).unwrap();
    let _daemon = Daemon::start(&workshop, "");
    let wrong = r#"@{"username": "ada", "password": "wrong"}"#;
    let push = ["--target", "mock", "--provider", "cloud", "--credentials", wrong];
    let build = [&["build", "mock.tdl", "--server", "local"], &push[..]].concat();
    workshop.run(&build).ended(7).says("refuses the password").never_says("trying again");
    assert_eq!(workshop.images(), Vec::<Value>::new());
}

#[test]
fn ctrl_c_cancels_the_build_at_the_server() {
    let workshop = Workshop::new();
    let daemon = Daemon::start(&workshop, "");
    let build = Running::start(daemon.command(&ENDLESS));
    let image = under_way(&workshop);
    build.signal(Signal::INT);
    build.wait().ended(8).says("cancelled");
    assert_eq!(daemon.ended(&image)["status"], "CANCELLED");
}

#[test]
fn a_build_that_waits_tells_its_place_in_the_queue() {
    let workshop = Workshop::new();
    let daemon = Daemon::start(&workshop, "slots = { build = 1, convert = 1, push = 1 }");
    // Two jobs for each slot are prepared.
    for _ in 0..7 {
        daemon.run(&[&ENDLESS[..], &["--detach"]].concat()).done();
    }
    let mut build = daemon.command(&["build", "mock.tdl"]).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(build.stderr.take().unwrap()).lines().map(Result::unwrap);
    assert_eq!(lines.next().unwrap(), "base: waits in the queue at position 2");
    kill(build.id(), Signal::INT);
    assert_eq!(build.wait().unwrap().code(), Some(8));
}

#[test]
fn a_build_goes_on_when_its_client_dies() {
    let workshop = Workshop::new();
    let daemon = Daemon::start(&workshop, "");
    let hold = format!("run={}", workshop.hold());
    let build = Running::start(daemon.command(&["build", "mock.tdl", "--parameter", &hold]));
    let image = under_way(&workshop);
    kill(build.id(), Signal::KILL);
    assert_eq!(build.wait().code, None);
    workshop.let_go();
    assert_eq!(daemon.ended(&image)["status"], "COMPLETE");
}

#[test]
fn a_detached_build_is_named_and_left_to_the_server() {
    let workshop = Workshop::new();
    let daemon = Daemon::start(&workshop, "");
    let detached = ["build", "mock.tdl", "--target", "mock", "--detach"];
    let ids = daemon.run(&detached).done().stdout;
    let ids: Vec<&str> = ids.lines().collect();
    assert_eq!(ids.len(), 2);
    for id in ids {
        daemon.run(&["images", "log", id, "--follow"]).done().prints("== COMPLETE");
        assert_eq!(daemon.ended(&json!({ "id": id }))["status"], "COMPLETE");
    }
}

#[test]
fn a_provider_image_is_deleted_at_its_provider_or_the_reason_is_told() {
    let workshop = Workshop::new();
    fs_err::create_dir(workshop.path("cloud")).unwrap();
    let daemon = Daemon::start(&workshop, "");
    let push = ["build", "mock.tdl", "--target", "mock", "--provider", "cloud"];
    daemon.run(&[&push[..], &["--credentials", CREDENTIALS]].concat()).done();
    let images = workshop.images();
    let id = images.iter().find(|image| image["tier"] == "provider").unwrap()["id"].clone();
    let delete = ["images", "delete", id.as_str().unwrap(), "--credentials"];
    let wrong = r#"@{"username": "ada", "password": "wrong"}"#;
    daemon.run(&[&delete[..], &[wrong]].concat()).refused(7).says("refuses the password");
    daemon.run(&[&delete[..], &[CREDENTIALS]].concat()).done().prints("deleted");
    assert_eq!(workshop.images().len(), 2);
    assert_eq!(fs_err::read_dir(workshop.path("cloud")).unwrap().count(), 0);
}

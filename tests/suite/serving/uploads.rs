//! Disks that are sent to the daemon and become base images.

use std::io::Write;
use std::net::TcpStream;
use std::os::unix::fs::MetadataExt;
use std::process::Command;

use serde_json::{Value, json};

use crate::support::{Answer, Daemon, Workshop, wait_for};

type Parts<'p> = &'p [(&'p str, &'p [u8])];

const BOUNDARY: &str = "a boundary that is in no disk";

/// A form in parts; the disk is called `disk.img`.
fn form(parts: Parts<'_>) -> Vec<u8> {
    let mut form = Vec::new();
    for (name, content) in parts {
        let file = if *name == "disk" { "; filename=\"disk.img\"" } else { "" };
        let head = format!(
            "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{name}\"{file}\r\n\r\n"
        );
        form.extend([head.as_bytes(), content, b"\r\n"].concat());
    }
    form.extend(format!("--{BOUNDARY}--\r\n").into_bytes());
    form
}

fn send(daemon: &Daemon<'_>, parts: Parts<'_>) -> Answer {
    let request = daemon
        .request("POST", "/v1/images")
        .header("content-type", format!("multipart/form-data; boundary=\"{BOUNDARY}\""));
    Daemon::send(request.body(form(parts)).unwrap())
}

fn template(workshop: &Workshop) -> Vec<u8> {
    fs_err::read(workshop.path("mock.tdl")).unwrap()
}

/// Data between zeros, and more zeros at the end.
fn disk() -> Vec<u8> {
    let mut disk = vec![0_u8; 8 << 20];
    disk[3 << 20..][..5000].fill(7);
    disk
}

fn assert_nothing_is_left(workshop: &Workshop) {
    assert_eq!(workshop.images(), Vec::<Value>::new());
    assert_eq!(on_the_way(workshop), 0);
}

/// Files that are on their way into the store.
fn on_the_way(workshop: &Workshop) -> usize {
    fs_err::read_dir(workshop.data_dir().join("tmp")).unwrap().count()
}

#[test]
fn a_disk_that_is_sent_is_a_base_image_that_others_are_made_from() {
    let workshop = Workshop::new();
    workshop.link("qcow2");
    let daemon = Daemon::start(&workshop, "");
    let parts = [
        ("template", &template(&workshop)[..]),
        ("name", b"mine"),
        ("labels", br#"{"team": "web"}"#),
        ("disk", &disk()),
    ];
    let answer = send(&daemon, &parts);
    assert_eq!(answer.status, 201, "{answer:?}");
    let image = answer.json();
    assert_eq!(image["status"], "COMPLETE", "{image}");
    assert_eq!((&image["name"], &image["labels"]), (&json!("mine"), &json!({ "team": "web" })));
    let location = answer.headers["location"].to_str().unwrap();
    assert_eq!(daemon.get(location).json(), image);
    assert_eq!(daemon.get(&format!("{location}/body")).body, disk());
    let kept = workshop.images()[0]["path"].as_str().unwrap().to_owned();
    assert!(fs_err::metadata(kept).unwrap().blocks() * 512 < 1 << 20, "zeros take space");

    // What was made from it may be sent in its turn, and is the same disk again.
    let request = json!({ "base_image": image["id"], "targets": ["qcow2"] });
    let made = daemon.post("/v1/builds", &request).json()["images"][1].clone();
    let made = daemon.ended(&made);
    let path = format!("/v1/images/{}/body", made["id"].as_str().unwrap());
    let qcow2 = daemon.get(&path).body;
    let digest = made["sha256"].as_str().unwrap().to_uppercase();
    let parts =
        [("template", &template(&workshop)[..]), ("sha256", digest.as_bytes()), ("disk", &qcow2)];
    let again = send(&daemon, &parts);
    assert_eq!(again.status, 201, "{again:?}");
    assert_eq!(again.json()["sha256"], image["sha256"]);
}

#[test]
fn a_disk_that_cannot_be_taken_in_is_refused_and_leaves_nothing() {
    let workshop = Workshop::new();
    let daemon = Daemon::start(&workshop, "max_upload_gib = 1");
    let qcow2 = |arguments: &[&str]| {
        let path = workshop.path("made.qcow2");
        let mut qemu_img = Command::new("qemu-img");
        qemu_img.args(["create", "-q", "-f", "qcow2"]).args(arguments);
        let made = qemu_img.args([path.to_str().unwrap(), "4G"]).status().unwrap();
        assert!(made.success());
        fs_err::read(path).unwrap()
    };
    let backing = workshop.write("secret", "hunter2".repeat(1000)).display().to_string();
    let overlay = qcow2(&["-F", "raw", "-b", &backing]);
    let huge = qcow2(&[]);
    let template = &template(&workshop)[..];
    let cases: &[(Parts<'_>, &str)] = &[
        (&[], "no `disk`"),
        (&[("template", template)], "no `disk`"),
        (&[("disk", &disk()), ("template", template)], "no `template` before"),
        (&[("template", b"<template/>"), ("disk", &disk())], "template"),
        (&[("template", b"<a xmlns:xi='x'><xi:include href='/etc/passwd'/></a>")], "template"),
        (&[("template", template), ("labels", b"[1]"), ("disk", &disk())], "`labels`"),
        (&[("template", template), ("name", b"a\nb"), ("disk", &disk())], "`name` holds a control"),
        (&[("template", template), ("colour", b"red"), ("disk", &disk())], "no part `colour`"),
        (&[("template", template), ("sha256", b"00"), ("disk", &disk())], "instead of `00`"),
        (&[("template", template), ("disk", &overlay)], "backing file"),
        (&[("template", template), ("disk", &huge)], "4294967296 bytes"),
        (&[("template", template), ("disk", b"")], "disk.img"),
    ];
    for (parts, words) in cases {
        let answer = send(&daemon, parts);
        let told = answer.text();
        assert_eq!(answer.status, 400, "{told}");
        assert!(told.contains(words), "`{words}` in {told}");
        assert!(!told.contains(&workshop.data_dir().display().to_string()), "{told}");
    }
    let request = daemon.request("POST", "/v1/images").header("content-type", "application/json");
    assert_eq!(Daemon::send(request.body(b"{}".to_vec()).unwrap()).status, 415);
    assert_nothing_is_left(&workshop);
}

#[test]
fn a_disk_that_breaks_off_leaves_nothing() {
    let workshop = Workshop::new();
    let daemon = Daemon::start(&workshop, "");
    let whole = form(&[("template", &template(&workshop)), ("disk", &disk())]);
    let request = daemon.request("POST", "/v1/images").body(()).unwrap();
    let mut connection = TcpStream::connect(request.uri().authority().unwrap().as_str()).unwrap();
    let head = format!(
        "POST /v1/images HTTP/1.1\r\nhost: imageforge\r\nauthorization: {}\r\ncontent-length: {}\r\n\
         content-type: multipart/form-data; boundary=\"{BOUNDARY}\"\r\n\r\n",
        request.headers()["authorization"].to_str().unwrap(),
        whole.len()
    );
    connection.write_all(head.as_bytes()).unwrap();
    connection.write_all(&whole[..whole.len() / 2]).unwrap();
    wait_for("the disk to come", || (on_the_way(&workshop) > 0).then_some(()));
    drop(connection);
    wait_for("what came to be removed", || (on_the_way(&workshop) == 0).then_some(()));
    assert_nothing_is_left(&workshop);
}

#[test]
fn what_is_announced_as_too_much_is_refused_before_it_is_read() {
    let workshop = Workshop::new();
    let daemon = Daemon::start(&workshop, "max_upload_gib = 1");
    let request = daemon
        .request("POST", "/v1/images")
        .header("content-length", (2_u64 << 30).to_string())
        .header("expect", "100-continue")
        .header("content-type", format!("multipart/form-data; boundary=\"{BOUNDARY}\""));
    let answer = Daemon::send(request.body(Vec::new()).unwrap());
    assert_eq!(answer.status, 413, "{answer:?}");
    assert_nothing_is_left(&workshop);
}

//! How a daemon is reached, and what is said when it is not.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;

use crate::support::{Certificate, Daemon, Ran, Workshop};

const LIST: [&str; 2] = ["images", "list"];

/// Somebody who answers every request with `answer`, and the address.
fn impostor(answer: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            // What it is asked does not matter to it.
            drop(stream.read(&mut [0; 4096]));
            drop(stream.write_all(answer));
        }
    }));
    format!("http://{address}")
}

fn at<'a>(server: &'a str, command: &[&'a str]) -> Vec<&'a str> {
    [command, &["--server", server]].concat()
}

#[test]
fn the_daemon_of_this_machine_is_reached_at_its_socket_without_a_token() {
    let workshop = Workshop::new();
    let image = workshop.build(&[]).remove(0);
    let _daemon = Daemon::start(&workshop, "");
    let socket = format!("unix:{}", workshop.data_dir().join("serve.sock").display());
    for server in ["local", &socket] {
        let document = workshop.json(&at(server, &LIST));
        assert_eq!(document[0]["id"], image["id"]);
        assert_eq!(document[0]["path"], serde_json::Value::Null);
    }
}

#[test]
fn a_token_is_read_from_a_file_or_the_environment_and_its_lack_is_told() {
    let workshop = Workshop::new();
    let daemon = Daemon::start(&workshop, "");
    let with_file = at(daemon.address(), &["images", "list", "--token-file", "token.txt"]);
    workshop.run(&with_file).done();
    daemon.run(&LIST).done();
    workshop.run(&at(daemon.address(), &LIST)).refused(7).says("IMAGEFORGE_TOKEN");
    workshop.write("token.txt", "imageforge_0000\n");
    workshop.run(&with_file).refused(7).says("revoked");
    workshop.write("token.txt", "\n");
    workshop.run(&with_file).refused(3).says("holds no token");
}

#[test]
fn a_token_is_neither_sent_to_a_socket_nor_seen_by_plugins() {
    let workshop = Workshop::new();
    let _daemon = Daemon::start(&workshop, "");
    let run = |arguments: &[&str]| -> Ran {
        let mut command = workshop.command(arguments);
        command.env("IMAGEFORGE_TOKEN", "imageforge_hush").output().unwrap().into()
    };
    // The daemon would refuse a token that it does not know.
    run(&at("local", &LIST)).done();
    let told = run(&["build", "mock.tdl", "-v", "--parameter", "run=env"]).done();
    told.says("IMAGEFORGE_DATA_DIR").never_says("hush");
}

#[test]
fn a_server_that_is_none_is_told_with_its_own_exit_code() {
    let workshop = Workshop::new();
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let gone = format!("http://{gone}");
    let mute = impostor(b"");
    let smtp = impostor(b"220 mail.example ESMTP\r\n");
    let web = impostor(b"HTTP/1.1 404 Not Found\r\nContent-Length: 3\r\n\r\nno\n");
    let page = impostor(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<html>");
    let next = impostor(
        b"HTTP/1.1 200 OK\r\nContent-Length: 43\r\n\r\n{\"name\":\"imageforge\",\"api_version\":\"2\"}    ",
    );
    for (server, says) in [
        (gone.as_str(), "cannot connect"),
        ("local", "cannot connect"),
        (&mute, "broke"),
        (&smtp, "does not speak HTTP"),
        (&web, "no imageforge"),
        (&page, "no imageforge"),
        (&next, "version `2`"),
    ] {
        workshop.run(&at(server, &LIST)).refused(9).says(says);
    }
}

#[test]
fn an_address_that_would_leak_secrets_or_is_none_is_refused() {
    let workshop = Workshop::new();
    for server in ["http://forge.example:8075", "forge.example", "https://me:pw@forge.example", ""]
    {
        workshop.run(&at(server, &LIST)).refused(2).says("--server").says("hint: ");
    }
}

#[test]
fn what_cannot_work_at_a_server_says_so_and_does_nothing_here() {
    let workshop = Workshop::new();
    let daemon = Daemon::start(&workshop, "");
    let commands: &[&[&str]] = &[
        &["images", "check"],
        &["images", "boot", "any"],
        &["plugins", "check", "mock-os"],
        &["build", "mock.tdl", "--boot-check"],
        &["build", "mock.tdl", "--detach", "--output", "here.raw"],
        &["doctor"],
        &["serve"],
        &["tokens", "list"],
        &["tokens", "create", "me", "--scope", "admin"],
    ];
    for arguments in commands {
        daemon.run(arguments).refused(2);
    }
    assert!(workshop.images().is_empty());
    daemon.run(&["completions", "bash"]).done();
}

const SELF_SIGNED: &str = "tls = { self_signed = true }";

#[test]
fn a_certificate_is_trusted_by_its_fingerprint_or_its_authority_and_by_nothing_else() {
    let workshop = Workshop::new();
    let daemon = Daemon::start(&workshop, SELF_SIGNED);
    let show = ["--config", "serve.toml", "serve", "--fingerprint"];
    let fingerprint = workshop.run(&show).done().stdout.trim().to_owned();
    let list = |more: &[&str]| daemon.run(&[&LIST[..], more].concat());

    list(&["--server-fingerprint", &fingerprint]).done();
    list(&["--server-fingerprint", &fingerprint.to_uppercase()]).done();
    let authority = workshop.data_dir().join("tls/self-signed.pem");
    let authority = authority.to_str().unwrap();
    list(&["--server-ca", authority]).done();
    list(&["--server-ca", authority, "--server-fingerprint", &fingerprint]).done();

    let other = format!("SHA256:{}", "00".repeat(32));
    let ran = list(&["--server-fingerprint", &other]).refused(9).says("is not trusted");
    ran.says(&fingerprint);
    list(&["--server-ca", authority, "--server-fingerprint", &other]).refused(9);
    list(&["--server-fingerprint", "SHA256:0"]).refused(2).says("64 hexadecimal digits");
    list(&["--server-ca", "nowhere.pem"]).refused(5);
    list(&["--server-ca", "mock.tdl"]).refused(3).says("PEM");
}

#[test]
fn a_certificate_of_a_stranger_is_refused_by_name_and_by_authority() {
    let workshop = Workshop::new();
    let [ours, theirs] = [(); 2].map(|()| Certificate::new(2020, 2090));
    workshop.write("ours.pem", &ours.pem);
    workshop.write("theirs.pem", &theirs.pem);
    let key = workshop.write("ours.key", &ours.key);
    fs_err::set_permissions(key, std::fs::Permissions::from_mode(0o600)).unwrap();
    let daemon =
        Daemon::start(&workshop, "tls = { certificate = \"ours.pem\", key = \"ours.key\" }");
    let port = daemon.address().rsplit(':').next().unwrap();
    let list = |server: &str, authority: &str| {
        daemon.run(&[&LIST[..], &["--server", server, "--server-ca", authority]].concat())
    };
    list(daemon.address(), "ours.pem").done();
    list(&format!("https://localhost:{port}"), "ours.pem").done();
    list(daemon.address(), "theirs.pem").refused(9).says("is not trusted").says(&ours.fingerprint);
    // The certificate names 127.0.0.1, and no other address of this machine.
    list(&format!("https://127.0.0.2:{port}"), "ours.pem").refused(9);
}

#[test]
fn tls_and_its_absence_are_told_apart() {
    let workshop = Workshop::new();
    let plain = Daemon::start(&workshop, "");
    let pin = ["--server-fingerprint", &format!("SHA256:{}", "00".repeat(32))];
    plain.run(&[&LIST[..], &pin].concat()).refused(2).says("has no certificate");
    let secure = plain.address().replace("http:", "https:");
    workshop.run(&[&at(&secure, &LIST)[..], &pin].concat()).refused(9).says("cannot speak TLS");
    drop(plain);
    let daemon = Daemon::start(&workshop, SELF_SIGNED);
    let clear = daemon.address().replace("https:", "http:");
    let ran = workshop.run(&at(&clear, &LIST));
    assert_ne!(ran.code, Some(0));
    ran.says("TLS");
}

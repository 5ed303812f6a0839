//! Connections that break, and daemons that die: nothing is missed, and nothing is built twice.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::process::Signal;

use crate::support::{Daemon, Running, Workshop, wait_for};

const LOCAL: [&str; 2] = ["--server", "local"];

/// Somebody between client and daemon who cuts the first answer to a request for `path` off after some
/// bytes.
fn saboteur(daemon: &Daemon<'_>, path: &'static str, after_bytes: usize) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let behind = daemon.address().trim_start_matches("http://").to_owned();
    let has_cut = Arc::new(AtomicBool::new(false));
    drop(std::thread::spawn(move || {
        for client in listener.incoming() {
            let (client, server) = (client.unwrap(), TcpStream::connect(&behind).unwrap());
            let has_cut = Arc::clone(&has_cut);
            drop(std::thread::spawn(move || relay(client, server, path, after_bytes, &has_cut)));
        }
    }));
    format!("http://{address}")
}

fn relay(
    mut client: TcpStream,
    mut server: TcpStream,
    path: &str,
    after_bytes: usize,
    has_cut: &AtomicBool,
) {
    let mut buffer = [0; 16 << 10];
    let length = client.read(&mut buffer).unwrap_or(0);
    let cuts = String::from_utf8_lossy(&buffer[..length]).contains(path)
        && !has_cut.swap(true, Ordering::SeqCst);
    server.write_all(&buffer[..length]).unwrap();
    let (mut from, mut to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
    drop(std::thread::spawn(move || drop(std::io::copy(&mut from, &mut to))));
    let mut left = if cuts { after_bytes } else { usize::MAX };
    while let Ok(length) = server.read(&mut buffer) {
        if length == 0 || length > left {
            break;
        }
        left -= length;
        if client.write_all(&buffer[..length]).is_err() {
            break;
        }
    }
    drop(client.shutdown(Shutdown::Both));
    drop(server.shutdown(Shutdown::Both));
}

/// `imageforge` that is sent to a saboteur.
fn run_at(daemon: &Daemon<'_>, server: &str, arguments: &[&str]) -> crate::support::Ran {
    let mut command = daemon.command(arguments);
    command.env("IMAGEFORGE_SERVER", server).output().unwrap().into()
}

#[test]
fn a_request_whose_answer_is_lost_is_sent_again_and_built_once() {
    let workshop = Workshop::new();
    let daemon = Daemon::start(&workshop, "");
    let server = saboteur(&daemon, "POST /v1/builds", 0);
    let build = ["build", "mock.tdl", "--target", "mock"];
    run_at(&daemon, &server, &build).done().says("trying again");
    assert_eq!(workshop.images().len(), 2);
}

#[test]
fn a_download_that_breaks_goes_on_where_it_was() {
    let workshop = Workshop::new();
    let image = workshop.build(&["--parameter", "size_bytes=5000000"]).remove(0);
    let daemon = Daemon::start(&workshop, "");
    let server = saboteur(&daemon, "/body", 1_000_000);
    let export = ["images", "export", image["id"].as_str().unwrap(), "here.raw"];
    run_at(&daemon, &server, &export).done().says("trying again").says("connected to");
    let [there, here] =
        [image["path"].as_str().unwrap().into(), workshop.path("here.raw")].map(fs_err::read);
    assert!(there.unwrap() == here.unwrap());
}

#[test]
fn events_are_followed_over_a_broken_connection_without_missing_any() {
    let workshop = Workshop::new();
    let image = workshop.build(&["--parameter", "log_lines=2000"]).remove(0);
    let daemon = Daemon::start(&workshop, "");
    let server = saboteur(&daemon, "/events", 100_000);
    let log = ["images", "log", image["id"].as_str().unwrap(), "--follow"];
    let ran = run_at(&daemon, &server, &log).done().says("trying again").says("connected to");
    assert_eq!(ran.stdout, workshop.run(&log).done().stdout);
}

#[test]
fn a_log_is_followed_over_a_daemon_that_was_killed() {
    let workshop = Workshop::new();
    let daemon = Daemon::start(&workshop, "");
    let endless = ["build", "mock.tdl", "--parameter", "delay_ms=600000", "--detach"];
    let id = daemon.run(&endless).done().stdout.trim().to_owned();
    let log = ["images", "log", id.as_str(), "--follow"];
    let following = workshop.spawn(&[&log[..], &LOCAL].concat());
    let building = workshop.spawn(&[&endless[..2], &["--rebuild"], &LOCAL[..]].concat());
    wait_for("the build", || {
        let image = daemon.get(&format!("/v1/images/{id}")).json();
        (image["status"] == "BUILDING").then_some(())
    });
    building.wait().done();
    wait_for("the listener", || {
        (daemon.get("/v1/health").json()["events"]["listeners"] == 1).then_some(())
    });
    assert_eq!(daemon.stop(Signal::KILL), None);
    let _daemon = Daemon::start(&workshop, "");
    let ran = following.wait().done().says("trying again").says("connected to");
    assert_eq!(ran.stdout, workshop.run(&["images", "log", &id]).done().stdout);
    assert!(ran.stdout.contains("== FAILED: interrupted"), "{ran:#?}");
}

#[test]
fn a_build_whose_daemon_was_killed_ends_as_the_next_daemon_says() {
    let workshop = Workshop::new();
    let daemon = Daemon::start(&workshop, "");
    let endless = ["build", "mock.tdl", "--parameter", "delay_ms=600000"];
    let build = Running::start(workshop.command(&[&endless[..], &LOCAL].concat()));
    wait_for("the plugin to work", || {
        let images = workshop.images();
        images.iter().any(|image| image["status"] == "BUILDING").then_some(())
    });
    assert_eq!(daemon.stop(Signal::KILL), None);
    let _daemon = Daemon::start(&workshop, "");
    build.wait().ended(1).says("connected to").says("base image failed: interrupted");
}

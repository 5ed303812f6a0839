//! What connections may take, and what they may not be refused.
//!
//! Limits of time are as short as a busy machine allows. What must outlive a limit is looked at after another
//! connection, which began later, was ended by it.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use rustix::net::{AddressFamily, SocketType};
use rustix::process::Signal;
use serde_json::json;

use super::operations::figure;
use crate::support::{Daemon, Secure, Workshop, ask, head, kill, read_until, rest, wait_for};

fn connect(daemon: &Daemon<'_>) -> TcpStream {
    let address = daemon.address().rsplit('/').next().unwrap();
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(90))).unwrap();
    stream
}

/// The same from another address of this machine: 127.0.0.`number`.
fn connect_from(daemon: &Daemon<'_>, number: u8) -> TcpStream {
    let to: SocketAddrV4 = daemon.address().rsplit('/').next().unwrap().parse().unwrap();
    let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    let from = SocketAddrV4::new(Ipv4Addr::new(127, 0, 0, number), 0);
    rustix::net::bind(&socket, &from).unwrap();
    rustix::net::connect(&socket, &to).unwrap();
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(Duration::from_secs(90))).unwrap();
    stream
}

/// A figure, asked for at the daemon's socket.
#[track_caller]
fn counted(workshop: &Workshop, name: &str, expected: u64) {
    wait_for(name, || {
        let socket = UnixStream::connect(workshop.data_dir().join("serve.sock")).unwrap();
        let request = "GET /metrics HTTP/1.1\r\nHost: local\r\nConnection: close\r\n\r\n";
        (&socket).write_all(request.as_bytes()).unwrap();
        let figures = rest(&socket);
        let is_there = figures.contains(&format!("{name} "));
        (is_there && figure(&figures, name) == expected).then_some(())
    });
}

#[test]
fn who_stalls_in_the_handshake_is_hung_up_on_and_holds_up_nobody() {
    let workshop = Workshop::new();
    let daemon = Daemon::start(
        &workshop,
        "connections = { handshake_seconds = 2 }\ntls = { self_signed = true }",
    );
    let silent = connect(&daemon);
    let mut begun = connect(&daemon);
    begun.write_all(&[22, 3, 1, 0, 200, 1]).unwrap();
    let trusted = workshop.data_dir().join("tls/self-signed.pem");
    let client = Secure::connect(daemon.address(), &trusted, "localhost").unwrap();
    assert!(ask(client, "/v1/health", daemon.token()).starts_with("HTTP/1.1 200"));
    assert_eq!((rest(silent), rest(begun)), (String::new(), String::new()));
    counted(&workshop, "imageforge_tls_handshakes_failed_total{reason=\"timeout\"}", 2);
    counted(&workshop, "imageforge_connections{door=\"network\"}", 0);
}

#[test]
fn a_head_that_drips_is_hung_up_on() {
    let workshop = Workshop::new();
    let daemon = Daemon::start(&workshop, "connections = { head_seconds = 2 }");
    let mut stream = connect(&daemon);
    stream.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    stream.write_all(b"GET /v1/health HTTP/1.1\r\n").unwrap();
    wait_for("the end of the connection", || {
        // A line every 50 ms, each of which is progress.
        let sent = stream.write_all(b"X-More: yes\r\n");
        let ended = matches!(stream.read(&mut [0]), Ok(0));
        (sent.is_err() || ended).then_some(())
    });
    assert_eq!(daemon.get("/v1/health").status, 200);
    counted(&workshop, "imageforge_connections_timed_out_total{phase=\"head\"}", 1);
}

#[test]
fn a_body_that_stops_or_drips_is_refused() {
    let workshop = Workshop::new();
    let daemon = Daemon::start(&workshop, "connections = { body_seconds = 2 }");
    let more = "Content-Type: application/json\r\nContent-Length: 100000\r\n";
    let head = head("POST", "/v1/builds", daemon.token(), more);
    let mut stopping = connect(&daemon);
    stopping.write_all(head.as_bytes()).unwrap();
    stopping.write_all(b"{ \"template\":").unwrap();
    let answer = rest(&stopping);
    assert!(answer.starts_with("HTTP/1.1 408") && answer.contains("\"too-slow\""), "{answer}");

    let mut dripping = connect(&daemon);
    dripping.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    dripping.write_all(head.as_bytes()).unwrap();
    let mut answer = Vec::new();
    wait_for("the refusal", || {
        let sent = dripping.write_all(b" ");
        let mut buffer = [0; 4096];
        if let Ok(length) = dripping.read(&mut buffer) {
            answer.extend_from_slice(&buffer[..length]);
        }
        (sent.is_err() || !answer.is_empty()).then_some(())
    });
    assert!(answer.starts_with(b"HTTP/1.1 408"), "{}", String::from_utf8_lossy(&answer));
    counted(&workshop, "imageforge_connections_timed_out_total{phase=\"body\"}", 2);
}

#[test]
fn a_connection_that_asks_for_nothing_more_is_closed() {
    let workshop = Workshop::new();
    let daemon = Daemon::start(&workshop, "connections = { idle_seconds = 2 }");
    let mut stream = connect(&daemon);
    for _ in 0..2 {
        stream.write_all(head("GET", "/v1/health", daemon.token(), "").as_bytes()).unwrap();
        read_until(&mut stream, "\"uptime");
    }
    assert_eq!(rest(stream), "");
    counted(&workshop, "imageforge_connections_timed_out_total{phase=\"idle\"}", 1);
}

#[test]
fn event_streams_and_slow_downloads_outlive_every_limit() {
    let workshop = Workshop::new();
    // `answer_seconds` is for who takes nothing at all.
    let settings = "connections = { head_seconds = 2, body_seconds = 2, idle_seconds = 2 }";
    let daemon = Daemon::start(&workshop, settings);
    let bytes = 24 << 20;
    let image = daemon.build(&[], &json!({ "size_bytes": bytes })).remove(0);
    assert_eq!(daemon.ended(&image)["status"], "COMPLETE");
    let mut events = connect(&daemon);
    events.write_all(head("GET", "/v1/events", daemon.token(), "").as_bytes()).unwrap();
    read_until(&mut events, "text/event-stream");
    let mut download = connect(&daemon);
    let path = format!("/v1/images/{}/body", image["id"].as_str().unwrap());
    let request = head("GET", &path, daemon.token(), "Connection: close\r\n");
    download.write_all(request.as_bytes()).unwrap();
    let mut length = 0;
    let mut buffer = vec![0; 1 << 20];
    for _ in 0..2 {
        // Each takes its time; some of the download is taken in between.
        assert_eq!(rest(connect(&daemon)), "");
        let taken = download.read(&mut buffer).unwrap();
        assert!(taken > 0);
        length += taken;
    }
    assert!(length < bytes);
    while let taken @ 1.. = download.read(&mut buffer).unwrap() {
        length += taken;
    }
    assert!(length > bytes);
    workshop.unlink("mock-cloud");
    read_until(&mut events, "mock-cloud");
}

#[test]
fn who_takes_nothing_of_an_answer_is_hung_up_on() {
    let workshop = Workshop::new();
    let daemon = Daemon::start(&workshop, "connections = { answer_seconds = 2 }");
    let image = daemon.build(&[], &json!({ "size_bytes": 64 << 20 })).remove(0);
    assert_eq!(daemon.ended(&image)["status"], "COMPLETE");
    let mut download = connect(&daemon);
    let path = format!("/v1/images/{}/body", image["id"].as_str().unwrap());
    download.write_all(head("GET", &path, daemon.token(), "").as_bytes()).unwrap();
    counted(&workshop, "imageforge_connections_timed_out_total{phase=\"answer\"}", 1);
    assert!(rest(download).len() < 64 << 20);
}

#[test]
fn connections_that_are_too_many_are_told_so_and_the_socket_stays_open() {
    let workshop = Workshop::new();
    let daemon = Daemon::start(&workshop, "connections = { max = 2, head_seconds = 600 }");
    let held = [connect(&daemon), connect(&daemon)];
    counted(&workshop, "imageforge_connections{door=\"network\"}", 2);
    let answer = ask(connect(&daemon), "/v1/health", daemon.token());
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    assert!(answer.contains("too-many-connections") && answer.contains("retry-after: 5"));
    counted(&workshop, "imageforge_connections_refused_total", 1);
    daemon.says("there are too many connections");
    // Who is refused and stays takes nobody's place.
    let _refused = connect(&daemon);
    counted(&workshop, "imageforge_connections{door=\"refused\"}", 1);
    drop(held);
    counted(&workshop, "imageforge_connections{door=\"network\"}", 0);
    let _held = connect(&daemon);
    assert_eq!(daemon.get("/v1/health").status, 200);
}

#[test]
fn one_address_takes_its_share_of_the_connections_and_leaves_the_rest_to_others() {
    let workshop = Workshop::new();
    // However slow the machine, who is silent is not hung up on meanwhile.
    let settings = "connections = { max = 100, max_per_address = 2, head_seconds = 600 }";
    let daemon = Daemon::start(&workshop, settings);
    let health = |number| ask(connect_from(&daemon, number), "/v1/health", daemon.token());
    let held = [connect_from(&daemon, 2), connect_from(&daemon, 2)];
    counted(&workshop, "imageforge_connections{door=\"network\"}", 2);
    let answer = health(2);
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    assert!(answer.contains("too-many-connections") && answer.contains("retry-after: 5"));
    assert!(answer.contains("`max_per_address` below `[serve.connections]`"), "{answer}");
    counted(&workshop, "imageforge_connections_refused_total", 1);
    assert!(daemon.says("an address has too many connections").contains("127.0.0.2"));
    assert!(health(3).starts_with("HTTP/1.1 200"));
    drop(held);
    counted(&workshop, "imageforge_connections{door=\"network\"}", 0);
    assert!(health(2).starts_with("HTTP/1.1 200"));
}

#[test]
fn programs_of_this_machine_have_no_share_unless_the_settings_say_so() {
    let workshop = Workshop::new();
    // However slow the machine, who is silent is not hung up on meanwhile.
    let daemon = Daemon::start(&workshop, "connections = { max = 8, head_seconds = 600 }");
    let _held: Vec<TcpStream> = (0..7).map(|_| connect_from(&daemon, 2)).collect();
    counted(&workshop, "imageforge_connections{door=\"network\"}", 7);
    let answer = ask(connect_from(&daemon, 2), "/v1/health", daemon.token());
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[test]
fn other_limits_hold_for_new_connections_after_sighup() {
    let workshop = Workshop::new();
    let daemon = Daemon::start(&workshop, "connections = { max = 1, head_seconds = 600 }");
    let _held = connect(&daemon);
    counted(&workshop, "imageforge_connections{door=\"network\"}", 1);
    assert_eq!(daemon.get("/v1/health").status, 503);
    workshop.write("serve.toml", "[serve]\nconnections = { max = 2 }");
    kill(daemon.id(), Signal::HUP);
    daemon.says("the settings were read again");
    assert_eq!(daemon.get("/v1/health").status, 200);
}

#[test]
fn a_connection_in_use_outlives_the_time_for_one_head() {
    let workshop = Workshop::new();
    let daemon = Daemon::start(&workshop, "connections = { head_seconds = 2 }");
    let mut used = connect(&daemon);
    let silent = connect(&daemon);
    silent.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    wait_for("the end of the silent connection", || {
        // Answered at once, between two reads of the daemon.
        used.write_all(b"GET /v1/health/live HTTP/1.1\r\nHost: forge.test\r\n\r\n").unwrap();
        read_until(&mut used, "\"alive\"");
        matches!((&silent).read(&mut [0]), Ok(0)).then_some(())
    });
    // Longer than the head of its last request could have taken.
    assert_eq!(rest(connect(&daemon)), "");
    used.write_all(head("GET", "/v1/health/live", daemon.token(), "").as_bytes()).unwrap();
    read_until(&mut used, "\"alive\"");
}

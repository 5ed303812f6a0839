//! What the daemon tells systemd.

use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use rustix::process::Signal;

use crate::support::{Daemon, Process, Workshop, kill};

/// The socket of a service manager, and what arrives there.
struct Manager {
    socket: UnixDatagram,
    address: String,
}

impl Manager {
    fn new(workshop: &Workshop) -> Self {
        let path = workshop.path("notify.sock");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(Duration::from_mins(1))).unwrap();
        Self { socket, address: path.display().to_string() }
    }

    /// The next message with the line `wanted`; answers what was told before it and its own lines.
    #[track_caller]
    fn hears(&self, wanted: &str) -> (Vec<String>, String) {
        let mut before = Vec::new();
        loop {
            let mut bytes = [0; 4096];
            let length = self.socket.recv(&mut bytes).unwrap_or_else(|error| {
                panic!("`{wanted}` does not come ({error}), only {before:#?}")
            });
            let message = String::from_utf8(bytes[..length].to_vec()).unwrap();
            if message.lines().any(|line| line == wanted) {
                return (before, message);
            }
            before.push(message);
        }
    }
}

#[test]
fn systemd_is_told_when_requests_are_answered_when_settings_are_read_and_when_it_stops() {
    let workshop = Workshop::new();
    let manager = Manager::new(&workshop);
    let daemon =
        Daemon::start_with(&workshop, "stop_seconds = 7", &[("NOTIFY_SOCKET", &manager.address)]);
    let (before, _) = manager.hears("READY=1");
    assert_eq!(before, Vec::<String>::new(), "readiness comes first");
    assert_eq!(daemon.get("/v1/health").status, 200);
    kill(daemon.id(), Signal::HUP);
    manager.hears("RELOADING=1");
    manager.hears("READY=1");
    assert_eq!(daemon.stop(Signal::TERM), Some(0));
    let (_, stopping) = manager.hears("STOPPING=1");
    assert!(stopping.contains("EXTEND_TIMEOUT_USEC=37000000"), "{stopping}");
    assert!(stopping.contains("STATUS=stopping: builds have 7 s"), "{stopping}");
}

#[test]
fn the_watchdog_hears_that_store_and_queue_answer_and_nothing_from_builds() {
    let workshop = Workshop::new();
    let manager = Manager::new(&workshop);
    let environment = [("NOTIFY_SOCKET", manager.address.as_str()), ("WATCHDOG_USEC", "300000")];
    let daemon = Daemon::start_with(&workshop, "", &environment);
    manager.hears("WATCHDOG=1");
    daemon.build(&[], &serde_json::json!({ "delay_ms": 600_000 }));
    let worker = crate::support::wait_for("the worker", || {
        manager.hears("WATCHDOG=1");
        Process::descendants_of(daemon.id()).into_iter().find(Process::is_worker)
    });
    assert!(!worker.environment().contains("NOTIFY_SOCKET"), "{worker:?}");
    assert!(!worker.environment().contains("WATCHDOG_USEC"), "{worker:?}");
    let (_, beat) = manager.hears("STATUS=1 jobs run, 0 wait");
    assert!(beat.contains("WATCHDOG=1"), "{beat}");
}

#[test]
fn another_process_of_the_watchdog_is_not_beaten_for() {
    let workshop = Workshop::new();
    let manager = Manager::new(&workshop);
    let environment = [
        ("NOTIFY_SOCKET", manager.address.as_str()),
        ("WATCHDOG_USEC", "300000"),
        ("WATCHDOG_PID", "1"),
    ];
    let daemon = Daemon::start_with(&workshop, "", &environment);
    let (_, status) = manager.hears("STATUS=0 jobs run, 0 wait");
    assert!(!status.contains("WATCHDOG=1"), "{status}");
    assert_eq!(daemon.stop(Signal::TERM), Some(0));
}

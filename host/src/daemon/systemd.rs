//! What systemd is told: that requests are answered, that settings are read again, that the daemon
//! stops, and, as often as its watchdog wants, that store and queue answer.
//!
//! A message is lines of `NAME=VALUE` in one datagram: `sd_notify(3)`. Without systemd none is sent;
//! one that does not arrive changes nothing here.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use crate::factory::Queue;
use crate::images::{JobState, Store};

/// Time between two looks at store and queue where no watchdog wants them more often.
const PAUSE: Duration = Duration::from_secs(10);
/// The queue looks for work several times a second. One that has not for so long hangs.
const QUEUE_HANGS: Duration = Duration::from_secs(30);
/// What stopping takes besides the time that builds have.
const STOP_MARGIN: Duration = Duration::from_secs(30);

/// The service manager, if one started this process and wants to know.
#[derive(Debug, Default)]
pub struct Systemd {
    socket: Option<(UnixDatagram, SocketAddr)>,
    watchdog: Option<Duration>,
}

/// Beats end when this is dropped.
#[derive(Debug)]
pub(super) struct Beats(
    #[expect(dead_code, reason = "dropping it is the message")] mpsc::Sender<()>,
);

impl Systemd {
    /// The one that listens at `address`, a path or `@` and an abstract name, and that wants a beat
    /// within each `watchdog`.
    ///
    /// # Errors
    /// The address is none, or the system refuses a socket.
    pub fn at(address: &str, watchdog: Option<Duration>) -> std::io::Result<Self> {
        let address = match address.strip_prefix('@') {
            Some(name) => SocketAddr::from_abstract_name(name)?,
            None => SocketAddr::from_pathname(address)?,
        };
        Ok(Self { socket: Some((UnixDatagram::unbound()?, address)), watchdog })
    }

    /// Requests are answered, by the settings as they are.
    pub(super) fn ready(&self) {
        self.tell("READY=1");
    }

    /// Settings are being read again; [`Systemd::ready`] follows.
    pub(super) fn reloading(&self) {
        self.tell("RELOADING=1");
    }

    /// The daemon stops, and beats end; builds have `grace` to finish, also when the unit gives less.
    pub(super) fn stopping(&self, grace: Duration, beats: Beats) {
        drop(beats);
        let longest = grace.saturating_add(STOP_MARGIN).as_micros();
        self.tell(&format!(
            "STOPPING=1\nEXTEND_TIMEOUT_USEC={longest}\nSTATUS=stopping: builds have {} s to finish",
            grace.as_secs()
        ));
    }

    /// Requests are answered from now on. Beats, and says how much there is to do, until the answer is
    /// dropped. A store or a queue that does not answer stops the beats, and systemd starts the daemon
    /// anew.
    pub(super) fn start(
        self: &Arc<Self>,
        store: Arc<Store>,
        queue: Arc<Queue>,
    ) -> std::io::Result<Beats> {
        self.ready();
        let (sender, end) = mpsc::channel();
        if self.socket.is_none() {
            return Ok(Beats(sender));
        }
        let systemd = Arc::clone(self);
        // Three beats, so that one may be late.
        let pause = self.watchdog.map_or(PAUSE, |watchdog| PAUSE.min(watchdog / 3));
        std::thread::Builder::new().name("watchdog".to_owned()).spawn(move || {
            loop {
                match answers(&store, &queue) {
                    Ok(status) if systemd.watchdog.is_some() => {
                        systemd.tell(&format!("WATCHDOG=1\nSTATUS={status}"));
                    },
                    Ok(status) => systemd.tell(&format!("STATUS={status}")),
                    Err(why) => tracing::error!(why, "no beat for the watchdog"),
                }
                if end.recv_timeout(pause) != Err(RecvTimeoutError::Timeout) {
                    return;
                }
            }
        })?;
        Ok(Beats(sender))
    }

    fn tell(&self, message: &str) {
        let Some((socket, address)) = &self.socket else { return };
        if let Err(error) = socket.send_to_addr(message.as_bytes(), address) {
            tracing::warn!(%error, "systemd is not told");
        }
    }
}

/// What store and queue say of themselves, or which of them does not answer.
fn answers(store: &Store, queue: &Queue) -> Result<String, String> {
    store.jobs(JobState::Running).map_err(|error| format!("the store does not answer: {error}"))?;
    let looked = queue.last_look().elapsed();
    if looked > QUEUE_HANGS {
        return Err(format!("the queue has not looked for work for {} s", looked.as_secs()));
    }
    Ok(format!("{} jobs run, {} wait", queue.running().len(), queue.length()))
}

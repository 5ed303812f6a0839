//! Whether somebody pressed Ctrl-C.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::low_level::emulate_default_handler;

use super::error::{Exit, Failure};

/// Signals within this time are one request: `timeout` sends to a process and then to its group.
const ONE_REQUEST: Duration = Duration::from_millis(500);

/// Whether somebody asked this process to stop (Ctrl-C, `kill`, a closed terminal).
#[derive(Clone, Debug)]
pub(super) struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Listens from now on. A hang-up that the caller ignores (`nohup`) stays ignored. The second
    /// request, but for hang-ups, ends this process at once, as if nobody listened.
    ///
    /// # Errors
    /// The system does not let it listen.
    pub(super) fn listen() -> Result<Self, Failure> {
        Self::listen_to(&[SIGINT, SIGTERM, SIGHUP])
    }

    /// The same for a detached build, which has no terminal that could close: hang-ups are ignored.
    ///
    /// # Errors
    /// The system does not let it listen.
    pub(super) fn listen_detached() -> Result<Self, Failure> {
        Self::listen_to(&[SIGINT, SIGTERM])
    }

    fn listen_to(requests: &'static [i32]) -> Result<Self, Failure> {
        let flag = Arc::new(AtomicBool::new(false));
        let internal = |error: std::io::Error| Failure::from_error(Exit::Internal, &error);
        let no_hangup = ignored_signals() & (1 << (SIGHUP - 1)) != 0;
        let heard = [SIGINT, SIGTERM, SIGHUP];
        let heard = heard.iter().filter(|signal| **signal != SIGHUP || !no_hangup);
        let signals = Signals::new(heard).map_err(internal)?;
        let interrupt = Self(Arc::clone(&flag));
        std::thread::Builder::new()
            .name("signals".to_owned())
            .spawn(move || interrupt.hear(signals, requests))
            .map_err(internal)?;
        Ok(Self(flag))
    }

    fn hear(&self, mut signals: Signals, requests: &[i32]) {
        let mut first: Option<Instant> = None;
        for signal in signals.forever().filter(|signal| requests.contains(signal)) {
            self.0.store(true, Ordering::Relaxed);
            let first = *first.get_or_insert_with(Instant::now);
            if signal != SIGHUP && first.elapsed() > ONE_REQUEST {
                // Workers die with this process; the next command records what became of the images.
                drop(emulate_default_handler(signal));
            }
        }
    }

    /// Whether it happened.
    pub(super) fn happened(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// The signals that this process ignores: the mask `SigIgn` of proc(5).
fn ignored_signals() -> u64 {
    let status = fs_err::read_to_string("/proc/self/status").unwrap_or_default();
    status
        .lines()
        .find_map(|line| line.strip_prefix("SigIgn:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .unwrap_or_default()
}

//! A place to try the program in: files, processes, and what must be true afterwards.

mod appliance;
mod checkout;
mod daemon;
mod processes;
mod ran;
mod receiver;
mod secure;
pub(crate) mod servers;
mod terminal;
mod tidy;
mod workshop;

use std::time::{Duration, Instant};

pub(crate) use checkout::{checkout, executable, library_dir};
pub(crate) use daemon::{Answer, Daemon};
pub(crate) use processes::{Process, kill};
pub(crate) use ran::{Ran, Running};
pub(crate) use receiver::{Receiver, Reply, Told};
pub(crate) use secure::{Certificate, Secure, ask, head, read_until, rest};
pub(crate) use terminal::Terminal;
pub(crate) use tidy::strays;
pub(crate) use workshop::{Workshop, texts};

/// Longest time that anything here may take on a machine that is busy with other things.
const PATIENCE: Duration = Duration::from_secs(90);

/// Asks until there is an answer.
///
/// # Panics
/// When there is none for a long time.
pub(crate) fn wait_for<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(start.elapsed() < PATIENCE, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

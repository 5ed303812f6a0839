//! `kill -9` of the daemon under load, at any moment, also while it starts.
//!
//! `make soak-serve` does it for long. `IMAGEFORGE_KILLS` is the number of kills, which come at moments that
//! `IMAGEFORGE_SEED` chooses.

use std::sync::atomic::AtomicBool;
use std::thread;
use std::time::{Duration, Instant};

use fastrand::Rng;
use rustix::process::Signal;

use super::client::Place;
use super::reading::{Questions, READERS};
use super::{Course, SETTINGS, Scale, Stop, number, strain};
use crate::support::{Daemon, Workshop, kill, strays};

/// Where the choices of the ordinary suite begin.
const SEED: u64 = 20_261_121;
/// Longest time between two kills, in milliseconds.
const LONGEST_LIFE: u64 = 3000;
/// The same in the ordinary suite.
const SHORT_LIFE: u64 = 900;
/// One start in so many is cut short.
const CUT_STARTS: u32 = 3;
/// Time within which a start is cut short, in milliseconds.
const START: u64 = 150;

/// What is done, by how many kills are wanted.
fn scale(kills: Option<u64>) -> Scale {
    match kills {
        None => Scale { builds: 8, listeners: 8, reads_per_second: 20, seconds: 0 },
        Some(kills) => Scale {
            builds: usize::try_from(kills * 50).unwrap(),
            listeners: 200,
            reads_per_second: 50,
            seconds: 0,
        },
    }
}

#[test]
fn what_was_accepted_ends_exactly_once_whenever_the_daemon_is_killed() {
    let wanted = number("IMAGEFORGE_KILLS");
    let seed = number("IMAGEFORGE_SEED").unwrap_or(SEED);
    println!("\nkills from seed {seed}");
    let workshop = Workshop::new();
    let mut daemon = Some(Daemon::start(&workshop, SETTINGS));
    let place = Place::of(daemon.as_ref().unwrap());
    let start = Instant::now();
    let course = strain(&workshop, &place, scale(wanted), |orders| {
        let questions = Questions::new(&place, orders, scale(wanted).reads_per_second).may_fail();
        let over = AtomicBool::new(false);
        thread::scope(|scope| {
            for _ in 0..READERS {
                scope.spawn(|| questions.ask(&over));
            }
            let _stop = Stop(&over);
            let mut killer =
                Killer { workshop: &workshop, rng: Rng::with_seed(seed), cut_starts: 0 };
            let longest = if wanted.is_some() { LONGEST_LIFE } else { SHORT_LIFE };
            for _ in 0..wanted.unwrap_or(2) {
                thread::sleep(Duration::from_millis(killer.rng.u64(0..longest)));
                // Dropping it is `kill -9`.
                drop(daemon.take());
                let successor = killer.restart();
                place.move_to(&successor);
                daemon = Some(successor);
            }
            killer.cut_starts
        })
    });
    let Course { ledger, accepted, heard, besides: cut_starts, .. } = course;
    assert_eq!(daemon.unwrap().stop(Signal::TERM), Some(0));
    workshop.assert_quiet();
    let left = strays(&workshop.data_dir(), &workshop.images());
    assert!(left.is_empty(), "{left:#?}");
    println!(
        "{} kills and {cut_starts} of starts in {:?}: {} requests, images {:?}, {} events, \
         {} listeners came back {} times",
        wanted.unwrap_or(2),
        start.elapsed(),
        accepted.len(),
        ledger.states(),
        ledger.event_count(),
        heard.len(),
        heard.iter().map(|heard| heard.returns).sum::<u64>(),
    );
}

struct Killer<'w> {
    workshop: &'w Workshop,
    rng: Rng,
    cut_starts: u32,
}

impl<'w> Killer<'w> {
    /// Starts the daemon again, sometimes after starts that are cut short. Nothing of its predecessor runs then.
    fn restart(&mut self) -> Daemon<'w> {
        loop {
            self.workshop.assert_quiet();
            if self.rng.u32(..CUT_STARTS) > 0 {
                return Daemon::start(self.workshop, SETTINGS);
            }
            let starting = self.workshop.spawn(&["--config", "serve.toml", "serve"]);
            thread::sleep(Duration::from_millis(self.rng.u64(0..START)));
            kill(starting.id(), Signal::KILL);
            drop(starting.wait());
            self.cut_starts += 1;
        }
    }
}

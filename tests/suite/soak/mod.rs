//! `kill -9` of any process, at any time, whatever is going on: one loop over one store.
//!
//! `make soak` runs it for long; the ordinary suite for a moment. `IMAGEFORGE_KILLS` is the number of
//! kills, `IMAGEFORGE_SEED` where the choices begin, `IMAGEFORGE_BUILDER` the plugin that builds. Trial
//! number N of seed S is trial 0 of seed S+N, so a failure can be tried again alone.

mod operation;
mod verdict;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use fastrand::Rng;
use rustix::process::Signal;

use crate::support::{Running, Workshop, kill};
use operation::{Builder, Operation, Victim};
use verdict::Ledger;

/// Kills in the ordinary suite.
const FEW: u64 = 20;
/// Where its choices begin.
const SEED: u64 = 20_261_121;
/// Trials in a row that may end before their victim appears.
const MISSES: u32 = 60;

/// What one trial does.
#[derive(Debug)]
struct Trial {
    seed: u64,
    operation: Operation,
    victim: Victim,
    /// How long after the start the victim is looked for.
    moment: Duration,
}

impl Trial {
    fn choose(seed: u64, builder: Builder) -> (Self, Rng) {
        let mut rng = Rng::with_seed(seed);
        // Neighbouring seeds begin alike.
        rng.u64(..);
        let operation = Operation::choose(&mut rng, builder);
        let victim = operation.victim(&mut rng);
        let moment = Duration::from_micros(rng.u64(0..operation.span(builder)));
        (Self { seed, operation, victim, moment }, rng)
    }

    /// Kills the victim once it is there; `false` when everything was over before.
    fn strike(&self, workshop: &Workshop, running: &mut [Running]) -> bool {
        std::thread::sleep(self.moment);
        loop {
            if let Some(id) = self.victim.find(workshop, running) {
                kill(id, Signal::KILL);
                return true;
            }
            let over = running.iter_mut().all(Running::is_over);
            if over && workshop.processes().is_empty() {
                return false;
            }
        }
    }
}

/// Says which trial it was, should the test fail.
struct Announced<'t>(&'t Trial);

impl Drop for Announced<'_> {
    #[expect(clippy::print_stderr, reason = "a failure must name its seed")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            let seed = self.0.seed;
            eprintln!("{:?}: again with IMAGEFORGE_KILLS=1 IMAGEFORGE_SEED={seed}", self.0);
        }
    }
}

fn number(name: &str, default: u64) -> u64 {
    let Ok(text) = std::env::var(name) else {
        return default;
    };
    text.parse().unwrap_or_else(|_| panic!("`{name}={text}` is no number"))
}

#[test]
fn nothing_is_lost_whichever_process_is_killed_whenever() {
    let (kills, seed) = (number("IMAGEFORGE_KILLS", FEW), number("IMAGEFORGE_SEED", SEED));
    let builder = Builder::of_environment();
    let workshop = builder.workshop();
    let mut ledger = Ledger::open(&workshop);
    let mut counts: BTreeMap<(String, String), u64> = BTreeMap::new();
    let (mut hits, mut misses, mut next) = (0, 0, seed);
    let began = Instant::now();
    while hits < kills {
        assert!(misses < MISSES, "no victim in {misses} trials");
        let (trial, mut rng) = Trial::choose(next, builder);
        next += 1;
        let announced = Announced(&trial);
        ledger.keep_small(&workshop);
        let mut begun = trial.operation.begin(&workshop, builder, &mut rng, &ledger);
        let hit = trial.strike(&workshop, &mut begun.running);
        ledger.judge(&workshop, begun);
        drop(announced);
        if hit {
            (hits, misses) = (hits + 1, 0);
            *counts
                .entry((format!("{:?}", trial.operation), format!("{:?}", trial.victim)))
                .or_default() += 1;
        } else {
            misses += 1;
        }
    }
    println!("{hits} kills in {} trials from seed {seed}: {:?}", next - seed, began.elapsed());
    for ((operation, victim), count) in counts {
        println!("{count:6}  {operation:<20} {victim}");
    }
    println!("{ledger}");
}

//! Load: many builds, many listeners and many questions at once, plugins that come and go, and a daemon
//! that is killed meanwhile.
//!
//! The ordinary suite does a little of it and judges what must be true at any scale: nothing is lost, nothing
//! is told twice, nothing leaks. `make bench BENCH=serve` and `make soak-serve` do much of it. What is measured
//! is printed as lines `NAME VALUE`, and never judged here. `IMAGEFORGE_LOAD` is the number of builds,
//! `IMAGEFORGE_SEED` where choices begin.

mod building;
mod client;
mod figures;
mod footprint;
mod hot_plug;
mod kills;
mod listening;
mod reading;
mod verdict;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::{Daemon, Workshop, wait_for};
use building::{Accepted, Orders, SENDERS};
use client::Place;
use figures::{Distribution, print};
use footprint::MemoryWatch;
use listening::{Heard, Listener, NOBODY_WAITS};
use reading::{Questions, READERS};
use verdict::Ledger;

/// How much is done at once.
#[derive(Clone, Copy, Debug)]
struct Scale {
    /// Requests, each for a base and a target image.
    builds: usize,
    /// Subscriptions to events: to everything and to one image, in turn.
    listeners: usize,
    /// Read requests in a second.
    reads_per_second: u32,
    /// Reading goes on for so long at least, in seconds.
    seconds: u64,
}

impl Scale {
    /// A little, unless the environment wants much.
    fn of_environment() -> Self {
        let little = Self { builds: 8, listeners: 8, reads_per_second: 20, seconds: 1 };
        match number("IMAGEFORGE_LOAD") {
            None => little,
            Some(builds) => Self {
                builds: usize::try_from(builds).unwrap(),
                listeners: 200,
                reads_per_second: 50,
                seconds: 60,
            },
        }
    }
}

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("`{name}={text}` is no number")))
}

/// Everybody here is one caller. What is built is small: nobody is to wait for disk space that is promised to
/// others and never used.
const SETTINGS: &str = "\
[serve.rates]
requests_per_second = 100000
burst = 100000
[limits]
reserve_mib = 16
";

/// How it went.
#[derive(Debug)]
struct Course<T> {
    ledger: Ledger,
    accepted: Vec<Accepted>,
    heard: Vec<Heard>,
    /// How long requests took to be accepted.
    accepting: Distribution,
    /// What was done meanwhile.
    besides: T,
}

/// Sends requests and listens, does `meanwhile`, waits for the end of everything, and judges it.
fn strain<T>(
    workshop: &Workshop,
    place: &Place,
    scale: Scale,
    meanwhile: impl FnOnce(&Orders<'_>) -> T,
) -> Course<T> {
    let template = fs_err::read_to_string(workshop.path("mock.tdl")).unwrap();
    let orders = Orders::new(place, template, scale.builds);
    let last = AtomicU64::new(u64::MAX);
    let (heard, besides) = thread::scope(|scope| {
        let giving_up = GivingUp { orders: &orders, last: &last };
        for _ in 0..SENDERS {
            scope.spawn(|| orders.send());
        }
        let (orders, last) = (&orders, &last);
        let listeners: Vec<_> = (0..scale.listeners)
            .map(|number| {
                scope.spawn(move || {
                    let image = match number % 2 {
                        0 => None,
                        _ => Some(orders.image_of(number * scale.builds / scale.listeners)?),
                    };
                    let (cuts, seed) = (number % 5 < 2, number as u64);
                    Some(Listener { place, image, cuts, last, seed }.listen())
                })
            })
            .collect();
        let besides = meanwhile(orders);
        wait_for_end(workshop, orders);
        last.store(verdict::last_event(workshop), Ordering::SeqCst);
        std::mem::forget(giving_up);
        let heard = listeners.into_iter().filter_map(|listener| listener.join().unwrap());
        (heard.collect::<Vec<_>>(), besides)
    });
    let (accepted, accepting) = orders.finish();
    let ledger = Ledger::read(workshop);
    ledger.assert_all_ended_once(&accepted);
    assert_eq!((accepted.len(), heard.len()), (scale.builds, scale.listeners));
    for heard in &heard {
        ledger.assert_heard(heard);
    }
    Course { ledger, accepted, heard, accepting, besides }
}

/// Lets everybody go when something goes wrong.
struct GivingUp<'g> {
    orders: &'g Orders<'g>,
    last: &'g AtomicU64,
}

impl Drop for GivingUp<'_> {
    fn drop(&mut self) {
        self.orders.give_up();
        self.last.store(NOBODY_WAITS, Ordering::SeqCst);
    }
}

/// Waits until all requests are accepted and done, as long as there is progress.
fn wait_for_end(workshop: &Workshop, orders: &Orders<'_>) {
    let look = || {
        let accepted = orders.accepted().len();
        (accepted, verdict::unfinished(workshop), verdict::last_event(workshop))
    };
    let mut before = look();
    while !(orders.are_all(before.0) && before.1 == 0) {
        before = wait_for("progress", || {
            assert!(!orders.are_given_up(), "a request is refused");
            Some(look()).filter(|now| *now != before)
        });
        thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn under_load_every_build_is_made_and_every_listener_hears_everything_once() {
    let scale = Scale::of_environment();
    let workshop = Workshop::new();
    let daemon = Daemon::start(&workshop, SETTINGS);
    let place = Place::of(&daemon);
    let memory = MemoryWatch::over(daemon.id());
    let start = Instant::now();
    let course = strain(&workshop, &place, scale, |orders| {
        let questions = Questions::new(&place, orders, scale.reads_per_second);
        let over = AtomicBool::new(false);
        let built = thread::scope(|scope| {
            for _ in 0..READERS {
                scope.spawn(|| questions.ask(&over));
            }
            let stop = Stop(&over);
            wait_for_end(&workshop, orders);
            let built = start.elapsed();
            thread::sleep(Duration::from_secs(scale.seconds).saturating_sub(start.elapsed()));
            drop(stop);
            built
        });
        (built, questions.answered())
    });
    let Course { ledger, accepted, heard, accepting, besides: (built, answered) } = course;
    let failed: Vec<_> = ledger.images.iter().filter(|(_, state)| *state != "COMPLETE").collect();
    assert!(failed.is_empty(), "{failed:?}");
    println!();
    print("serve_builds", accepted.len());
    print("serve_seconds", format!("{:.1}", built.as_secs_f64()));
    print("serve_listeners", heard.len());
    print("serve_log_events", ledger.event_count());
    print("serve_told_events", heard.iter().map(|heard| heard.events.len()).sum::<usize>());
    print("serve_returns", heard.iter().map(|heard| heard.returns).sum::<u64>());
    accepting.print("serve_accept");
    answered.reads.print("serve_read");
    answered.floor.print("serve_floor");
    memory.finish().print("serve_memory");
}

/// Sets a flag when it is dropped, also when something went wrong.
struct Stop<'s>(&'s AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

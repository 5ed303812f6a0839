//! Plugins that are dropped, swapped and removed, with nothing else to do and while builds are under way: how
//! long that takes to be seen, and what it leaves behind.

use std::mem::MaybeUninit;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use fastrand::Rng;
use fs_err::os::unix::fs::symlink;
use rustix::fs::inotify;
use serde_json::Value;

use super::building::Orders;
use super::client::{Client, Place};
use super::figures::Distribution;
use super::footprint::Footprint;
use super::{SETTINGS, Stop, number, verdict};
use crate::support::{Daemon, Workshop, library_dir, wait_for};

/// Jobs that are kept under way meanwhile.
const JOBS: u64 = 8;
/// Longest pause between two changes that are timed, in milliseconds.
const LONGEST_PAUSE: u64 = 40;
/// What may be open besides, since some of it is opened when it is needed: connections, files being read.
const SOME: usize = 20;

/// What is done, a little or much.
#[derive(Clone, Copy, Debug)]
struct Wanted {
    samples: usize,
    changes: u32,
    /// Time for all changes.
    span: Duration,
}

impl Wanted {
    fn of_environment() -> Self {
        match number("IMAGEFORGE_LOAD") {
            None => Self { samples: 3, changes: 200, span: Duration::ZERO },
            Some(_) => Self { samples: 200, changes: 10_000, span: Duration::from_mins(1) },
        }
    }
}

#[test]
fn plugins_come_and_go_during_builds_and_leave_nothing_behind() {
    let wanted = Wanted::of_environment();
    let workshop = Workshop::new();
    let daemon = Daemon::start(&workshop, SETTINGS);
    let place = Place::of(&daemon);
    let template = fs_err::read_to_string(workshop.path("mock.tdl")).unwrap();
    let orders = Orders::new(&place, template, usize::MAX);
    let over = AtomicBool::new(false);
    println!();
    let bench = Bench::new(&workshop, &place);
    bench.time("hot_plug_idle", wanted.samples);
    let (before, after) = thread::scope(|scope| {
        let stop = Stop(&over);
        scope.spawn(|| keep_building(&workshop, &orders, &over));
        bench.time("hot_plug", wanted.samples);
        let before = Footprint::of(daemon.id());
        bench.change_often(wanted);
        drop(stop);
        wait_for("the builds to end", || (verdict::unfinished(&workshop) == 0).then_some(()));
        bench.client.get("/v1/targets").unwrap();
        (before, Footprint::of(daemon.id()))
    });
    println!("hot_plug_changes {}", wanted.changes);
    before.print("hot_plug_before");
    after.print("hot_plug_after");
    assert!(after.descriptors <= before.descriptors + SOME, "{before:?} {after:?}");
    // Just after a plugin went, its folder may still be watched.
    assert!(after.watches <= before.watches, "{before:?} {after:?}");
    let (accepted, _) = orders.finish();
    println!("hot_plug_builds {}", accepted.len());
    let ledger = verdict::Ledger::read(&workshop);
    ledger.assert_all_ended_once(&accepted);
    assert_eq!(ledger.states().keys().copied().collect::<Vec<_>>(), ["COMPLETE"]);
}

fn keep_building(workshop: &Workshop, orders: &Orders<'_>, over: &AtomicBool) {
    while !over.load(Ordering::Relaxed) {
        if verdict::unfinished(workshop) < JOBS {
            orders.send_next();
        } else {
            thread::sleep(Duration::from_millis(10));
        }
    }
}

/// Where links are made, and then moved into `plugins.d`.
struct Bench<'b> {
    workshop: &'b Workshop,
    client: Client<'b>,
    /// `plugins.d/hot.info`
    link: PathBuf,
}

impl<'b> Bench<'b> {
    fn new(workshop: &'b Workshop, place: &'b Place) -> Self {
        for folder in ["real", "staged", "floor"] {
            fs_err::create_dir(workshop.path(folder)).unwrap();
        }
        let bench = Self {
            workshop,
            client: Client::new(place),
            link: workshop.path("plugins.d/hot.info"),
        };
        bench.info("a", "mock_cloud");
        bench.info("b", "mock_cloud");
        bench.wait_for_probe("mock-cloud");
        bench
    }

    /// Writes an `.info` file that claims the target `hot-NAME`.
    fn info(&self, name: &str, library: &str) {
        let info = format!(
            r#"{{"type": "cloud", "targets": ["hot-{name}"], "library": "lib{library}.so"}}"#
        );
        self.workshop.write(&format!("real/{name}.info"), info);
    }

    /// A link to the `.info` file of `name`, ready to be moved.
    fn stage(&self, name: &str) -> PathBuf {
        let staged = self.workshop.path("staged/hot.info");
        symlink(self.workshop.path(&format!("real/{name}.info")), &staged).unwrap();
        staged
    }

    /// Times changes of every kind and prints how long they took.
    fn time(&self, name: &str, samples: usize) {
        let mut rng = Rng::with_seed(1);
        let mut pause = || thread::sleep(Duration::from_millis(rng.u64(..LONGEST_PAUSE)));
        let names = ["drop", "swap", "remove", "unprobed", "probed", "floor"];
        let mut times = names.map(|_| Distribution::default());
        for number in 0..samples {
            let staged = self.stage("a");
            pause();
            times[0].add(self.time_until(
                || fs_err::rename(&staged, &self.link).unwrap(),
                "a",
                None,
            ));
            let staged = self.stage("b");
            pause();
            times[1].add(self.time_until(
                || fs_err::rename(&staged, &self.link).unwrap(),
                "b",
                Some("a"),
            ));
            pause();
            let remove = || fs_err::remove_file(&self.link).unwrap();
            times[2].add(self.time_until(remove, "", Some("b")));
            // A library that nobody has seen.
            let fresh = format!("fresh{number}");
            let library = self.workshop.path(&format!("real/lib{fresh}.so"));
            fs_err::copy(library_dir().join("libmock_cloud.so"), &library).unwrap();
            self.info(&fresh, &fresh);
            let staged = self.stage(&fresh);
            pause();
            let start = Instant::now();
            let plug = || fs_err::rename(&staged, &self.link).unwrap();
            times[3].add(self.time_until(plug, &fresh, None));
            self.wait_for_probe("hot");
            times[4].add(start.elapsed());
            fs_err::remove_file(&self.link).unwrap();
            fs_err::remove_file(&library).unwrap();
            pause();
            times[5].add(self.floor());
        }
        for (kind, times) in names.iter().zip(times) {
            times.print(&format!("{name}_{kind}"));
        }
    }

    /// Time from a change to an answer that has the target `hot-NEW` and not `hot-OLD`.
    fn time_until(&self, change: impl Fn(), new: &str, old: Option<&str>) -> Duration {
        let quoted = |name: &str| format!("\"hot-{name}\"");
        let start = Instant::now();
        change();
        wait_for_at_once("the change to be served", || {
            let (_, targets) = self.client.get("/v1/targets").unwrap();
            let has_new = new.is_empty() || targets.contains(&quoted(new));
            has_new && !old.is_some_and(|old| targets.contains(&quoted(old)))
        });
        start.elapsed()
    }

    /// Time for the kernel to tell of a change, and for one answer.
    fn floor(&self) -> Duration {
        let folder = self.workshop.path("floor");
        let watch = inotify::init(inotify::CreateFlags::CLOEXEC).unwrap();
        inotify::add_watch(&watch, &folder, inotify::WatchFlags::MOVED_TO).unwrap();
        let (from, to) = (self.workshop.path("staged/floor"), folder.join("link"));
        symlink("nowhere", &from).unwrap();
        let start = Instant::now();
        fs_err::rename(from, to).unwrap();
        inotify::Reader::new(&watch, &mut [MaybeUninit::uninit(); 512]).next().unwrap();
        self.client.get("/v1/targets").unwrap();
        start.elapsed()
    }

    fn wait_for_probe(&self, plugin: &str) {
        wait_for_at_once("the probe", || {
            let (_, text) = self.client.get(&format!("/v1/plugins/{plugin}")).unwrap();
            let document: Value = serde_json::from_str(&text).unwrap();
            !document["probe"].is_null()
        });
    }

    /// Many changes, evenly over a time; the last one is served.
    fn change_often(&self, wanted: Wanted) {
        let (a, b) = (self.stage("a"), self.workshop.path("staged/other.info"));
        symlink(self.workshop.path("real/b.info"), &b).unwrap();
        let start = Instant::now();
        for number in 0..wanted.changes {
            let due = start + wanted.span / wanted.changes * number;
            thread::sleep(due.saturating_duration_since(Instant::now()));
            match number % 4 {
                0 => fs_err::rename(&a, &self.link),
                1 => fs_err::rename(&b, &self.link),
                2 => fs_err::rename(&self.link, &b),
                _ => symlink(self.workshop.path("real/a.info"), &a),
            }
            .unwrap();
        }
        fs_err::rename(&a, &self.link).unwrap();
        let nothing = || ();
        self.time_until(nothing, "a", Some("b"));
        fs_err::remove_file(&self.link).unwrap();
        self.time_until(nothing, "", Some("a"));
    }
}

/// Asks without a pause.
fn wait_for_at_once(what: &str, ask: impl Fn() -> bool) {
    let start = Instant::now();
    while !ask() {
        assert!(start.elapsed() < Duration::from_mins(1), "waited in vain for {what}");
    }
}

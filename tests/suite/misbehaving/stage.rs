//! Where one case is played: a workshop with the plugin and a healthy neighbour.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use fs_err::PathExt;
use rustix::process::Signal;
use serde_json::Value;

use super::cases::{Case, Library, Then};
use crate::fixtures_abi::build_fixture;
use crate::support::{Process, Ran, Running, Workshop, wait_for};

/// What the neighbour makes, whatever goes on beside it.
const NEIGHBOURS_BODY: &str = "a healthy image\n";
/// Most memory that a front end may have had, in KiB: it keeps no log and no flood.
const MOST_MEMORY_KIB: u64 = 400 << 10;

/// One case and its workshop.
pub(super) struct Stage<'a> {
    case: &'a Case,
    workshop: Workshop,
}

impl<'a> Stage<'a> {
    /// Puts everything in its place.
    pub(super) fn set(case: &'a Case) -> Self {
        let workshop = Workshop::new();
        workshop.link_misbehaving("patient");
        workshop.template_for("patient.tdl", "Patient");
        workshop.template_for("bad.tdl", "Misbehaving");
        workshop.write("settings.toml", case.settings);
        match case.library {
            Library::Misbehaving => workshop.link_misbehaving(case.plugin),
            Library::Made(bytes, delegate) => {
                workshop.library("odd", &bytes());
                info(&workshop, delegate);
            },
            Library::Fixture(api) => {
                workshop.library("odd", &fs_err::read(build_fixture(api)).unwrap());
                info(&workshop, Some(&format!("abi-{api}")));
            },
        }
        let stage = Self { case, workshop };
        if stage.is_deletion() {
            stage.deliver();
        }
        stage
    }

    /// A healthy build, once its plugin is at work. It goes on until [`assert_unharmed`].
    ///
    /// [`assert_unharmed`]: Self::assert_unharmed
    pub(super) fn start_neighbour(&self) -> Running {
        let until = format!("until={}", self.workshop.path("home").display());
        let arguments = ["base-image", "patient.tdl", "--name", "neighbour"];
        let mut running = self.workshop.spawn(&[&arguments[..], &["--parameter", &until]].concat());
        wait_for("the neighbour to work", || {
            (running.has_ended() || self.neighbour_works()).then_some(())
        });
        let ended = running.has_ended();
        assert!(!ended, "the neighbour did not work: {:#?}", running.wait());
        running
    }

    fn neighbour_works(&self) -> bool {
        self.record("neighbour").is_some_and(|image| {
            image["status"] == "BUILDING" && image["status_detail"]["activity"] == "working"
        })
    }

    /// Runs the command, and does to it what the case says.
    pub(super) fn commit(&self) -> Ran {
        let mut command = self.workshop.command(&[]);
        command.args(self.arguments());
        if self.case.plugin == "loading" {
            command.env("MISBEHAVE", format!("{}: {}", self.case.when, self.case.how));
        }
        let running = Running::start(command);
        let id = running.id();
        let watch = std::thread::spawn(move || peak_memory_kib(id));
        if self.case.then != Then::Nothing {
            self.wait_until_at_it(&running);
        }
        let library = self.workshop.path("lib/libodd.so");
        match self.case.then {
            Then::Nothing => {},
            Then::Cancelled => running.signal(Signal::INT),
            Then::Truncated => fs_err::File::create(library).map(drop).unwrap(),
            Then::Deleted => fs_err::remove_file(library).unwrap(),
            Then::Replaced => {
                let other = self.workshop.write("other", "no library");
                fs_err::rename(other, library).unwrap();
            },
        }
        self.workshop.let_go();
        let ran = running.wait();
        let peak = watch.join().unwrap();
        assert!(peak < MOST_MEMORY_KIB, "it took {peak} KiB: {ran:#?}");
        ran
    }

    /// A call that leaves no trace in a record, as in `check`, or another image's plugin may leave the
    /// same, is seen by the name of its thread.
    fn wait_until_at_it(&self, running: &Running) {
        wait_for("the plugin to misbehave", || {
            if self.case.when.starts_with("check") || self.case.plugin == "clouds" {
                let at_it = |process: &Process| process.has_thread("misbehaving");
                return running.descendants().iter().any(at_it).then_some(());
            }
            let words = ["about to misbehave", "pretending to install"];
            let images = self.workshop.images();
            let mut told = images.iter().filter(|image| image["name"] == "bad");
            told.any(|image| {
                let activity = image["status_detail"]["activity"].as_str();
                activity.is_some_and(|activity| words.contains(&activity))
            })
            .then_some(())
        });
        // Give it the time to be at it.
        std::thread::sleep(Duration::from_millis(300));
    }

    fn is_deletion(&self) -> bool {
        self.case.when == "delete_from_provider"
    }

    fn is_at_provider(&self) -> bool {
        ["provider", "push", "snapshot"].iter().any(|word| self.case.when.contains(word))
    }

    fn arguments(&self) -> Vec<String> {
        let Case { plugin, when, how, .. } = *self.case;
        let settings = self.workshop.path("settings.toml").display().to_string();
        let mut arguments = vec!["--config".to_owned(), settings];
        let mut add = |more: &[&str]| arguments.extend(more.iter().map(|&each| each.to_owned()));
        if self.is_deletion() {
            let id = self.record("bad").expect("it was delivered")["id"].clone();
            add(&[
                "images",
                "delete",
                id.as_str().unwrap(),
                "--credentials",
                &format!("do: {how}"),
            ]);
            return arguments;
        }
        match (plugin, self.case.library) {
            ("clouds", _) => add(&["build", "mock.tdl", "--target", "misbehaving"]),
            (_, Library::Made(..)) => {
                let hold = format!("run={}", self.workshop.hold());
                add(&["build", "bad.tdl", "--target", "mock", "--parameter", &hold]);
            },
            _ => add(&["base-image", "bad.tdl"]),
        }
        add(&["--name", "bad"]);
        match self.case.library {
            Library::Misbehaving if plugin != "loading" => {
                add(&[
                    "--parameter",
                    &format!("when={when}"),
                    "--parameter",
                    &format!("how={how}"),
                ]);
            },
            Library::Fixture(_) if when == "load" => add(&["--parameter", "do=write"]),
            Library::Fixture(_) => add(&["--parameter", "do=panic"]),
            _ => {},
        }
        if self.is_at_provider() {
            add(&["--provider", "there", "--credentials", "nothing"]);
        }
        if when.starts_with("snapshot") {
            add(&["--snapshot"]);
        }
        arguments
    }

    fn deliver(&self) {
        let arguments = ["build", "mock.tdl", "--target", "misbehaving", "--name", "bad"];
        let provider = ["--provider", "there", "--credentials", "nothing"];
        self.workshop.run(&[&arguments[..], &provider].concat()).done();
    }

    /// The record of the highest tier.
    fn record(&self, name: &str) -> Option<Value> {
        let mut images = self.workshop.images();
        images.retain(|image| image["name"] == name);
        let tiers = ["base", "target", "provider"];
        images.into_iter().max_by_key(|image| tiers.iter().position(|tier| image["tier"] == *tier))
    }

    /// The state of the image, or `no record`.
    pub(super) fn state(&self) -> String {
        let record = self.record("bad");
        record.map_or_else(|| "no record".to_owned(), |record| text(&record["status"]))
    }

    /// Every refusal and failure names the plugin, the method and something to do.
    pub(super) fn assert_told(&self, ran: &Ran) {
        let Case { plugin, when, .. } = *self.case;
        let method = when.rsplit(' ').next().unwrap_or_default();
        let mut wanted = vec![format!("`{plugin}`"), "  hint: ".to_owned()];
        // A build that waits in another method until it is cancelled is told with that one.
        if method.contains('_') || method == "check" {
            wanted.push(format!("`{method}`"));
        }
        for words in wanted {
            assert!(ran.stderr.contains(&words), "`{words}` in {:#?}: {ran:#?}", self.case);
        }
    }

    /// The log holds what it must, and a finished image what it would have had without the fault.
    pub(super) fn assert_log(&self, ran: &Ran) {
        let Some(record) = self.record("bad") else {
            return;
        };
        let log = self.workshop.run(&["images", "log", &text(&record["id"])]).done().stdout;
        for words in self.case.log {
            let shown = log.len().min(4000);
            assert!(log.contains(words), "`{words}` in the log {}\n{ran:#?}", &log[..shown]);
        }
        if record["status"] == "COMPLETE" && record["tier"] == "base" {
            let body = fs_err::read_to_string(text(&record["path"])).unwrap();
            assert_eq!(body, "an image\n", "{:#?}", self.case);
        }
        let flood = log.lines().filter(|line| line.contains("-- event ")).count();
        assert!(flood < 5000, "{flood} events were written down");
    }

    pub(super) fn assert_probe(&self, ran: &Ran) {
        if !self.case.probe.is_empty() {
            let shown = self.workshop.json(&["plugins", "show", self.case.plugin]);
            assert_eq!(shown["status"]["state"], self.case.probe, "{:#?}: {ran:#?}", self.case);
        }
    }

    /// The neighbour worked all the while, completes, and made what it always makes; nothing is left
    /// of the fault, and what could not be deleted can be.
    pub(super) fn assert_unharmed(&self, neighbour: Running, ran: &Ran) {
        assert!(self.neighbour_works(), "the neighbour suffered from {:#?}: {ran:#?}", self.case);
        self.workshop.write("home", "");
        let beside = neighbour.wait();
        assert_eq!(beside.code, Some(0), "{:#?}: {beside:#?}", self.case);
        assert!(!beside.stdout.contains("scribbled"), "{beside:#?}");
        let record = self.record("neighbour").expect("the neighbour has a record");
        let path = text(&record["path"]);
        assert_eq!(fs_err::read_to_string(&path).unwrap(), NEIGHBOURS_BODY);
        if let Some(bad) = self.record("bad").filter(|bad| bad["status"] == "COMPLETE") {
            assert_eq!(mode(&text(&bad["path"])), mode(&path), "{:#?}", self.case);
        }
        if self.is_deletion() {
            let id = text(&self.record("bad").expect("it is kept")["id"]);
            let delete = ["images", "delete", &id, "--credentials", "do: nothing"];
            self.workshop.run(&delete).done();
        }
        self.workshop.assert_tidy();
    }
}

fn info(workshop: &Workshop, delegate: Option<&str>) {
    let delegate = delegate.map(|name| format!(r#","delegate":"{name}""#)).unwrap_or_default();
    let json =
        format!(r#"{{"type":"os","targets":[["Misbehaving"]],"version":"0.1.0"{delegate}}}"#);
    workshop.info("odd", &json);
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn mode(path: &str) -> u32 {
    Path::new(path).fs_err_metadata().unwrap().permissions().mode()
}

/// The most memory that a process ever had, watched until it ends.
fn peak_memory_kib(id: u32) -> u64 {
    let mut peak = 0;
    while let Ok(status) = fs_err::read_to_string(format!("/proc/{id}/status")) {
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let Some(line) = line else { break };
        let kib = line.trim().trim_end_matches(" kB").parse().unwrap_or(0);
        peak = peak.max(kib);
        std::thread::sleep(Duration::from_millis(20));
    }
    peak
}

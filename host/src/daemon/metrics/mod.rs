//! `GET /metrics`: figures for Prometheus.
//!
//! Requests are counted here as they come; everything else is asked of store, queue and kernel when
//! somebody looks. Counters that outlive a restart are kept by the store. Labels are tiers, states, kinds,
//! plugins and route templates: nothing that a client can make up.

mod builds;
mod connections;
mod process;

use std::sync::atomic::{AtomicI64, AtomicU64};

use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use super::Daemon;
use super::problem::Problem;
use crate::factory::SlotCounts;
use crate::failures::{Exit, Failure};
use builds::Durations;
pub(super) use connections::{Connections, Door, Phase};

/// Labels of a figure, names and values.
type Labels = Vec<(&'static str, String)>;

/// Upper bounds of the time that a request takes, in seconds.
const LATENCIES: [f64; 9] = [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 2.5, 10.0];

/// Requests since the daemon was started.
#[derive(Debug)]
pub(super) struct Requests {
    answered: Family<Labels, Counter>,
    durations: Family<Labels, Histogram, fn() -> Histogram>,
}

impl Default for Requests {
    fn default() -> Self {
        Self {
            answered: Family::default(),
            durations: Family::new_with_constructor(|| Histogram::new(LATENCIES)),
        }
    }
}

impl Requests {
    /// Counts a request that was answered. `route` is the template, not the path.
    pub(super) fn answered(&self, method: &str, route: &str, status: u16, seconds: f64) {
        let route = ("route", route.to_owned());
        let labels =
            vec![("method", method.to_owned()), route.clone(), ("status", status.to_string())];
        self.answered.get_or_create(&labels).inc();
        self.durations.get_or_create(&vec![route]).observe(seconds);
    }
}

/// All figures, in the text format of `OpenMetrics`.
///
/// # Errors
/// The store does not answer.
pub(super) fn text(daemon: &Daemon) -> Result<String, Problem> {
    let mut figures = Figures(Registry::with_prefix("imageforge"));
    figures.images(daemon)?;
    figures.queue(daemon);
    figures.plugins(daemon);
    figures.callbacks(daemon)?;
    figures.events(daemon);
    figures.requests(&daemon.requests);
    figures.connections(&daemon.connections);
    figures.certificate(daemon);
    figures.room(daemon);
    figures.program();
    let mut text = String::new();
    let written = process::figures(&mut text, &figures.0);
    written.map_err(|error| Failure::from_error(Exit::Internal, &error))?;
    Ok(text)
}

/// A registry that is made for one look.
struct Figures(Registry);

impl Figures {
    fn gauge(&mut self, name: &str, help: &str, values: impl IntoIterator<Item = (Labels, u64)>) {
        let family = Family::<Labels, Gauge<i64, AtomicI64>>::default();
        for (labels, value) in values {
            let gauge = family.get_or_create(&labels);
            gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
        }
        self.0.register(name, help, family);
    }

    fn one(&mut self, name: &str, help: &str, value: u64) {
        self.0.register(name, help, ConstGauge::new(value));
    }

    fn counter(&mut self, name: &str, help: &str, values: impl IntoIterator<Item = (Labels, u64)>) {
        let family = Family::<Labels, Counter<u64, AtomicU64>>::default();
        for (labels, value) in values {
            family.get_or_create(&labels).inc_by(value);
        }
        self.0.register(name, help, family);
    }

    fn images(&mut self, daemon: &Daemon) -> Result<(), Problem> {
        let images = daemon.reader.image_totals()?;
        let labels = |tier: &str, status: &str| {
            vec![("tier", tier.to_owned()), ("status", status.to_owned())]
        };
        self.gauge(
            "images",
            "Images by tier and state",
            images.iter().map(|sum| (labels(&sum.tier, &sum.status), sum.images)),
        );
        self.gauge(
            "images_bytes",
            "Length of the bodies of images",
            images.iter().map(|sum| (labels(&sum.tier, &sum.status), sum.bytes)),
        );
        let totals = daemon.reader.build_totals()?;
        self.counter(
            "builds",
            "Builds that ended, by tier, plugin and state",
            totals.iter().map(|total| {
                let mut labels = labels(&total.tier, &total.status);
                labels.push(("plugin", total.plugin.clone()));
                (labels, total.buckets.iter().sum())
            }),
        );
        let waited = Family::<Labels, Counter<f64, AtomicU64>>::default();
        for total in &totals {
            let labels = vec![("tier", total.tier.clone())];
            waited.get_or_create(&labels).inc_by(total.waited_seconds);
        }
        let help = "Time that builds waited before they began, by tier";
        self.0.register_with_unit("build_wait", help, Unit::Seconds, waited);
        self.0.register_collector(Box::new(Durations(totals)));
        Ok(())
    }

    fn queue(&mut self, daemon: &Daemon) {
        let state = |state: &str| vec![("state", state.to_owned())];
        self.gauge(
            "jobs",
            "Jobs that are not done, by state",
            [
                (state("queued"), daemon.queue.length() as u64),
                (state("running"), daemon.queue.running().len() as u64),
            ],
        );
        let slots = daemon.queue.slots().counts();
        let by_kind = |count: fn(&SlotCounts) -> usize| {
            slots
                .each_ref()
                .map(|slots| (vec![("kind", slots.kind.as_str().to_owned())], count(slots) as u64))
        };
        let help = "Slots that are taken, each by one worker, by kind of work";
        self.gauge("slots_taken", help, by_kind(|slots| slots.taken));
        let help = "Images that wait for a slot, by kind of work";
        self.gauge("slots_waiting", help, by_kind(|slots| slots.waiting));
    }

    fn plugins(&mut self, daemon: &Daemon) {
        let registry = daemon.site.plugins();
        let mut states = std::collections::BTreeMap::<&str, u64>::new();
        for plugin in registry.plugins() {
            *states.entry(registry.status(plugin).state.as_str()).or_default() += 1;
        }
        let states = states.into_iter();
        let values = states.map(|(state, count)| (vec![("state", state.to_owned())], count));
        self.gauge("plugins", "Plugins by state", values);
    }

    fn callbacks(&mut self, daemon: &Daemon) -> Result<(), Problem> {
        let counts = daemon.reader.callback_counts()?;
        let help = "Messages to receivers of callbacks that were acknowledged or given up";
        let result = |result: &str| vec![("result", result.to_owned())];
        self.counter(
            "callback_messages",
            help,
            [(result("delivered"), counts.delivered), (result("failed"), counts.failed)],
        );
        let help = "Messages to receivers of callbacks that wait";
        self.one("callback_messages_pending", help, counts.pending);
        Ok(())
    }

    fn events(&mut self, daemon: &Daemon) {
        let help = "Sequence number of the newest event";
        self.0.register("events", help, ConstCounter::new(daemon.feed.position()));
        let help = "Subscriptions to events";
        self.one("event_listeners", help, daemon.feed.listeners() as u64);
    }

    fn requests(&mut self, requests: &Requests) {
        let help = "Requests that were answered, by method, route and status";
        self.0.register("http_requests", help, requests.answered.clone());
        let help = "Time until a request was answered; for subscriptions, until they began";
        let durations = requests.durations.clone();
        self.0.register_with_unit("http_request_duration", help, Unit::Seconds, durations);
    }

    fn certificate(&mut self, daemon: &Daemon) {
        if let Some(tls) = &daemon.tls {
            let ends = tls.certificate().ends.as_second();
            let help = "When the certificate ends, in seconds since 1970";
            self.one("tls_certificate_expiry_timestamp_seconds", help, ends.unsigned_abs());
        }
    }

    fn room(&mut self, daemon: &Daemon) {
        let help = "Size of the database of records and events";
        self.one("store_bytes", help, daemon.reader.database_bytes());
        if let Ok(free) = daemon.reader.free_bytes() {
            let help = "Free space on the file system of the data directory";
            self.one("data_dir_free_bytes", help, free);
        }
    }

    fn program(&mut self) {
        let version = vec![("version", env!("CARGO_PKG_VERSION").to_owned())];
        self.gauge("build_info", "Always 1; the version of imageforge", [(version, 1)]);
    }
}

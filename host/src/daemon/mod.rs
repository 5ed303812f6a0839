//! The daemon: the factory as a service.
//!
//! [`serve`] opens the store, takes up what was accepted before, and answers requests until it is told to
//! stop. `api` holds the routes, `upstream` those of ImageFactory; `deletion` asks providers; `feed` tells
//! every event to whoever listens, `callbacks` changes of state to receivers; `metrics` and `requests` are
//! for whoever watches; `site` is what the queue works with: the plugins that are linked and the settings,
//! which `watch` keeps true; `connections` come in, with `tls` or without; `systemd` is told how it goes. Nothing here prints, and nothing is built
//! here: requests go to the [`Queue`], answers come from the store.

mod access;
mod api;
mod callbacks;
mod connections;
mod deletion;
mod error;
mod feed;
mod metrics;
mod problem;
mod requests;
mod server;
mod site;
mod systemd;
mod tls;
mod upstream;
mod watch;

use std::sync::Arc;
use std::time::{Duration, Instant};

use camino::Utf8PathBuf;
use tokio::sync::Semaphore;

use crate::factory::Queue;
use crate::images::Store;
use access::Access;
use deletion::Deletions;
use feed::Feed;
use metrics::{Connections, Requests};
use site::Site;
use tls::Tls;
use watch::Watch;

pub use error::ServeError;
pub use server::{Listening, serve};
pub use site::SiteOptions;
pub use systemd::Systemd;
pub use tls::{Certificate, TlsError, certificate};

/// How the daemon is started.
#[derive(Debug)]
pub struct ServeOptions {
    /// The folder of images and records.
    pub data_dir: Utf8PathBuf,
    /// Where plugins and settings are.
    pub site: SiteOptions,
    /// Who started it, and wants to know how it goes.
    pub systemd: Systemd,
}

/// What every request handler has.
#[derive(Debug)]
struct Daemon {
    store: Arc<Store>,
    /// A second connection: who reads does not wait for who writes.
    reader: Arc<Store>,
    queue: Arc<Queue>,
    site: Arc<Site>,
    feed: Arc<Feed>,
    watch: Arc<Watch>,
    access: Access,
    deletions: Deletions,
    requests: Requests,
    connections: Arc<Connections>,
    tls: Option<Arc<Tls>>,
    /// Who may make a plan now.
    planning: Arc<Semaphore>,
    started: Instant,
}

impl Daemon {
    /// Cancels whatever is under way.
    fn stop_at_once(&self) {
        self.queue.stop(Duration::ZERO);
        self.deletions.cancel();
    }
}

type App = axum::extract::State<Arc<Daemon>>;

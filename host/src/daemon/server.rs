//! Starts the daemon, and stops it in order.

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use camino::Utf8Path;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::access::Access;
use super::callbacks::Callbacks;
use super::connections::{Doors, Rules};
use super::deletion::Deletions;
use super::feed::Feed;
use super::metrics::{Connections, Requests};
use super::site::Site;
use super::systemd::Systemd;
use super::tls::{Certificate, Tls};
use super::watch::Watch;
use super::{Daemon, ServeError, ServeOptions, api};
use crate::factory::{Queue, Surroundings};
use crate::images::Store;
use crate::named_lock::NamedLock;
use crate::process::keep_heap_small;
use crate::settings::ServeSettings;

/// Time that answers under way have when the daemon stops.
const ANSWER_GRACE: Duration = Duration::from_secs(2);
/// Time in which a process that a killed daemon was just starting becomes another program, and lets go of its lock.
const LET_GO: Duration = Duration::from_secs(2);
/// Time between two looks whether it has.
const LET_GO_POLL: Duration = Duration::from_millis(20);
/// Time between two looks at what changes with time alone: the certificate comes to its end, and the store may
/// forget what is long over.
const UPKEEP_PAUSE: Duration = Duration::from_hours(12);

/// What a started daemon says of itself.
#[derive(Clone, Debug)]
pub struct Listening {
    /// Where it listens.
    pub address: SocketAddr,
    /// What clients know it by; `None` without TLS.
    pub certificate: Option<Certificate>,
}

/// Serves until SIGTERM or SIGINT; a second one ends at once what is under way.
/// `on_ready` is called once requests are answered.
///
/// # Errors
/// [`ServeError`].
pub fn serve(options: ServeOptions, on_ready: impl FnOnce(&Listening)) -> Result<(), ServeError> {
    keep_heap_small();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(ServeError::Machine)?;
    let served = runtime.block_on(run(options, on_ready));
    runtime.shutdown_timeout(ANSWER_GRACE);
    served
}

async fn run(options: ServeOptions, on_ready: impl FnOnce(&Listening)) -> Result<(), ServeError> {
    let store = Arc::new(Store::open(&options.data_dir)?);
    let _only_one = only_one(&store)?;
    crate::factory::cgroup::recover();
    let feed = Feed::open(Arc::new(Store::open(&options.data_dir)?))?;
    let site = Arc::new(Site::open(options.site, Arc::clone(&feed))?);
    site.tell_of_unserved();
    let recovery = store.recover()?;
    forget(&store);
    tracing::info!(
        interrupted = recovery.interrupted.len(),
        removed = recovery.removed.len(),
        "the store is in order"
    );
    let queue =
        Queue::open(Arc::clone(&store), Arc::new(Arc::clone(&site)) as Arc<dyn Surroundings>)?;
    let watch = Watch::new(Arc::clone(&site));
    let data_dir = store.data_dir().to_owned();
    let access = Access::open(&data_dir, &site.settings().serve)?;
    let tls = secure(&site.settings().serve, &data_dir, &access)?;
    let daemon = Arc::new(Daemon {
        reader: Arc::new(Store::open(&options.data_dir)?),
        store: Arc::clone(&store),
        queue: Arc::clone(&queue),
        site: Arc::clone(&site),
        feed: Arc::clone(&feed),
        watch: Arc::clone(&watch),
        access,
        deletions: Deletions::default(),
        requests: Requests::default(),
        connections: Arc::new(Connections::default()),
        tls: tls.clone(),
        planning: api::places_to_plan(),
        started: Instant::now(),
    });

    let (doors, listening) = listen(&daemon).await?;
    let mut signals = Signals::open().map_err(ServeError::Machine)?;

    let worker = spawn("queue", {
        let queue = Arc::clone(&queue);
        move || queue.run()
    })?;
    let teller = spawn("feed", {
        let feed = Arc::clone(&feed);
        move || feed.run()
    })?;
    let watcher = spawn("watch", {
        let watch = Arc::clone(&watch);
        move || watch.run()
    })?;
    let (callbacks, caller) = start_callbacks(&options.data_dir, &queue, &site)?;
    let (stop, mut stopped) = tokio::sync::watch::channel(false);
    let server = tokio::spawn(doors.serve(api::router(Arc::clone(&daemon)), async move {
        // An error means that the sender is gone, which is the same.
        drop(stopped.wait_for(|stopped| *stopped).await);
    }));
    on_ready(&listening);
    let systemd = Arc::new(options.systemd);
    let beats = systemd.start(store, Arc::clone(&queue)).map_err(ServeError::Machine)?;
    work_until_told(&daemon, &systemd, &mut signals).await;

    let grace = Duration::from_secs(site.settings().serve.stop_seconds);
    tracing::info!(seconds = grace.as_secs(), "stopping: builds under way may finish");
    systemd.stopping(grace, beats);
    tokio::select! {
        _ = finish(&daemon, worker, grace)? => {},
        () = signals.stop() => daemon.stop_at_once(),
    }
    feed.stop();
    callbacks.stop();
    stop.send_replace(true);
    drop(tokio::time::timeout(ANSWER_GRACE, server).await);
    watch.stop();
    let ended = tokio::task::spawn_blocking(move || (teller.join(), watcher.join(), caller.join()));
    drop(ended.await);
    Ok(())
}

/// What the daemon is told.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

impl Signals {
    fn open() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    /// Until it is told to stop.
    async fn stop(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {},
            _ = self.interrupt.recv() => {},
        }
    }
}

/// Reads settings again when told, does its upkeep now and then, and ends when told to stop.
async fn work_until_told(daemon: &Daemon, systemd: &Systemd, signals: &mut Signals) {
    let first_look = tokio::time::Instant::now() + UPKEEP_PAUSE;
    let mut looks = tokio::time::interval_at(first_look, UPKEEP_PAUSE);
    loop {
        tokio::select! {
            _ = signals.terminate.recv() => break,
            _ = signals.interrupt.recv() => break,
            _ = signals.hang_up.recv() => reload(daemon, systemd),
            _ = looks.tick() => keep_up(daemon),
        }
    }
}

/// The certificate for the address of `settings`, and whether it may be listened to at all.
fn secure(
    settings: &ServeSettings,
    data_dir: &Utf8Path,
    access: &Access,
) -> Result<Option<Arc<Tls>>, ServeError> {
    let address = settings.listen;
    let tls = Tls::open(settings, data_dir)?.map(Arc::new);
    if !address.ip().is_loopback() {
        if tls.is_none() {
            return Err(ServeError::Exposed { address });
        }
        if !access.knows_anybody()? {
            return Err(ServeError::NoCallers { address });
        }
    }
    Ok(tls)
}

/// Opens the daemon's doors, to the network and in its data directory.
async fn listen(daemon: &Daemon) -> Result<(Doors, Listening), ServeError> {
    let address = daemon.site.settings().serve.listen;
    let failed = |source| ServeError::Listen { address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    let socket = daemon.store.data_dir().join("serve.sock");
    let rules = Rules {
        site: Arc::clone(&daemon.site),
        tls: daemon.tls.clone(),
        figures: Arc::clone(&daemon.connections),
    };
    let doors = Doors::open(listener, &socket, rules)
        .map_err(|source| ServeError::Socket { path: socket.clone(), source })?;
    let certificate = daemon.tls.as_ref().map(|tls| tls.certificate());
    Ok((doors, Listening { address, certificate }))
}

/// Takes no more work. What is under way may end within `grace`, and is cancelled then.
fn finish(
    daemon: &Arc<Daemon>,
    worker: JoinHandle<()>,
    grace: Duration,
) -> Result<tokio::task::JoinHandle<()>, ServeError> {
    let end = Instant::now() + grace;
    let queue = Arc::clone(&daemon.queue);
    let stopping = spawn("stop", move || queue.stop(grace))?;
    let daemon = Arc::clone(daemon);
    Ok(tokio::task::spawn_blocking(move || {
        drop(worker.join());
        drop(stopping.join());
        daemon.deletions.stop(end);
    }))
}

fn start_callbacks(
    data_dir: &Utf8Path,
    queue: &Arc<Queue>,
    site: &Arc<Site>,
) -> Result<(Arc<Callbacks>, JoinHandle<()>), ServeError> {
    let callbacks = Callbacks::open(Store::open(data_dir)?, Arc::clone(queue), Arc::clone(site));
    let thread = spawn("callbacks", {
        let callbacks = Arc::clone(&callbacks);
        move || callbacks.run()
    })?;
    Ok((callbacks, thread))
}

/// Other settings and certificates hold from now on, unless they are wrong.
fn reload(daemon: &Daemon, systemd: &Systemd) {
    systemd.reloading();
    match daemon.site.reload_settings() {
        Ok(()) => {
            let serve = &daemon.site.settings().serve;
            daemon.queue.slots().resize(serve.slots);
            if let Err(error) = daemon.access.reload(serve) {
                let error = &error as &dyn std::error::Error;
                tracing::error!(error, "the consumers stay as they were");
            }
            daemon.site.look();
            daemon.site.tell_of_unserved();
            tracing::info!("the settings were read again");
        },
        Err(error) => tracing::error!(
            error = &error as &dyn std::error::Error,
            "the settings stay as they were"
        ),
    }
    reload_certificate(daemon);
    systemd.ready();
}

/// What has to be done now and then. Nobody waits for the store.
fn keep_up(daemon: &Daemon) {
    reload_certificate(daemon);
    let store = Arc::clone(&daemon.store);
    drop(tokio::task::spawn_blocking(move || forget(&store)));
}

/// Has the store forget what is over; nothing depends on it.
fn forget(store: &Store) {
    if let Err(error) = store.forget_what_is_over() {
        let error = &error as &dyn std::error::Error;
        tracing::warn!(error, "what is over stays in the store for now");
    }
}

/// Another certificate holds for new connections, unless it is wrong.
fn reload_certificate(daemon: &Daemon) {
    let settings = &daemon.site.settings().serve.tls;
    match &daemon.tls {
        Some(tls) if settings.is_wanted() => {
            if let Err(error) = tls.reload(settings) {
                let hint = error.hint();
                let error = &error as &dyn std::error::Error;
                tracing::error!(error, hint, "the certificate stays as it was");
            }
        },
        Some(_) => tracing::warn!("TLS is spoken until the next start"),
        None if settings.is_wanted() => tracing::warn!("TLS is spoken from the next start on"),
        None => {},
    }
}

/// One daemon for one store: the lock is held as long as the answer lives.
fn only_one(store: &Store) -> Result<NamedLock, ServeError> {
    let path = store.data_dir().join("serve.lock");
    let end = Instant::now() + LET_GO;
    let lock = NamedLock::take(&path, LET_GO_POLL, || Instant::now() >= end);
    let taken = || ServeError::Taken { data_dir: store.data_dir().to_owned() };
    lock.map_err(ServeError::Machine)?.ok_or_else(taken)
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, ServeError> {
    std::thread::Builder::new().name(name.to_owned()).spawn(work).map_err(ServeError::Machine)
}

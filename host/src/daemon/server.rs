//! Starts the daemon, and stops it in order.

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use camino::{Utf8Path, Utf8PathBuf};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use super::access::Access;
use super::callbacks::Callbacks;
use super::connections::Doors;
use super::deletion::Deletions;
use super::feed::Feed;
use super::metrics::Requests;
use super::site::Site;
use super::systemd::Systemd;
use super::watch::Watch;
use super::{Daemon, ServeOptions, api};
use crate::factory::{Queue, QueueError, Surroundings};
use crate::images::{Store, StoreError};
use crate::named_lock::NamedLock;
use crate::plugins::scan::ScanError;
use crate::settings::{ConsumerError, ServeSettings};
use crate::tokens::TokenError;

/// Time that answers under way have when the daemon stops.
const ANSWER_GRACE: Duration = Duration::from_secs(2);

/// Why the daemon does not start or ended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The store cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The queue cannot be taken up.
    #[error(transparent)]
    Queue(#[from] QueueError),
    /// The plugins directory cannot be used.
    #[error(transparent)]
    Plugins(#[from] ScanError),
    /// Another daemon has this data directory.
    #[error("another daemon serves `{data_dir}`")]
    Taken {
        /// The data directory.
        data_dir: Utf8PathBuf,
    },
    /// Nothing can be listened to at the address.
    #[error("cannot listen at `{address}`")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Cause.
        #[source]
        source: std::io::Error,
    },
    /// Others than this machine could connect, and what they send could be read on the way.
    #[error("refusing to listen at `{address}` without TLS")]
    Exposed {
        /// The address.
        address: SocketAddr,
    },
    /// The daemon's own socket cannot be listened to.
    #[error("cannot listen at `{path}`")]
    Socket {
        /// The socket.
        path: Utf8PathBuf,
        /// Cause.
        #[source]
        source: std::io::Error,
    },
    /// The tokens cannot be used.
    #[error(transparent)]
    Tokens(#[from] TokenError),
    /// A client that signs its requests cannot be known.
    #[error(transparent)]
    Consumer(#[from] ConsumerError),
    /// The machine does not let it work.
    #[error("the daemon cannot work")]
    Machine(#[source] std::io::Error),
}

/// What a started daemon says of itself.
#[derive(Clone, Copy, Debug)]
pub struct Listening {
    /// Where it listens.
    pub address: SocketAddr,
}

/// Serves until SIGTERM or SIGINT; a second one ends at once what is under way.
/// `on_ready` is called once requests are answered.
///
/// # Errors
/// [`ServeError`].
pub fn serve(options: ServeOptions, on_ready: impl FnOnce(&Listening)) -> Result<(), ServeError> {
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
    let recovery = store.recover()?;
    tracing::info!(
        interrupted = recovery.interrupted.len(),
        removed = recovery.removed.len(),
        "the store is in order"
    );
    let queue =
        Queue::open(Arc::clone(&store), Arc::new(Arc::clone(&site)) as Arc<dyn Surroundings>)?;
    let watch = Watch::new(Arc::clone(&site));
    let data_dir = store.data_dir().to_owned();
    let daemon = Arc::new(Daemon {
        reader: Arc::new(Store::open(&options.data_dir)?),
        store: Arc::clone(&store),
        queue: Arc::clone(&queue),
        site: Arc::clone(&site),
        feed: Arc::clone(&feed),
        watch: Arc::clone(&watch),
        access: Access::open(&data_dir, &site.settings().serve)?,
        deletions: Deletions::default(),
        requests: Requests::default(),
        started: Instant::now(),
    });

    let (doors, listening) = listen(&site.settings().serve, &data_dir).await?;
    let mut terminate = signal(SignalKind::terminate()).map_err(ServeError::Machine)?;
    let mut hang_up = signal(SignalKind::hangup()).map_err(ServeError::Machine)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(ServeError::Machine)?;

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
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = hang_up.recv() => reload(&daemon, &systemd),
        }
    }

    let grace = Duration::from_secs(site.settings().serve.stop_seconds);
    tracing::info!(seconds = grace.as_secs(), "stopping: builds under way may finish");
    systemd.stopping(grace, beats);
    tokio::select! {
        _ = finish(&daemon, worker, grace)? => {},
        _ = terminate.recv() => daemon.stop_at_once(),
        _ = interrupt.recv() => daemon.stop_at_once(),
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

/// Opens the daemon's doors, to the network and in its data directory.
async fn listen(
    settings: &ServeSettings,
    data_dir: &Utf8Path,
) -> Result<(Doors, Listening), ServeError> {
    let address = settings.listen;
    if !address.ip().is_loopback() {
        return Err(ServeError::Exposed { address });
    }
    let failed = |source| ServeError::Listen { address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    let socket = data_dir.join("serve.sock");
    let doors = Doors::open(listener, &socket)
        .map_err(|source| ServeError::Socket { path: socket.clone(), source })?;
    Ok((doors, Listening { address }))
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

/// Other settings hold from now on, unless they are wrong.
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
            tracing::info!("the settings were read again");
        },
        Err(error) => tracing::error!(
            error = &error as &dyn std::error::Error,
            "the settings stay as they were"
        ),
    }
    systemd.ready();
}

/// One daemon for one store: the lock is held as long as the answer lives.
fn only_one(store: &Store) -> Result<NamedLock, ServeError> {
    let taken = || ServeError::Taken { data_dir: store.data_dir().to_owned() };
    let lock = NamedLock::try_take(&store.data_dir().join("serve.lock"));
    lock.map_err(ServeError::Machine)?.ok_or_else(taken)
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, ServeError> {
    std::thread::Builder::new().name(name.to_owned()).spawn(work).map_err(ServeError::Machine)
}

//! Everything that happens to images, told to whoever listens.
//!
//! One thread reads the event log of the store, which other processes write too, and passes on what is
//! new. A listener that came late, or cannot keep up, reads the log itself: nothing is missed.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use tokio::sync::broadcast;

use crate::images::{Event, EventKind, ImageId, Status, Store, StoreError};

/// Pause between two looks into the log.
const POLL: Duration = Duration::from_millis(25);
/// Events that a slow listener may lag behind before it reads the log itself.
const BACKLOG: usize = 4096;
/// Events that are read from the log at once.
const PAGE: usize = 500;

/// An event, made ready once for everybody who listens.
#[derive(Debug)]
pub(super) struct Told {
    /// Where it stands in the log; missing for what is not of an image and not kept.
    sequence: Option<u64>,
    image: Option<ImageId>,
    /// As it is sent: lines of `FIELD: VALUE`, then an empty one.
    pub(super) frame: String,
    /// Whether nothing more happens to the image but its deletion.
    pub(super) ends: bool,
}

impl From<&Event> for Told {
    fn from(event: &Event) -> Self {
        let json = serde_json::to_value(event).unwrap_or_default();
        let ends = match event.kind {
            EventKind::Transition { to, .. } => Status::is_terminal(to),
            _ => false,
        };
        let name = json["event"].as_str().unwrap_or("event");
        Self {
            sequence: Some(event.sequence),
            image: Some(event.image),
            frame: format!("event: {name}\ndata: {json}\nid: {}\n\n", event.sequence),
            ends,
        }
    }
}

/// The feed of one store.
#[derive(Debug)]
pub(super) struct Feed {
    store: Arc<Store>,
    news: broadcast::Sender<Arc<Told>>,
    /// Everything up to here has been passed on.
    position: AtomicU64,
    stopping: AtomicBool,
}

impl Feed {
    /// A feed of what happens from now on. Somebody must call [`Feed::run`].
    pub(super) fn open(store: Arc<Store>) -> Result<Arc<Self>, StoreError> {
        let position = AtomicU64::new(store.last_sequence()?);
        let (news, _) = broadcast::channel(BACKLOG);
        Ok(Arc::new(Self { store, news, position, stopping: AtomicBool::new(false) }))
    }

    /// Passes on what is new until [`Feed::stop`] is called.
    pub(super) fn run(&self) {
        while !self.stopping.load(Ordering::Relaxed) {
            let after = self.position.load(Ordering::SeqCst);
            match self.store.events_since(&[], after, PAGE) {
                Ok(events) if events.is_empty() => thread::sleep(POLL),
                Ok(events) => {
                    for event in &events {
                        // Nobody may be listening.
                        drop(self.news.send(Arc::new(Told::from(event))));
                        self.position.store(event.sequence, Ordering::SeqCst);
                    }
                },
                Err(error) => {
                    tracing::error!(error = &error as &dyn std::error::Error, "events are late");
                    thread::sleep(Duration::from_secs(1));
                },
            }
        }
    }

    /// Tells those who listen to everything of something that is not kept.
    pub(super) fn announce(&self, name: &str, document: &impl serde::Serialize) {
        let json = serde_json::to_string(document).unwrap_or_default();
        let frame = format!("event: {name}\ndata: {json}\n\n");
        let told = Told { sequence: None, image: None, frame, ends: false };
        // Nobody may be listening.
        drop(self.news.send(Arc::new(told)));
    }

    /// Ends [`Feed::run`].
    pub(super) fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    /// The sequence number of the newest event that was passed on.
    pub(super) fn position(&self) -> u64 {
        self.position.load(Ordering::SeqCst)
    }

    /// Number of listeners.
    pub(super) fn listeners(&self) -> usize {
        self.news.receiver_count()
    }

    /// Listens to `images`, or to all when there are none, from the event after `after` on.
    pub(super) fn listen(self: &Arc<Self>, images: Vec<ImageId>, after: u64) -> Listener {
        Listener {
            news: self.news.subscribe(),
            feed: Arc::clone(self),
            images,
            after,
            read: VecDeque::new(),
            behind: true,
            follows: true,
        }
    }
}

/// Somebody who listens.
#[derive(Debug)]
pub(super) struct Listener {
    feed: Arc<Feed>,
    news: broadcast::Receiver<Arc<Told>>,
    /// Those that are wanted; all when there are none.
    images: Vec<ImageId>,
    after: u64,
    /// Read from the log and not yet handed out.
    read: VecDeque<Arc<Told>>,
    behind: bool,
    /// Whether it waits for what comes.
    follows: bool,
}

impl Listener {
    /// Hears what the log holds now, and nothing that comes later.
    pub(super) fn stop_following(&mut self) {
        self.follows = false;
        self.behind = true;
    }

    /// The next event; `None` when the daemon stops, or when nobody wants to wait for one.
    ///
    /// # Errors
    /// The log does not read.
    pub(super) async fn next(&mut self) -> Result<Option<Arc<Told>>, StoreError> {
        loop {
            while let Some(told) = self.read.pop_front() {
                if let Some(told) = self.take(told) {
                    return Ok(Some(told));
                }
            }
            if self.behind {
                self.catch_up().await?;
                continue;
            }
            if !self.follows {
                return Ok(None);
            }
            match self.news.recv().await {
                Ok(told) => {
                    if let Some(told) = self.take(told) {
                        return Ok(Some(told));
                    }
                },
                Err(broadcast::error::RecvError::Lagged(_)) => self.behind = true,
                Err(broadcast::error::RecvError::Closed) => return Ok(None),
            }
        }
    }

    /// The next event, if it is here already.
    pub(super) fn at_once(&mut self) -> Option<Arc<Told>> {
        loop {
            let told = match self.read.pop_front() {
                Some(told) => told,
                None if self.behind || !self.follows => return None,
                None => match self.news.try_recv() {
                    Ok(told) => told,
                    Err(broadcast::error::TryRecvError::Lagged(_)) => {
                        self.behind = true;
                        return None;
                    },
                    Err(_) => return None,
                },
            };
            let told = self.take(told);
            if told.is_some() {
                return told;
            }
        }
    }

    /// Each event once, and only those that are wanted.
    fn take(&mut self, told: Arc<Told>) -> Option<Arc<Told>> {
        if let Some(sequence) = told.sequence {
            if sequence <= self.after {
                return None;
            }
            self.after = sequence;
        }
        let is_wanted = |image| self.images.contains(&image);
        (self.images.is_empty() || told.image.is_some_and(is_wanted)).then_some(told)
    }

    async fn catch_up(&mut self) -> Result<(), StoreError> {
        let (feed, after) = (Arc::clone(&self.feed), self.after);
        let images = self.images.clone();
        let read = move || feed.store.events_since(&images, after, PAGE);
        let events = match tokio::task::spawn_blocking(read).await {
            Ok(events) => events?,
            // The runtime is going down.
            Err(_) => Vec::new(),
        };
        self.behind = events.len() == PAGE;
        self.read.extend(events.iter().map(|event| Arc::new(Told::from(event))));
        Ok(())
    }
}

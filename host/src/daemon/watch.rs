//! Sees at once when a plugin is dropped, swapped or removed.
//!
//! The kernel tells of changes in `plugins.d` and in every directory that a plugin's links and library lie
//! in; each batch of news has the directory read again. What the kernel cannot tell, because there are too many
//! watches or too much news, is found by looking: then every second, and else now and then.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use notify::event::{AccessKind, AccessMode};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};

use super::site::Site;

/// Time between two looks when the kernel does not tell.
const LOOK: Duration = Duration::from_secs(1);
/// Time between two looks when it does: a network file system changes without its knowledge.
const LOOK_ANYWAY: Duration = Duration::from_secs(30);
/// Longest time without asking whether to stop.
const BREATH: Duration = Duration::from_millis(250);

/// The watch over one site.
#[derive(Debug)]
pub(super) struct Watch {
    site: Arc<Site>,
    /// Why the kernel does not tell of every change.
    blind: Mutex<Option<String>>,
    stopping: AtomicBool,
}

type News = notify::Result<Event>;

impl Watch {
    /// A watch over `site`. Somebody must call [`Watch::run`].
    pub(super) fn new(site: Arc<Site>) -> Arc<Self> {
        Arc::new(Self { site, blind: Mutex::new(None), stopping: AtomicBool::new(false) })
    }

    /// Why changes are found by looking only; `None` when the kernel tells of them.
    pub(super) fn blind(&self) -> Option<String> {
        self.blind.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Ends [`Watch::run`].
    pub(super) fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    /// Watches until [`Watch::stop`] is called.
    pub(super) fn run(&self) {
        let (sender, news) = mpsc::channel::<News>();
        let mut watches = match notify::recommended_watcher(sender) {
            Ok(watcher) => Some(Watches { watcher, watched: HashSet::new() }),
            Err(error) => {
                self.set_blind(Some(error.to_string()));
                None
            },
        };
        let mut looked = Instant::now();
        // What changed while the daemon started is found by the first look.
        let mut changed = true;
        while !self.stopping.load(Ordering::Relaxed) {
            if changed {
                looked = Instant::now();
                self.site.look();
                if let Some(watches) = &mut watches {
                    self.keep_watching(watches);
                }
            }
            let patience = if self.blind().is_some() { LOOK } else { LOOK_ANYWAY };
            changed = wait(&news) || looked.elapsed() >= patience;
        }
    }

    /// Watches what is to be watched now; looks again when a watch is new, since something may have changed
    /// before it.
    fn keep_watching(&self, watches: &mut Watches) {
        loop {
            let (added, problem) = watches.follow(self.site.directories());
            self.set_blind(problem);
            if !added {
                return;
            }
            self.site.look();
        }
    }

    fn set_blind(&self, why: Option<String>) {
        let mut blind = self.blind.lock().unwrap_or_else(PoisonError::into_inner);
        if *blind != why {
            let by = if why.is_some() { "looking every second" } else { "the kernel" };
            tracing::info!(by, why = why.as_deref().unwrap_or_default(), "plugins are watched");
        }
        *blind = why;
    }
}

/// Whether there is news of a change; takes all that has come.
fn wait(news: &Receiver<News>) -> bool {
    let first = match news.recv_timeout(BREATH) {
        Ok(first) => first,
        Err(RecvTimeoutError::Timeout) => return false,
        Err(RecvTimeoutError::Disconnected) => {
            std::thread::sleep(BREATH);
            return false;
        },
    };
    let mut changed = is_change(&first);
    while let Ok(next) = news.try_recv() {
        changed |= is_change(&next);
    }
    changed
}

/// Reading is none, though the kernel tells of it. An overflow is one: anything may have changed.
fn is_change(news: &News) -> bool {
    match news {
        Ok(event) if event.need_rescan() => true,
        Ok(event) => match event.kind {
            EventKind::Access(AccessKind::Close(AccessMode::Write)) => true,
            EventKind::Access(_) => false,
            _ => true,
        },
        Err(_) => true,
    }
}

/// What the kernel watches.
struct Watches {
    watcher: RecommendedWatcher,
    watched: HashSet<PathBuf>,
}

impl Watches {
    /// Watches exactly `directories`; whether one is new, and why one cannot be watched.
    fn follow(&mut self, directories: HashSet<PathBuf>) -> (bool, Option<String>) {
        let stale: Vec<PathBuf> = self.watched.difference(&directories).cloned().collect();
        for directory in stale {
            // It may be gone, and its watch with it.
            drop(self.watcher.unwatch(&directory));
            self.watched.remove(&directory);
        }
        let (mut added, mut problem) = (false, None);
        for directory in directories {
            if self.watched.contains(&directory) {
                continue;
            }
            match self.watcher.watch(&directory, RecursiveMode::NonRecursive) {
                Ok(()) => {
                    added = true;
                    self.watched.insert(directory);
                },
                Err(error) => problem = Some(format!("{}: {error}", directory.display())),
            }
        }
        (added, problem)
    }
}

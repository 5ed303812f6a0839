//! Callbacks: receivers are told, by HTTP `PUT`, of every change of state of the images of a job.
//!
//! The store holds what is to be told, in order; one thread looks for it and gives each receiver that has
//! something to hear to a [`courier`]. A callback has one courier at a time, so that its messages
//! arrive in order, and none while it waits for its next attempt. Builds know nothing of all this: a
//! receiver that is slow or gone holds up nobody but itself.

mod courier;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::site::Site;
use crate::factory::{CallbackAddress, Queue, Surroundings};
use crate::images::{Message, Store, StoreError};
use crate::seal::fill_random;
use crate::settings::CallbackSettings;
use courier::Courier;

/// Pause between two looks for messages.
const POLL: Duration = Duration::from_millis(50);
/// Receivers that are told at once.
const MAX_COURIERS: usize = 32;
/// Callbacks that are told at once at the same scheme, host and port.
const MAX_PER_ORIGIN: usize = 4;
/// Pause after the first attempt; it doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// Longest pause between two attempts.
const LONGEST_PAUSE: Duration = Duration::from_mins(5);

/// The callbacks of one store.
#[derive(Debug)]
pub(super) struct Callbacks {
    /// A connection of its own: builds do not wait for it.
    store: Store,
    queue: Arc<Queue>,
    site: Arc<Site>,
    receivers: Mutex<HashMap<i64, Receiver>>,
    changed: Condvar,
    stopping: AtomicBool,
}

/// What is known of a callback that has something to tell.
#[derive(Debug)]
struct Receiver {
    job: String,
    address: Arc<CallbackAddress>,
    is_busy: bool,
    /// When it may be tried next.
    due: Instant,
}

impl Callbacks {
    /// Somebody must call [`Callbacks::run`].
    pub(super) fn open(store: Store, queue: Arc<Queue>, site: Arc<Site>) -> Arc<Self> {
        Arc::new(Self {
            store,
            queue,
            site,
            receivers: Mutex::default(),
            changed: Condvar::new(),
            stopping: AtomicBool::new(false),
        })
    }

    /// Tells whoever is to be told, until [`Callbacks::stop`] is called.
    pub(super) fn run(self: &Arc<Self>) {
        let mut pause = POLL;
        while !self.stopping.load(Ordering::Relaxed) {
            pause = match self.look() {
                Ok(()) => POLL,
                Err(error) => {
                    tracing::error!(error = &error as &dyn std::error::Error, "callbacks are late");
                    (pause * 2).min(Duration::from_secs(5))
                },
            };
            let waited = self.changed.wait_timeout(self.receivers(), pause);
            drop(waited.unwrap_or_else(PoisonError::into_inner));
        }
    }

    /// Ends [`Callbacks::run`]. Messages that are being sent are sent again after the next start, unless they
    /// are acknowledged before the process ends.
    pub(super) fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
        self.changed.notify_all();
    }

    /// Gives those receivers to couriers that have something to hear, and may be told now.
    fn look(self: &Arc<Self>) -> Result<(), StoreError> {
        let waiting = self.store.callbacks_to_tell()?;
        let mut receivers = self.receivers();
        receivers.retain(|id, receiver| receiver.is_busy || waiting.binary_search(id).is_ok());
        let now = Instant::now();
        for id in waiting {
            if !receivers.contains_key(&id)
                && let Some(receiver) = self.receiver(id)?
            {
                receivers.insert(id, receiver);
            }
            let Some(receiver) = receivers.get(&id) else { continue };
            if receiver.is_busy || receiver.due > now {
                continue;
            }
            let busy = receivers.values().filter(|receiver| receiver.is_busy);
            if busy.clone().count() >= MAX_COURIERS {
                break;
            }
            let origin = receiver.address.origin();
            if busy.filter(|busy| busy.address.origin() == origin).count() >= MAX_PER_ORIGIN {
                continue;
            }
            let (job, address) = (receiver.job.clone(), Arc::clone(&receiver.address));
            let mut round = Round { callbacks: Arc::clone(self), id, pause: LONGEST_PAUSE };
            let started = thread::Builder::new()
                .name(format!("callback {id}"))
                .spawn(move || round.go(&job, &address));
            match (started, receivers.get_mut(&id)) {
                (Ok(_), Some(receiver)) => receiver.is_busy = true,
                (Err(error), _) => tracing::warn!(%error, "cannot start a thread for a callback"),
                (Ok(_), None) => {},
            }
        }
        Ok(())
    }

    /// Tells a receiver what is to be told; answers how long it is to be left alone then.
    fn tell(&self, id: i64, job: &str, address: &CallbackAddress) -> Duration {
        let settings = self.site.settings().serve.callbacks.clone();
        let courier = Courier::new(&settings);
        while !self.stopping.load(Ordering::Relaxed) {
            let told = self.tell_next(id, &settings, |message| courier.put(address, job, message));
            match told {
                Ok(None) => {},
                Ok(Some(pause)) => return pause,
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::error!(error, callback = id, "a callback is late");
                    return Duration::from_secs(1);
                },
            }
        }
        Duration::ZERO
    }

    /// Sends the message that is next. Answers a pause when there is none or it did not arrive.
    fn tell_next(
        &self,
        id: i64,
        settings: &CallbackSettings,
        put: impl FnOnce(&Message) -> Result<(), String>,
    ) -> Result<Option<Duration>, StoreError> {
        let Some(message) = self.store.next_message(id)? else { return Ok(Some(Duration::ZERO)) };
        let Err(why) = put(&message) else {
            self.store.message_delivered(&message)?;
            return Ok(None);
        };
        let attempts = message.attempts + 1;
        let give_up = attempts >= settings.attempts;
        self.store.message_refused(&message, &why, give_up)?;
        let image = message.event.image;
        if give_up {
            tracing::warn!(callback = id, %image, attempts, why, "a callback was given up");
            return Ok(None);
        }
        tracing::debug!(callback = id, %image, attempts, why, "a callback did not arrive");
        Ok(Some(pause_after(attempts)))
    }

    /// The receiver `id`. One whose address does not open any more is given up.
    fn receiver(&self, id: i64) -> Result<Option<Receiver>, StoreError> {
        let (job, sealed) = self.store.callback_address(id)?;
        match CallbackAddress::unseal(self.queue.sealer(), &sealed) {
            Ok(address) => Ok(Some(Receiver {
                job,
                address: Arc::new(address),
                is_busy: false,
                due: Instant::now(),
            })),
            Err(error) => {
                while let Some(message) = self.store.next_message(id)? {
                    self.store.message_refused(&message, &error.to_string(), true)?;
                }
                Ok(None)
            },
        }
    }

    fn receivers(&self) -> MutexGuard<'_, HashMap<i64, Receiver>> {
        self.receivers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A receiver is being told; it is free again once this is dropped, however that comes.
#[derive(Debug)]
struct Round {
    callbacks: Arc<Callbacks>,
    id: i64,
    /// How long it is to be left alone.
    pause: Duration,
}

impl Round {
    fn go(&mut self, job: &str, address: &CallbackAddress) {
        self.pause = self.callbacks.tell(self.id, job, address);
    }
}

impl Drop for Round {
    fn drop(&mut self) {
        if let Some(receiver) = self.callbacks.receivers().get_mut(&self.id) {
            receiver.is_busy = false;
            receiver.due = Instant::now() + self.pause;
        }
        self.callbacks.changed.notify_all();
    }
}

/// Pause after so many attempts: twice as long each time, less up to half of it, so that callbacks
/// which failed together do not come back together.
fn pause_after(attempts: u32) -> Duration {
    let doubled = FIRST_PAUSE.saturating_mul(1 << attempts.saturating_sub(1).min(20));
    let pause = doubled.min(LONGEST_PAUSE);
    let mut random = [0];
    // Without random bytes the pause is merely longer.
    drop(fill_random(&mut random));
    pause / 2 + pause / 2 * u32::from(random[0]) / 256
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_limit_and_differ_by_up_to_half() {
        for attempts in 1..40 {
            let most = FIRST_PAUSE.saturating_mul(1 << (attempts - 1).min(20)).min(LONGEST_PAUSE);
            let pause = pause_after(attempts);
            assert!(pause <= most && pause >= most / 2, "{attempts}: {pause:?}");
        }
        assert_eq!(FIRST_PAUSE.saturating_mul(1 << 20).min(LONGEST_PAUSE), LONGEST_PAUSE);
    }
}

//! Deletes images, and what a provider holds of them.
//!
//! What concerns the store alone is done when the answer is given. A provider may take its time: its
//! image is `DELETING` meanwhile, and the daemon does not end before that is over.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use serde::Deserialize;
use utoipa::ToSchema;

use super::Daemon;
use super::problem::Problem;
use crate::factory::order::Delivery;
use crate::factory::{Deleter, QueueError, Surroundings};
use crate::failures::{Exit, Failure};
use crate::images::{DeleteMode, ImageId, ImageRecord, Store, StoreError};

/// Time that whoever built an image has to let go of it, once everybody can see that it has ended.
const LET_GO: Duration = Duration::from_secs(5);
/// Time between two looks whether it has.
const LET_GO_POLL: Duration = Duration::from_millis(10);

/// How to reach the provider of an image. What is missing is taken from its record.
#[derive(Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ProviderAccess {
    /// The provider, as its plugin reads it.
    #[serde(default)]
    pub(super) provider: Option<String>,
    /// Credentials for the provider. They are not in any record.
    #[serde(default)]
    pub(super) credentials: Option<String>,
    /// Do not ask the provider: what it has stays there.
    #[serde(default)]
    pub(super) leave_at_provider: bool,
}

impl std::fmt::Debug for ProviderAccess {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ProviderAccess").finish_non_exhaustive()
    }
}

/// Deletions that providers are busy with.
#[derive(Debug, Default)]
pub(super) struct Deletions {
    under_way: Mutex<usize>,
    ended: Condvar,
    cancelling: AtomicBool,
}

impl Deletions {
    /// Waits for all of them until `end`, then cancels what is left, and waits for that.
    pub(super) fn stop(&self, end: Instant) {
        let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        while *under_way > 0 {
            let left = end.saturating_duration_since(Instant::now());
            under_way = if left.is_zero() {
                self.cancel();
                self.ended.wait(under_way).unwrap_or_else(PoisonError::into_inner)
            } else {
                let waited = self.ended.wait_timeout(under_way, left);
                waited.unwrap_or_else(PoisonError::into_inner).0
            };
        }
    }

    /// Cancels all of them.
    pub(super) fn cancel(&self) {
        self.cancelling.store(true, Ordering::SeqCst);
    }

    fn count(&self, change: impl FnOnce(&mut usize)) {
        change(&mut self.under_way.lock().unwrap_or_else(PoisonError::into_inner));
        self.ended.notify_all();
    }
}

/// Counts as under way until it is dropped.
struct UnderWay(Arc<Daemon>);

impl UnderWay {
    fn begin(daemon: &Arc<Daemon>) -> Self {
        daemon.deletions.count(|under_way| *under_way += 1);
        Self(Arc::clone(daemon))
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.deletions.count(|under_way| *under_way = under_way.saturating_sub(1));
    }
}

/// Deletes `id`, and what `mode` takes along. Answers once everything is gone, or a provider is being
/// asked; how that ends is in the record.
pub(super) fn delete(
    daemon: &Arc<Daemon>,
    id: ImageId,
    mode: DeleteMode,
    access: ProviderAccess,
) -> Result<(), Problem> {
    if daemon.queue.is_stopping() {
        return Err(QueueError::Stopping.into());
    }
    let order = daemon.store.deletion_order(id, mode)?;
    for record in &order {
        free(&daemon.store, record)?;
    }
    let under_way = UnderWay::begin(daemon);
    let (answer, answered) = mpsc::channel();
    let work = move || {
        let asking_provider = || drop(answer.send(Ok(())));
        let outcome = delete_all(&under_way.0, order, mode, &access, &asking_provider);
        // Nobody hears it when the answer was given before.
        drop(answer.send(outcome));
    };
    let name = format!("delete {}", id.short());
    let spawned = thread::Builder::new().name(name).spawn(work);
    spawned.map_err(|error| Failure::from_error(Exit::Internal, &error))?;
    let died = || Problem::new(Exit::Internal, "the deletion ended in a defect of the daemon");
    answered.recv().unwrap_or_else(|_| Err(died()))
}

/// Makes sure that nobody works on an image. One that has just ended is let go of in a moment.
fn free(store: &Store, record: &ImageRecord) -> Result<(), StoreError> {
    let end = Instant::now() + LET_GO;
    while store.is_owned(record.id)? {
        if !record.status.is_terminal() || Instant::now() >= end {
            return Err(StoreError::InUse { id: record.id });
        }
        thread::sleep(LET_GO_POLL);
    }
    Ok(())
}

fn delete_all(
    daemon: &Arc<Daemon>,
    order: Vec<ImageRecord>,
    mode: DeleteMode,
    access: &ProviderAccess,
    asking_provider: &dyn Fn(),
) -> Result<(), Problem> {
    for record in order {
        let deletion = daemon.store.begin_delete(record.id, mode)?;
        if deletion.needs_provider() && !access.leave_at_provider {
            asking_provider();
            let (provider, credentials) =
                (access.provider.as_deref(), access.credentials.as_deref());
            let delivery = Delivery::of_image(&record, provider, credentials);
            let (registry, settings) = (daemon.site.registry(), daemon.site.settings());
            let cancelled = || daemon.deletions.cancelling.load(Ordering::SeqCst);
            let deleter = Deleter::new(&registry, &daemon.store, &settings, &cancelled).remote();
            if let Err(error) = deleter.delete_from_provider(&record, &delivery) {
                tracing::warn!(image = %record.id, %error, "a provider does not delete it");
                deletion.fail((&error).into())?;
                return Err(Failure::from(&error).into());
            }
        }
        deletion.finish()?;
    }
    Ok(())
}

//! Works the queue off: starts jobs, takes up their images, ends them.

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use plugin_api::DelegateErrorKind;

use super::waiting::{self, Waiting};
use super::{JOBS_PER_SLOT, POLL, Queue, QueueError, State};
use crate::factory::failure;
use crate::factory::notice::NoObserver;
use crate::factory::plan::Plan;
use crate::factory::request::RequestError;
use crate::factory::run::Factory;
use crate::failures;
use crate::images::{Failure, ImageId, JobId, JobState, OwnedImage, Status, StoreError, Update};
use crate::process::give_way;

/// Time between two looks at whether there is disk space for a job.
const ROOM_POLL: Duration = Duration::from_secs(1);

impl Queue {
    /// Starts jobs until [`Queue::stop`] is called and all of them have ended.
    pub fn run(self: &Arc<Self>) {
        loop {
            *self.last_look.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
            let mut state = self.state();
            if self.is_stopping() && state.running.is_empty() {
                return;
            }
            if let Some(job) = self.next(&mut state) {
                drop(state);
                if self.start(job) {
                    continue;
                }
                state = self.state();
            }
            let waited = self.changed.wait_timeout(state, POLL);
            drop(waited.unwrap_or_else(PoisonError::into_inner));
            self.end_cancelled();
            self.end_waits();
        }
    }

    /// Gives a job its thread; answers whether there is one. Without it the job is the first to wait.
    fn start(self: &Arc<Self>, job: Waiting) -> bool {
        let name = format!("job {}", job.id.short());
        let (queue, job) = (Arc::clone(self), Arc::new(job));
        let its = Arc::clone(&job);
        let started = thread::Builder::new().name(name).spawn(move || {
            // However it ends, its place is free again.
            let _running = Running { queue: &queue, id: its.id };
            queue.work(&its);
        });
        let Err(error) = started else { return true };
        tracing::error!(%error, job = %job.id, "cannot start a thread; it stays queued");
        let mut state = self.state();
        state.running.retain(|(running, _)| *running != job.id);
        state.waiting.extend(Arc::into_inner(job));
        state.waiting.rotate_right(1);
        false
    }

    /// The job whose turn it is, if one may start.
    fn next(&self, state: &mut State) -> Option<Waiting> {
        let slots = self.surroundings.settings().serve.slots;
        let most = JOBS_PER_SLOT * (slots.build + slots.convert + slots.push).max(1);
        if self.is_stopping() || state.running.len() >= most {
            return None;
        }
        let busy: Vec<&str> = state.running.iter().map(|(_, user)| user.as_str()).collect();
        let job = waiting::first(&state.waiting, &busy)?;
        let job = state.waiting.remove(job);
        state.running.push((job.id, job.user.clone()));
        Some(job)
    }

    /// Lets those jobs have their turn whose parent has ended.
    fn end_waits(&self) {
        let mut parents: Vec<ImageId> =
            self.state().waiting.iter().filter_map(|job| job.parent).collect();
        parents.sort_unstable();
        parents.dedup();
        parents.retain(|parent| matches!(waiting::is_under_way(&self.store, *parent), Ok(false)));
        for job in &mut self.state().waiting {
            job.parent = job.parent.filter(|parent| !parents.contains(parent));
        }
    }

    /// Ends images of jobs that wait when somebody asked to cancel them, or what they are made from.
    fn end_cancelled(&self) {
        let Ok(cancelled) = self.store.cancel_requests() else { return };
        let cancelled: HashSet<ImageId> = cancelled.into_iter().collect();
        let is_touched = |job: &&Waiting| job.images.iter().any(|image| cancelled.contains(image));
        let touched: Vec<(JobId, Vec<ImageId>)> = (self.state().waiting.iter())
            .filter(is_touched)
            .map(|job| (job.id, job.images.clone()))
            .collect();
        for (id, images) in touched {
            let unwanted = self.unwanted(&images, &cancelled);
            let mut state = self.state();
            let Some(position) = state.waiting.iter().position(|job| job.id == id) else {
                continue;
            };
            if unwanted.len() == images.len() {
                state.waiting.remove(position);
                drop(state);
                self.cancel(id, &images);
            } else {
                state.waiting[position].images.retain(|image| !unwanted.contains(image));
                drop(state);
                self.cancel_some(id, &unwanted);
            }
        }
    }

    /// Those of `images`, lowest tier first, that are cancelled or made from one of them that is.
    fn unwanted(&self, images: &[ImageId], cancelled: &HashSet<ImageId>) -> Vec<ImageId> {
        let mut unwanted = Vec::new();
        for image in images {
            let record = self.store.get(*image).ok();
            let parent = record.and_then(|record| record.target_image_id.or(record.base_image_id));
            if cancelled.contains(image) || parent.is_some_and(|parent| unwanted.contains(&parent))
            {
                unwanted.push(*image);
            }
        }
        unwanted
    }

    /// Runs one job to its end, in a thread of its own.
    fn work(&self, job: &Waiting) {
        // Whoever asks is answered first.
        give_way("job");
        // A panic ends one job. What it shares with others stays sound: the store rolls back.
        let (status, failure) = match catch_unwind(AssertUnwindSafe(|| self.try_work(job))) {
            Ok(Ok(())) => return,
            Ok(Err(error)) => {
                tracing::error!(job = %job.id, error = &error as &dyn std::error::Error, "a job failed");
                end_of(&error)
            },
            Err(panic) => (Status::Failed, failure::internal(&*panic)),
        };
        self.finish(job.id, &job.images, |image| self.end(image, status, &failure));
    }

    fn try_work(&self, job: &Waiting) -> Result<(), QueueError> {
        let record = self.store.job(job.id)?;
        let mut images = job.images.clone();
        let plan = loop {
            let rest = self.rest(&record, &images)?;
            match self.plan_rest(&rest) {
                Ok(plan) => break plan,
                // Nobody was heard out. It waits for the next start of the daemon.
                Err(QueueError::Refused(_)) if self.is_cancelling() => return Ok(()),
                Err(QueueError::Refused(refusal)) => {
                    // A plugin or a place that is gone meanwhile does not keep others from their images.
                    let Some(refused) = rest.refused(&refusal) else {
                        return Err(QueueError::Refused(refusal));
                    };
                    for (image, failure) in refused {
                        self.end(image, Status::Failed, &failure)?;
                        images.retain(|other| *other != image);
                    }
                },
                Err(error) => return Err(error),
            }
        };
        let Some(owned) = self.take_up(job.id, &images, &record.images, &plan)? else {
            // It waits for the next start of the daemon, or was cancelled while it waited for space.
            return Ok(());
        };
        let cancelled = || self.is_cancelling();
        let factory =
            Factory::new(&self.store, &NoObserver, &cancelled).with_slots(&self.slots, &job.user);
        let accepted = factory.resume(plan, owned)?;
        let built = factory.run(accepted)?;
        let mut images = record.images;
        for image in built.iter().map(|image| image.record.id) {
            if !images.contains(&image) {
                images.push(image);
            }
        }
        self.store.update_job(job.id, JobState::Done, &images)?;
        Ok(())
    }

    /// Makes the images of a job our own once there is disk space for them, which is promised to them from then
    /// on; `None` when the daemon stops first, or somebody cancels the job.
    fn take_up(
        &self,
        job: JobId,
        images: &[ImageId],
        all: &[ImageId],
        plan: &Plan,
    ) -> Result<Option<Vec<OwnedImage>>, QueueError> {
        loop {
            let promising = self.store.lock_room()?;
            match self.store.room_for(plan.reserved_bytes()) {
                Ok(_) => {
                    let owned = images.iter().map(|id| self.store.own(*id));
                    let owned = owned.collect::<Result<_, _>>()?;
                    self.store.update_job(job, JobState::Running, all)?;
                    return Ok(Some(owned));
                },
                Err(StoreError::NoRoom { .. }) => {},
                Err(error) => return Err(error.into()),
            }
            drop(promising);
            if self.is_stopping() {
                return Ok(None);
            }
            let cancelled = self.store.cancel_requests()?.into_iter().collect();
            if self.unwanted(images, &cancelled).len() == images.len() {
                self.cancel(job, images);
                return Ok(None);
            }
            thread::sleep(ROOM_POLL);
        }
    }

    /// Ends a job that somebody cancelled before it began.
    fn cancel(&self, id: JobId, images: &[ImageId]) {
        self.finish(id, images, |image| {
            self.end(image, Status::Cancelled, &failure::cancelled_early())
        });
    }

    /// Ends some images of a job that goes on waiting.
    fn cancel_some(&self, id: JobId, images: &[ImageId]) {
        let end = |image| self.end(image, Status::Cancelled, &failure::cancelled_early());
        if let Err(error) = images.iter().copied().try_for_each(end) {
            // They end when the job is worked on.
            tracing::error!(job = %id, error = &error as &dyn std::error::Error, "images are not ended");
        }
    }

    /// Ends a job whose images do not get built.
    fn finish(
        &self,
        id: JobId,
        images: &[ImageId],
        end: impl Fn(ImageId) -> Result<(), StoreError>,
    ) {
        let ended = images.iter().try_for_each(|image| end(*image));
        let ended = ended.and_then(|()| {
            let images = self.store.job(id)?.images;
            self.store.update_job(id, JobState::Done, &images)
        });
        if let Err(error) = ended {
            // The next start of the daemon settles it.
            tracing::error!(job = %id, error = &error as &dyn std::error::Error, "a job is not ended");
        }
    }

    fn end(&self, image: ImageId, status: Status, failure: &Failure) -> Result<(), StoreError> {
        let owned = match self.store.own(image) {
            Err(StoreError::NotFound { .. }) => return Ok(()),
            other => other?,
        };
        if !owned.record.status.is_terminal() {
            self.store.transition(image, status, Update::from(failure.clone()))?;
        }
        self.store.release(owned)
    }
}

/// The place of a running job; free once this is dropped.
struct Running<'q> {
    queue: &'q Queue,
    id: JobId,
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.queue.state().running.retain(|(id, _)| *id != self.id);
        self.queue.changed.notify_all();
    }
}

/// How an image ends whose job could not be taken up, and what it says of that.
fn end_of(error: &QueueError) -> (Status, Failure) {
    let failure = match error {
        QueueError::Request(RequestError::NotComplete(parent)) => {
            return failure::as_its_parent(parent, error.to_string());
        },
        QueueError::Refused(refusal) => failure::refused(refusal.problems()),
        error => {
            let mut failure = Failure::new(DelegateErrorKind::Failed, error.to_string());
            failure.causes.extend(failures::causes(error));
            failure
        },
    };
    (Status::Failed, failure)
}

#[cfg(test)]
mod tests {
    use plugin_api::Tier;

    use super::*;
    use crate::factory::queue::Surroundings;
    use crate::factory::request::BuildRequest;
    use crate::images::{NewImage, NewJob, Store};
    use crate::plugins::Registry;
    use crate::settings::Settings;

    const TEMPLATE: &str = "<template><name>t</name><os><name>A</name><version>1</version>\
        <arch>x86_64</arch><install type='url'><url>http://a.example/</url></install></os></template>";

    /// A defect of ours: no job gets as far as its plugins.
    struct Defect;

    impl Surroundings for Defect {
        fn registry(&self) -> Arc<Registry> {
            panic!("a defect of ours")
        }

        fn settings(&self) -> Arc<Settings> {
            Arc::default()
        }
    }

    #[test]
    fn a_panic_of_ours_ends_one_job_with_an_internal_error() {
        let folder = tempfile::tempdir().unwrap();
        let store = Arc::new(Store::open(folder.path().try_into().unwrap()).unwrap());
        let queue = Queue::open(Arc::clone(&store), Arc::new(Defect)).unwrap();
        let owned = store.create(NewImage::new(Tier::Base, "test")).unwrap();
        let image = owned.id();
        store.transition(image, Status::Pending, Update::default()).unwrap();
        store.release(owned).unwrap();
        let request = BuildRequest { template: Some(TEMPLATE.to_owned()), ..Default::default() };
        let request = queue.sealer().seal(&serde_json::to_vec(&request).unwrap()).unwrap();
        let (user, images) = ("ada".to_owned(), vec![image]);
        let job = NewJob {
            user: user.clone(),
            images: images.clone(),
            made: images.clone(),
            request,
            idempotency_key: None,
            callbacks: Vec::new(),
        };
        let id = store.add_job(job).unwrap().id;
        queue.work(&Waiting { id, user, images, parent: None });
        let record = store.get(image).unwrap();
        assert_eq!(record.status, Status::Failed);
        let error = record.status_detail.error.unwrap();
        assert_eq!(error, "internal error: a defect of ours");
        assert_eq!(store.job(id).unwrap().state, JobState::Done);
    }
}

//! The queue: accepts requests, keeps them over restarts, and works them off.
//!
//! Accepting plans the request, makes its records and writes the job down; from then on every image of it
//! ends in a terminal state, whatever becomes of this process. One thread starts jobs, fair between
//! users; each job runs in a thread of its own, where its images wait for their [`Slots`]. A
//! job is planned again when it starts: the plugins that are linked then are the ones that build.
//! One that is made from an unfinished image waits for that image, and ends as it does.

mod rest;
mod waiting;
mod work;

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::notice::NoObserver;
use super::order::Order;
use super::plan::{Plan, Refusal};
use super::request::{BuildRequest, RequestError};
use super::run::Factory;
use super::slots::Slots;
use super::{Planner, callback};
use crate::failures::{self, Exit};
use crate::images::{ImageId, Job, JobId, JobState, NewJob, Store, StoreError};
use crate::plugins::Registry;
use crate::seal::{SealError, Sealer};
use crate::settings::Settings;
use rest::Rest;
use waiting::Waiting;

/// Jobs that run at once for each slot: while one waits for its turn, another can be prepared.
const JOBS_PER_SLOT: usize = 2;
/// Time between two looks of the starter at requests to cancel.
const POLL: Duration = Duration::from_millis(200);

/// What the queue works with; asked anew for each job.
pub trait Surroundings: Send + Sync {
    /// The plugins that are linked now.
    fn registry(&self) -> Arc<Registry>;
    /// The settings that hold now.
    fn settings(&self) -> Arc<Settings>;
}

/// A request that was accepted.
#[derive(Debug)]
pub struct Submission {
    /// Its job; missing when everything that was asked for is there already.
    pub job: Option<JobId>,
    /// Its images, lowest tier first: one that is used again, and those that will be made.
    pub images: Vec<ImageId>,
    /// The plan by which it was accepted; missing for a request that was accepted before.
    pub plan: Option<Plan>,
}

/// Why a request is not accepted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum QueueError {
    /// It does not say what is wanted.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// It cannot work, for one or more reasons.
    #[error("the request cannot work")]
    Refused(Refusal),
    /// It cannot be written down.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It cannot be sealed.
    #[error("the request cannot be kept")]
    Seal(#[from] SealError),
    /// No more requests are taken.
    #[error("the daemon is stopping")]
    Stopping,
}

#[derive(Debug, Default)]
struct State {
    /// In the order in which they came.
    waiting: Vec<Waiting>,
    /// Users of running jobs, each as often as it has one.
    running: Vec<(JobId, String)>,
}

/// The queue of one store. Only one process may have it.
pub struct Queue {
    store: Arc<Store>,
    surroundings: Arc<dyn Surroundings>,
    sealer: Sealer,
    slots: Slots,
    state: Mutex<State>,
    changed: Condvar,
    /// Idempotency keys, with their users, under which something is being accepted: each is used once.
    accepting: Mutex<HashSet<(String, String)>>,
    accepted: Condvar,
    stopping: AtomicBool,
    cancelling: AtomicBool,
    last_look: Mutex<Instant>,
}

impl Queue {
    /// The queue of `store`, with what was accepted before. Call [`Queue::run`] next.
    ///
    /// # Errors
    /// Failures of the data directory.
    pub fn open(
        store: Arc<Store>,
        surroundings: Arc<dyn Surroundings>,
    ) -> Result<Arc<Self>, QueueError> {
        let sealer = Sealer::open(&store.data_dir().join("seal.key"))?;
        let slots = Slots::new(surroundings.settings().serve.slots);
        let mut waiting = Vec::new();
        // What had begun comes first.
        let mut unfinished = store.jobs(JobState::Running)?;
        unfinished.extend(store.jobs(JobState::Queued)?);
        for Job { id, user, made, .. } in unfinished {
            let mut to_make = Vec::new();
            for image in made {
                match store.get(image) {
                    Ok(record) if !record.status.is_terminal() => to_make.push(image),
                    Ok(_) | Err(StoreError::NotFound { .. }) => {},
                    Err(error) => return Err(error.into()),
                }
            }
            let parent = waiting::parent_of(&store, &to_make)?;
            waiting.push(Waiting { id, user, images: to_make, parent });
        }
        Ok(Arc::new(Self {
            store,
            surroundings,
            sealer,
            slots,
            state: Mutex::new(State { waiting, running: Vec::new() }),
            changed: Condvar::new(),
            accepting: Mutex::default(),
            accepted: Condvar::new(),
            stopping: AtomicBool::new(false),
            cancelling: AtomicBool::new(false),
            last_look: Mutex::new(Instant::now()),
        }))
    }

    /// What requests are sealed with.
    pub fn sealer(&self) -> &Sealer {
        &self.sealer
    }

    /// The slots.
    pub fn slots(&self) -> &Slots {
        &self.slots
    }

    /// The plan for `request`, by which it would be accepted.
    ///
    /// # Errors
    /// Every reason against it.
    pub fn plan(&self, request: &BuildRequest) -> Result<Plan, QueueError> {
        self.plan_order(&request.to_order(&self.store, &self.surroundings.settings())?)
    }

    /// The plan for what is left of a request.
    fn plan_rest(&self, rest: &Rest) -> Result<Plan, QueueError> {
        let mut order = rest.request.to_order(&self.store, &self.surroundings.settings())?;
        order.so_far = rest.so_far.clone();
        self.plan_order(&order)
    }

    fn plan_order(&self, order: &Order) -> Result<Plan, QueueError> {
        let registry = self.surroundings.registry();
        Planner::new(&registry, &self.store)
            .plan(order, &|| self.is_cancelling())
            .map_err(QueueError::Refused)
    }

    /// Accepts `request` of `user`. With an idempotency key that the user gave before, the answer is
    /// that of the first time.
    ///
    /// # Errors
    /// Every reason against it; then nothing is left behind.
    pub fn submit(
        &self,
        user: &str,
        request: &BuildRequest,
        idempotency_key: Option<&str>,
    ) -> Result<Submission, QueueError> {
        let _one_at_a_time = idempotency_key.map(|key| Accepting::begin(self, user, key));
        if let Some(key) = idempotency_key
            && let Some(job) = self.store.job_by_key(user, key)?
        {
            return Ok(Submission { job: Some(job.id), images: job.images, plan: None });
        }
        if self.is_stopping() {
            return Err(QueueError::Stopping);
        }
        let plan = self.plan(request)?;
        let text = serde_json::to_vec(request).unwrap_or_default();
        let sealed = self.sealer.seal(&text)?;
        let callbacks = callback::seal(&self.sealer, &request.callbacks)?;
        let never = || false;
        let factory = Factory::new(&self.store, &NoObserver, &never);
        let accepted = factory.accept_unpromised(plan)?;
        let (images, to_make) = (accepted.ids(), accepted.made_ids());
        let new = NewJob {
            user: user.to_owned(),
            images: images.clone(),
            made: to_make.clone(),
            request: sealed,
            idempotency_key: idempotency_key.map(str::to_owned),
            callbacks,
        };
        if to_make.is_empty() {
            let plan = Some(accepted.into_plan());
            return Ok(Submission { job: None, images, plan });
        }
        let parent = waiting::parent_of(&self.store, &to_make);
        let added = parent.and_then(|parent| Ok((self.store.add_job(new)?, parent)));
        let (job, parent) = match added {
            Ok(added) => added,
            Err(error) => {
                factory.withdraw(accepted)?;
                return Err(error.into());
            },
        };
        // The images belong to the job now, and to no process until it starts.
        let plan = accepted.into_plan();
        let mut state = self.state();
        state.waiting.push(Waiting { id: job.id, user: job.user, images: to_make, parent });
        self.changed.notify_all();
        Ok(Submission { job: Some(job.id), images, plan: Some(plan) })
    }

    /// Jobs that wait, in the order in which they would start now; last those that wait for an image.
    pub fn waiting(&self) -> Vec<JobId> {
        let state = self.state();
        let busy: Vec<&str> = state.running.iter().map(|(_, user)| user.as_str()).collect();
        waiting::order(&state.waiting, &busy)
    }

    /// How many jobs wait.
    pub fn length(&self) -> usize {
        self.state().waiting.len()
    }

    /// Jobs that run.
    pub fn running(&self) -> Vec<JobId> {
        self.state().running.iter().map(|(id, _)| *id).collect()
    }

    /// When [`Queue::run`] last looked for work; it does several times a second, until it is stopped.
    pub fn last_look(&self) -> Instant {
        *self.last_look.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was asked for by a job that is not done.
    ///
    /// # Errors
    /// [`SealError`]: the key is another one, or the job is done.
    pub fn request_of(&self, job: &Job) -> Result<BuildRequest, QueueError> {
        let text = self.sealer.unseal(&self.store.job_request(job.id)?)?;
        Ok(serde_json::from_slice(&text).map_err(|_| SealError::Damaged)?)
    }

    /// Takes no more requests and starts no more jobs; those under way have `grace` to finish,
    /// then they are cancelled. What waits is kept for the next start.
    pub fn stop(self: &Arc<Self>, grace: Duration) {
        self.stopping.store(true, Ordering::SeqCst);
        self.changed.notify_all();
        let end = Instant::now() + grace;
        while !self.state().running.is_empty() && Instant::now() < end {
            thread::sleep(Duration::from_millis(50));
        }
        self.cancelling.store(true, Ordering::SeqCst);
        self.changed.notify_all();
    }

    /// Whether [`Queue::stop`] was called.
    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }

    fn is_cancelling(&self) -> bool {
        self.cancelling.load(Ordering::SeqCst)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Something is being accepted under an idempotency key, and nothing else is, until this is dropped.
struct Accepting<'q> {
    queue: &'q Queue,
    key: (String, String),
}

impl<'q> Accepting<'q> {
    /// Waits until nobody else does the same.
    fn begin(queue: &'q Queue, user: &str, key: &str) -> Self {
        let key = (user.to_owned(), key.to_owned());
        let under_way = queue.accepting.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = queue.accepted.wait_while(under_way, |under_way| under_way.contains(&key));
        waited.unwrap_or_else(PoisonError::into_inner).insert(key.clone());
        Self { queue, key }
    }
}

impl Drop for Accepting<'_> {
    fn drop(&mut self) {
        let mut under_way = self.queue.accepting.lock().unwrap_or_else(PoisonError::into_inner);
        under_way.remove(&self.key);
        drop(under_way);
        self.queue.accepted.notify_all();
    }
}

impl From<&QueueError> for failures::Failures {
    fn from(error: &QueueError) -> Self {
        match error {
            QueueError::Request(error) => error.into(),
            QueueError::Refused(refusal) => refusal.into(),
            QueueError::Store(error) => failures::Failure::from(error).into(),
            QueueError::Seal(_) => failures::Failure::from_error(Exit::Internal, error).into(),
            QueueError::Stopping => failures::Failure::from_error(Exit::Provider, error)
                .hint("send the request again when the daemon is back")
                .into(),
        }
    }
}

impl std::fmt::Debug for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Queue").field("state", &self.state).finish_non_exhaustive()
    }
}

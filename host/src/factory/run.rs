//! Goes through the tiers of a plan and makes its images.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread::ScopedJoinHandle;
use std::time::{Duration, Instant};

use plugin_api::host::BuildContext;
use plugin_api::{Content, DelegateError, DelegateErrorKind, Tier};
use plugin_kit::sparse::Control;

use super::accept::Accepted;
use super::failure;
use super::journal::Journal;
use super::limits::keeping_time;
use super::media_type::media_type_of;
use super::notice::{Notice, Observer, What};
use super::plan::{BaseStep, Plan, PlannedPlugin, ProviderStep, TargetStep};
use super::protocol::{Outcome, Request, Work};
use super::slots::{Holder, SlotKind, Slots};
use super::supervisor::{Surroundings, supervise};
use crate::images::{
    Body, Failure, ImageId, ImageRecord, OwnedImage, Status, Store, StoreError, Update,
};
use crate::named_lock::NamedLock;

/// Time between two looks at a base image that another process is building.
const WAIT_POLL: Duration = Duration::from_millis(100);

/// Makes images.
pub struct Factory<'a> {
    pub(super) store: &'a Store,
    observer: &'a dyn Observer,
    cancelled: &'a (dyn Fn() -> bool + Sync),
    turn: Option<Turn<'a>>,
}

/// Where the images of one user wait for their turn.
#[derive(Clone, Copy, Debug)]
struct Turn<'a> {
    slots: &'a Slots,
    user: &'a str,
}

/// What became of one image of a plan.
#[derive(Clone, Debug)]
pub struct Built {
    /// What it is within its build.
    pub label: String,
    /// Its record at the end.
    pub record: ImageRecord,
    /// True when an image that was there is used.
    pub reused: bool,
    /// Time that it took.
    pub elapsed: Duration,
}

/// How a base image is wanted.
#[derive(Clone, Copy)]
struct BaseWish<'w> {
    reuse_key: Option<&'w str>,
    rebuild: bool,
    is_known: bool,
}

/// Everything that one worker needs besides the plan.
#[derive(Default)]
struct Job<'j> {
    work: Work,
    os: Option<&'j PlannedPlugin>,
    cloud: Option<&'j PlannedPlugin>,
    target: Option<&'j str>,
    base: Option<&'j ImageRecord>,
    target_image: Option<&'j ImageRecord>,
    delivery: Option<&'j ProviderStep>,
    content: Option<&'j Content>,
}

impl Job<'_> {
    fn slot_kind(&self) -> SlotKind {
        match self.work {
            Work::Base => SlotKind::Build,
            Work::Target => SlotKind::Convert,
            Work::Check | Work::Push | Work::Snapshot | Work::Delete => SlotKind::Push,
        }
    }
}

impl<'a> Factory<'a> {
    /// A factory that keeps images in `store`, tells `observer`, and stops when `cancelled`.
    pub fn new(
        store: &'a Store,
        observer: &'a dyn Observer,
        cancelled: &'a (dyn Fn() -> bool + Sync),
    ) -> Self {
        Self { store, observer, cancelled, turn: None }
    }

    /// Works on an image only while it has a slot, as one of `user`.
    #[must_use]
    pub fn with_slots(mut self, slots: &'a Slots, user: &'a str) -> Self {
        self.turn = Some(Turn { slots, user });
        self
    }

    /// Makes the images of an accepted plan; every one of them ends in a terminal state.
    ///
    /// # Errors
    /// Failures of the store.
    pub fn run(&self, accepted: Accepted) -> Result<Vec<Built>, StoreError> {
        let Accepted { plan, base, targets, provider, is_known } = accepted;
        let mut built = Vec::new();
        let base_record = match (&plan.base, base) {
            (BaseStep::Build { plugin, reuse_key, rebuild }, Some(image)) => {
                let wish =
                    BaseWish { reuse_key: reuse_key.as_deref(), rebuild: *rebuild, is_known };
                let base = self.build_base(&plan, plugin, wish, image)?;
                built.push(base.clone());
                Some(base.record)
            },
            (BaseStep::Reuse(record), _) => {
                built.push(reused(record));
                Some((**record).clone())
            },
            _ => None,
        };
        let results = self.build_targets(&plan, base_record.as_ref(), targets)?;
        let target_image = match &plan.provider {
            Some(ProviderStep { target_image: Some(record), .. }) => Some((**record).clone()),
            _ => results.first().map(|target| target.record.clone()),
        };
        built.extend(results);
        if let (Some(step), Some(image)) = (&plan.provider, provider) {
            built.push(self.deliver(
                &plan,
                step,
                base_record.as_ref(),
                target_image.as_ref(),
                image,
            )?);
        }
        Ok(built)
    }

    /// Builds the base image, unless another process finishes an equal one first.
    fn build_base(
        &self,
        plan: &Plan,
        plugin: &PlannedPlugin,
        wish: BaseWish<'_>,
        image: OwnedImage,
    ) -> Result<Built, StoreError> {
        let BaseWish { reuse_key, rebuild, is_known } = wish;
        let _lock = match reuse_key {
            Some(key) => self.lock_key(key, image.id())?,
            None => None,
        };
        if let (Some(key), false) = (reuse_key, rebuild)
            && let Some(record) = self.store.find_reusable(key)?
        {
            if is_known {
                return self.share(&record, image);
            }
            for target in self.store.dependents(image.id())? {
                let update = Update { base_image_id: Some(record.id), ..Update::default() };
                self.store.update(target.id, update)?;
            }
            self.store.discard(image)?;
            return Ok(reused(&record));
        }
        let job = Job { os: Some(plugin), work: Work::Base, ..Job::default() };
        self.build(plan, &job, "base", reuse_key, image)
    }

    /// Completes an image with the body of an equal one.
    fn share(&self, equal: &ImageRecord, image: OwnedImage) -> Result<Built, StoreError> {
        let (id, started) = (image.id(), Instant::now());
        let record = if self.is_cancelled(id) {
            self.end(id, "base", Status::Cancelled, &failure::cancelled_early())?
        } else {
            self.move_to(id, "base", Status::Building, Update::default())?;
            let activity = format!("taken from image {}", equal.id);
            self.store.activity(id, &activity)?;
            match self.store.complete_as(id, equal) {
                Ok(record) => {
                    self.tell(id, "base", What::Status(Status::Complete));
                    record
                },
                Err(error) => {
                    self.end(id, "base", Status::Failed, &failure::store_failed(&error))?
                },
            }
        };
        self.store.release(image)?;
        Ok(Built { label: "base".to_owned(), record, reused: false, elapsed: started.elapsed() })
    }

    /// Holds the right to build what `key` stands for; gives up waiting when cancelled.
    fn lock_key(&self, key: &str, id: ImageId) -> Result<Option<NamedLock>, StoreError> {
        let folder = self.store.locks_dir();
        let path = folder.join(format!("base-{key}.lock"));
        let failed = |source| StoreError::file(&path, source);
        fs_err::create_dir_all(&folder).map_err(failed)?;
        loop {
            if let Some(lock) = NamedLock::try_take(&path).map_err(failed)? {
                return Ok(Some(lock));
            }
            if self.is_cancelled(id) {
                return Ok(None);
            }
            std::thread::sleep(WAIT_POLL);
        }
    }

    /// Makes all targets side by side.
    fn build_targets(
        &self,
        plan: &Plan,
        base: Option<&ImageRecord>,
        images: Vec<OwnedImage>,
    ) -> Result<Vec<Built>, StoreError> {
        std::thread::scope(|scope| {
            let builds: Vec<_> = plan
                .targets
                .iter()
                .zip(images)
                .map(|(step, image)| {
                    scope.spawn(move || self.build_target(plan, step, base, image))
                })
                .collect();
            let join = |build: ScopedJoinHandle<'_, _>| {
                build.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            };
            builds.into_iter().map(join).collect()
        })
    }

    fn build_target(
        &self,
        plan: &Plan,
        step: &TargetStep,
        base: Option<&ImageRecord>,
        image: OwnedImage,
    ) -> Result<Built, StoreError> {
        if let Some(base) = base.filter(|base| base.status != Status::Complete) {
            return self.follow(base, "base image", &step.target, image);
        }
        let job = Job {
            os: Some(&step.os),
            cloud: Some(&step.cloud),
            target: Some(&step.target),
            base,
            content: Some(&step.content.added),
            work: Work::Target,
            ..Job::default()
        };
        self.build(plan, &job, &step.target, None, image)
    }

    fn deliver(
        &self,
        plan: &Plan,
        step: &ProviderStep,
        base: Option<&ImageRecord>,
        target_image: Option<&ImageRecord>,
        image: OwnedImage,
    ) -> Result<Built, StoreError> {
        let unfinished = target_image.filter(|target| target.status != Status::Complete);
        if let Some(target) = unfinished.filter(|_| !step.snapshot) {
            return self.follow(target, "target image", "provider", image);
        }
        let job = Job {
            cloud: Some(&step.cloud),
            target: Some(&step.target),
            base,
            target_image,
            delivery: Some(step),
            work: if step.snapshot { Work::Snapshot } else { Work::Push },
            ..Job::default()
        };
        self.build(plan, &job, "provider", None, image)
    }

    /// An image whose parent is not complete ends as its parent did.
    fn follow(
        &self,
        parent: &ImageRecord,
        what: &str,
        label: &str,
        image: OwnedImage,
    ) -> Result<Built, StoreError> {
        let error = format!("its {what} `{}` is {}", parent.id.short(), parent.status);
        let (status, failure) = failure::as_its_parent(parent, error);
        let update = Update { failure: Some(failure), ..Update::default() };
        let record = self.move_to(image.id(), label, status, update)?;
        self.store.release(image)?;
        Ok(Built { label: label.to_owned(), record, reused: false, elapsed: Duration::ZERO })
    }

    /// Has a worker make one image, and records how it ended.
    fn build(
        &self,
        plan: &Plan,
        job: &Job<'_>,
        label: &str,
        reuse_key: Option<&str>,
        image: OwnedImage,
    ) -> Result<Built, StoreError> {
        let started = Instant::now();
        let id = image.id();
        let request = self.request(plan, job, id);
        let update = Update { reuse_key: reuse_key.map(str::to_owned), ..Update::default() };
        let slot = self.turn.map(|turn| {
            let holder = Holder { kind: job.slot_kind(), user: turn.user.to_owned(), image: id };
            turn.slots.take(holder, &|| self.is_cancelled(id))
        });
        let record = self.unless_it_panics(id, || {
            if matches!(slot, Some(None)) || self.is_cancelled(id) {
                return self.end(id, label, Status::Cancelled, &failure::cancelled_early());
            }
            self.move_to(id, label, Status::Building, update)?;
            match self.work(&request, id, label) {
                Ok(record) => Ok(record),
                Err(error) => {
                    let (status, why) = failure::not_kept(&request, &error, self.is_cancelled(id));
                    self.end(id, label, status, &why)
                },
            }
        })?;
        self.store.release(image)?;
        Ok(Built { label: label.to_owned(), record, reused: false, elapsed: started.elapsed() })
    }

    /// A defect of ours fails one image, in words, and leaves the others of its build alone.
    fn unless_it_panics(
        &self,
        id: ImageId,
        build: impl FnOnce() -> Result<ImageRecord, StoreError>,
    ) -> Result<ImageRecord, StoreError> {
        // What the build shares with others stays sound: the store rolls back, locks are released.
        catch_unwind(AssertUnwindSafe(build)).unwrap_or_else(|panic| {
            let record = self.store.get(id)?;
            if record.status.is_terminal() {
                return Ok(record);
            }
            // The observer is not told: it may be what panics.
            self.store.transition(id, Status::Failed, failure::internal(&*panic).into())
        })
    }

    fn work(&self, request: &Request, id: ImageId, label: &str) -> Result<ImageRecord, StoreError> {
        fs_err::create_dir_all(&request.context.work_dir)
            .map_err(|source| StoreError::file(&request.context.work_dir, source))?;
        let journal = std::cell::RefCell::new(Journal::new(self.store, self.observer, id, label));
        let outcome = supervise(
            request,
            &Surroundings {
                cancelled: &|| {
                    journal.try_borrow().is_ok_and(|journal| journal.has_failed())
                        || self.is_cancelled(id)
                },
                outstanding_bytes: &|| self.store.outstanding_bytes(Some(id)).unwrap_or(0),
                // Where images wait for their turn, somebody serves requests meanwhile.
                gives_way: self.turn.is_some(),
            },
            &mut |message| journal.borrow_mut().take(message),
        );
        // A file of holes takes no disk, and hours to read.
        let overdue = keeping_time(request);
        let given_up = || overdue() || self.is_cancelled(id);
        let control = Control::new(&|_, _| {}, &given_up);
        let media_type = journal.into_inner().finish(&control)?;
        match outcome {
            Outcome::Complete { identity } => {
                if let Some(identity) = identity {
                    let update = Update { identity: Some(identity), ..Update::default() };
                    self.store.update(id, update)?;
                }
                self.complete(request, id, label, media_type, &control)
            },
            Outcome::Skipped(reason) => {
                self.end(id, label, Status::Skipped, &Failure::skip(reason))
            },
            Outcome::Failed { plugin, method, error } => {
                let status = match error.kind() {
                    DelegateErrorKind::Cancelled => Status::Cancelled,
                    _ => Status::Failed,
                };
                self.end(id, label, status, &failure::told_by(&plugin, &method, &error))
            },
            Outcome::Checked { .. } => {
                let error = DelegateError::failed("the worker answered another question");
                self.end(id, label, Status::Failed, &Failure::from(&error))
            },
        }
    }

    fn complete(
        &self,
        request: &Request,
        id: ImageId,
        label: &str,
        media_type: Option<String>,
        control: &Control<'_>,
    ) -> Result<ImageRecord, StoreError> {
        let path = request.context.image_path.clone();
        let body = (request.context.tier != Tier::Provider).then(|| Body {
            media_type: media_type.unwrap_or_else(|| media_type_of(&path).to_owned()),
            path,
            sha256: None,
        });
        let record = self.store.complete(id, body, control)?;
        self.tell(id, label, What::Status(Status::Complete));
        Ok(record)
    }

    fn request(&self, plan: &Plan, job: &Job<'_>, id: ImageId) -> Request {
        let folder = self.store.work_dir(id);
        let tier = match job.work {
            Work::Base => Tier::Base,
            Work::Target => Tier::Target,
            Work::Check | Work::Push | Work::Snapshot | Work::Delete => Tier::Provider,
        };
        let (build, body) = (folder.join("build"), folder.join("body"));
        let mut context =
            BuildContext::new(id.to_string(), tier, plan.template.clone(), build, body);
        context.target = job.target.map(str::to_owned);
        context.base_image = job.base.and_then(ImageRecord::to_image);
        context.target_image = job.target_image.and_then(ImageRecord::to_image);
        context.provider = job.delivery.map(|step| step.provider.clone());
        context.credentials = job.delivery.and_then(|step| step.credentials.clone());
        context.source_date_epoch = plan.source_date_epoch;
        Request {
            work: job.work,
            context,
            os: job.os.map(PlannedPlugin::to_ref),
            cloud: job.cloud.map(PlannedPlugin::to_ref),
            data_dir: self.store.data_dir().to_owned(),
            private_files: plan.private_files.clone(),
            locks_dir: self.store.locks_dir(),
            cache_dir: self.store.cache_dir(),
            content: job.content.cloned(),
            secrets: plan.secrets.texts().to_vec(),
            cgroup: None,
        }
    }

    fn is_cancelled(&self, id: ImageId) -> bool {
        (self.cancelled)() || self.store.cancel_requested(id).unwrap_or(false)
    }

    fn end(
        &self,
        id: ImageId,
        label: &str,
        status: Status,
        failure: &Failure,
    ) -> Result<ImageRecord, StoreError> {
        let update = Update { failure: Some(failure.clone()), ..Update::default() };
        self.move_to(id, label, status, update)
    }

    pub(super) fn move_to(
        &self,
        id: ImageId,
        label: &str,
        status: Status,
        update: Update,
    ) -> Result<ImageRecord, StoreError> {
        let record = self.store.transition(id, status, update)?;
        if !label.is_empty() {
            self.tell(id, label, What::Status(status));
        }
        Ok(record)
    }

    fn tell(&self, image: ImageId, label: &str, what: What<'_>) {
        self.observer.notice(&Notice { image, label, what });
    }
}

impl std::fmt::Debug for Factory<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Factory").field("store", &self.store).finish_non_exhaustive()
    }
}

fn reused(record: &ImageRecord) -> Built {
    Built {
        label: "base".to_owned(),
        record: record.clone(),
        reused: true,
        elapsed: Duration::ZERO,
    }
}

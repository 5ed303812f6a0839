//! Goes through the tiers of a plan and makes its images.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use plugin_api::host::BuildContext;
use plugin_api::{Artifact, Content, DelegateError, DelegateErrorKind, Tier};
use plugin_kit::sparse::Control;

use super::accept::Accepted;
use super::base::BaseWish;
use super::failure;
use super::journal::Journal;
use super::limits::keeping_time;
use super::media_type::media_type_of;
use super::notice::{Notice, Observer, What};
use super::plan::{BaseStep, Plan, PlannedPlugin, ProviderStep};
use super::protocol::{Outcome, Request, Work};
use super::slots::{Holder, SlotKind, Slots};
use super::supervisor::{Surroundings, supervise};
use crate::images::{
    Body, Failure, ImageId, ImageRecord, OwnedImage, Status, Store, StoreError, Update,
};

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

/// Everything that one worker needs besides the plan.
#[derive(Default)]
pub(super) struct Job<'j> {
    pub(super) work: Work,
    pub(super) os: Option<&'j PlannedPlugin>,
    pub(super) cloud: Option<&'j PlannedPlugin>,
    pub(super) target: Option<&'j str>,
    pub(super) base: Option<&'j ImageRecord>,
    pub(super) target_image: Option<&'j ImageRecord>,
    pub(super) delivery: Option<&'j ProviderStep>,
    pub(super) content: Option<&'j Content>,
}

impl Job<'_> {
    /// What tells about the disk that the image is made from.
    fn disk_artifacts(&self) -> Vec<Artifact> {
        let from = if self.work == Work::Target { self.base } else { self.target_image };
        from.map(ImageRecord::to_artifacts).unwrap_or_default()
    }

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
        let Accepted { plan, base, targets, providers, is_known } = accepted;
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
        built.extend(self.build_above(&plan, base_record.as_ref(), targets, providers)?);
        Ok(built)
    }

    /// An image whose parent is not complete ends as its parent did.
    pub(super) fn follow(
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
    pub(super) fn build(
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
            match self.work(&request, job.base, id, label) {
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

    fn work(
        &self,
        request: &Request,
        base: Option<&ImageRecord>,
        id: ImageId,
        label: &str,
    ) -> Result<ImageRecord, StoreError> {
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
            },
            &mut |message| journal.borrow_mut().take(message),
        );
        // A file of holes takes no disk, and hours to read.
        let overdue = keeping_time(request);
        let is_delivered = self.store.get(id)?.identifier_on_provider.is_some();
        let given_up = || overdue() || !is_delivered && self.is_cancelled(id);
        let control = Control::new(&|_, _| {}, &given_up);
        let media_type = journal.into_inner().finish(&control)?;
        match outcome {
            Outcome::Complete { is_same_disk } => {
                if let Some(base) = base.filter(|_| is_same_disk) {
                    self.store.share_artifacts(id, &self.store.get(base.id)?)?;
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
        context.provider = job.delivery.map(|step| step.given.clone());
        context.credentials = job.delivery.and_then(|step| step.credentials.clone());
        context.source_date_epoch = plan.source_date_epoch;
        context.is_remote = plan.is_remote;
        context.is_snapshot = job.work == Work::Snapshot;
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
            disk_artifacts: job.disk_artifacts(),
            secrets: plan.secrets.texts().to_vec(),
            cgroup: None,
        }
    }

    pub(super) fn is_cancelled(&self, id: ImageId) -> bool {
        (self.cancelled)() || self.store.cancel_requested(id).unwrap_or(false)
    }

    pub(super) fn end(
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

    pub(super) fn tell(&self, image: ImageId, label: &str, what: What<'_>) {
        self.observer.notice(&Notice { image, label, what });
    }
}

impl std::fmt::Debug for Factory<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Factory").field("store", &self.store).finish_non_exhaustive()
    }
}

pub(super) fn reused(record: &ImageRecord) -> Built {
    Built {
        label: "base".to_owned(),
        record: record.clone(),
        reused: true,
        elapsed: Duration::ZERO,
    }
}

//! The base image of a build: made, or shared with an equal one that another process makes first.

use std::time::{Duration, Instant};

use super::failure;
use super::notice::What;
use super::plan::{Plan, PlannedPlugin};
use super::protocol::Work;
use super::run::{Built, Factory, Job, reused};
use crate::images::{ImageId, ImageRecord, OwnedImage, Status, StoreError, Update};
use crate::named_lock::NamedLock;

/// Time between two looks at a base image that another process is building.
const WAIT_POLL: Duration = Duration::from_millis(100);

/// How a base image is wanted.
#[derive(Clone, Copy)]
pub(super) struct BaseWish<'w> {
    pub(super) reuse_key: Option<&'w str>,
    pub(super) rebuild: bool,
    /// Somebody knows it by its identifier.
    pub(super) is_known: bool,
}

impl Factory<'_> {
    /// Builds the base image, unless another process finishes an equal one first.
    pub(super) fn build_base(
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
        NamedLock::take(&path, WAIT_POLL, || self.is_cancelled(id)).map_err(failed)
    }
}

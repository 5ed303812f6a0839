//! What is left of a job when some of its images have ended, whatever became of them.

use std::collections::BTreeMap;

use plugin_api::Tier;

use super::{Queue, QueueError};
use crate::factory::plan::Refusal;
use crate::factory::request::BuildRequest;
use crate::images::{Failure, ImageId, ImageRecord, Job, StoreError};

/// A request for the rest of a job.
pub(super) struct Rest {
    pub(super) request: BuildRequest,
    /// The images of those targets that have one already. One that is not complete ends what is made
    /// from it when its turn comes.
    pub(super) target_images: BTreeMap<String, ImageRecord>,
    /// The images of the deliveries of `request`, in their order.
    providers: Vec<ImageId>,
}

impl Rest {
    /// The images that cannot be delivered, each with the reason, when nothing else is refused.
    pub(super) fn refused(&self, refusal: &Refusal) -> Vec<(ImageId, Failure)> {
        let refused = refusal.deliveries().unwrap_or_default().into_iter();
        let of_image =
            |(position, error)| Some((*self.providers.get(position)?, Failure::from(error)));
        refused.filter_map(of_image).collect()
    }
}

impl Queue {
    /// What is left of `job` when only `to_make` are to be made.
    pub(super) fn rest(&self, job: &Job, to_make: &[ImageId]) -> Result<Rest, QueueError> {
        let request = self.request_of(job)?;
        let there = job.images.iter().filter(|id| !to_make.contains(id));
        let there = self.records(there)?;
        let to_make = self.records(to_make.iter())?;
        Ok(rest(request, &job.made, there, &to_make)?)
    }

    /// The records of those of `images` that nobody has deleted.
    fn records<'i>(
        &self,
        images: impl Iterator<Item = &'i ImageId>,
    ) -> Result<Vec<ImageRecord>, StoreError> {
        let get = |id: &ImageId| match self.store.get(*id) {
            Err(StoreError::NotFound { .. }) => None,
            other => Some(other),
        };
        images.filter_map(get).collect()
    }
}

fn rest(
    mut request: BuildRequest,
    made: &[ImageId],
    there: Vec<ImageRecord>,
    to_make: &[ImageRecord],
) -> Result<Rest, crate::factory::request::RequestError> {
    let deliveries = request.take_deliveries()?;
    // Their images were made last, in their order.
    let providers = made.iter().skip(made.len().saturating_sub(deliveries.len()));
    let is_to_make = |id: &ImageId| to_make.iter().any(|image| image.id == *id);
    let left = deliveries.into_iter().zip(providers.copied()).filter(|(_, id)| is_to_make(id));
    let (deliveries, providers) = left.unzip();
    request.deliveries = deliveries;
    request.own_base |= to_make.iter().any(|image| image.tier == Tier::Base);
    if let Some(base) = there.iter().find(|image| image.tier == Tier::Base) {
        request.base_image = Some(base.id.to_string());
        request.template = None;
    }
    request
        .targets
        .retain(|target| to_make.iter().any(|image| image.target.as_ref() == Some(target)));
    let targets = there.into_iter().filter(|image| image.tier == Tier::Target);
    let target_images = targets.filter_map(|image| Some((image.target.clone()?, image))).collect();
    Ok(Rest { request, target_images, providers })
}

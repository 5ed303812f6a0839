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

#[cfg(test)]
mod tests {
    use plugin_kit::sparse::Control;

    use super::*;
    use crate::images::{Body, NewImage, Status, Store, Update};

    /// A request as versions sealed it that knew one delivery.
    const SINGLE: &str = r#"{"template": "t", "targets": ["a"], "provider": "p",
        "credentials": "c", "snapshot": false, "rebuild": false, "own_base": false}"#;

    fn image(store: &Store, tier: Tier, is_complete: bool) -> ImageRecord {
        let mut image = NewImage::new(tier, "test");
        image.target = (tier != Tier::Base).then(|| "a".to_owned());
        let owned = store.create(image).unwrap();
        store.transition(owned.id(), Status::Pending, Update::default()).unwrap();
        if is_complete {
            store.transition(owned.id(), Status::Building, Update::default()).unwrap();
            let path = store.work_dir(owned.id()).join("body");
            fs_err::write(&path, "body").unwrap();
            let body = Body { path, media_type: "text/plain".to_owned(), sha256: None };
            store.complete(owned.id(), Some(body), &Control::default()).unwrap();
        }
        let record = store.get(owned.id()).unwrap();
        store.release(owned).unwrap();
        record
    }

    #[test]
    fn a_request_of_one_delivery_goes_on_where_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path().try_into().unwrap()).unwrap();
        let base = image(&store, Tier::Base, true);
        let target = image(&store, Tier::Target, true);
        let provider = image(&store, Tier::Provider, false);
        let made = [base.id, target.id, provider.id];
        let request: BuildRequest = serde_json::from_str(SINGLE).unwrap();
        let left = rest(request, &made, vec![base.clone(), target], &[provider]).unwrap();
        let [delivery] = &left.request.deliveries[..] else { panic!("there is one") };
        assert_eq!((delivery.target.as_deref(), delivery.provider.as_str()), (Some("a"), "p"));
        assert_eq!(left.request.base_image, Some(base.id.to_string()));
        assert_eq!((left.request.template, left.request.provider), (None, None));
        assert_eq!(left.target_images.keys().collect::<Vec<_>>(), ["a"]);
        assert_eq!(left.providers, made[2..]);
    }
}

//! What is left of a job when some of its images have ended, whatever became of them.

use plugin_api::Tier;

use super::{Queue, QueueError};
use crate::factory::failure;
use crate::factory::order::SoFar;
use crate::factory::plan::{Part, Refusal, problems};
use crate::factory::request::BuildRequest;
use crate::images::{Failure, ImageId, ImageRecord, Job, StoreError};

/// A request for the rest of a job.
pub(super) struct Rest {
    pub(super) request: BuildRequest,
    /// What became of the job so far. A target image that is there and not complete ends what is made from it
    /// when its turn comes.
    pub(super) so_far: SoFar,
    /// The images that are to be made.
    images: Vec<ImageRecord>,
    /// Those of the deliveries of `request`, in their order.
    providers: Vec<ImageId>,
}

impl Rest {
    /// The images that something stands against, each with all of that; `None` when no others are left.
    pub(super) fn refused(&self, refusal: &Refusal) -> Option<Vec<(ImageId, Failure)>> {
        let refused = |image: &ImageRecord| {
            let reasons = refusal.reasons.iter();
            let own = reasons.filter(|reason| self.concerns(&reason.against, image));
            let mut problems = problems(own).peekable();
            problems.peek()?;
            Some((image.id, failure::refused(problems)))
        };
        let refused: Vec<_> = self.images.iter().filter_map(refused).collect();
        (1..self.images.len()).contains(&refused.len()).then_some(refused)
    }

    /// Whether `image` is not made without this part.
    fn concerns(&self, part: &Part, image: &ImageRecord) -> bool {
        let target = image.target.as_ref();
        let delivery = self.providers.iter().position(|id| *id == image.id);
        match part {
            Part::Whole => true,
            Part::System => {
                let is_snapshot =
                    delivery.is_some_and(|position| self.request.deliveries[position].snapshot);
                let is_there = target.is_some_and(|it| self.so_far.target_images.contains_key(it));
                !is_snapshot && !is_there
            },
            Part::Targets(targets) => target.is_some_and(|target| targets.contains(target)),
            Part::Delivery(position) => delivery == Some(*position),
        }
    }
}

impl Queue {
    /// What is left of `job` when only `to_make` are to be made.
    pub(super) fn rest(&self, job: &Job, to_make: &[ImageId]) -> Result<Rest, QueueError> {
        let request = self.request_of(job)?;
        let there = job.images.iter().filter(|id| !to_make.contains(id));
        let there = self.records(there)?;
        let to_make = self.records(to_make.iter())?;
        Ok(rest(request, &job.made, there, to_make)?)
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
    to_make: Vec<ImageRecord>,
) -> Result<Rest, crate::factory::request::RequestError> {
    let deliveries = request.take_deliveries()?;
    // Their images were made last, in their order.
    let providers = made.iter().skip(made.len().saturating_sub(deliveries.len()));
    let is_to_make = |id: &ImageId| to_make.iter().any(|image| image.id == *id);
    let all = deliveries.iter().cloned().zip(providers.clone());
    let all_deliveries =
        all.filter_map(|(delivery, id)| Some((delivery.directed()?, is_to_make(id)))).collect();
    let left = deliveries.into_iter().zip(providers.copied()).filter(|(_, id)| is_to_make(id));
    let (deliveries, providers) = left.unzip();
    request.deliveries = deliveries;
    request.own_base |= to_make.iter().any(|image| image.tier == Tier::Base);
    if let Some(base) = there.iter().find(|image| image.tier == Tier::Base) {
        request.base_image = Some(base.id.to_string());
        request.template = None;
    }
    let all_targets = request.targets.clone();
    request
        .targets
        .retain(|target| to_make.iter().any(|image| image.target.as_ref() == Some(target)));
    let targets = there.into_iter().filter(|image| image.tier == Tier::Target);
    let target_images = targets.filter_map(|image| Some((image.target.clone()?, image))).collect();
    let to_build = to_make.iter().filter(|image| image.tier == Tier::Target);
    let to_build = to_build.filter_map(|image| image.target.clone()).collect();
    let so_far = SoFar { all_targets, all_deliveries, target_images, to_build };
    Ok(Rest { request, so_far, images: to_make, providers })
}

#[cfg(test)]
mod tests {
    use plugin_kit::sparse::Control;

    use super::*;
    use crate::factory::plan::{PlanProblem, Reason};
    use crate::images::{Body, NewImage, Status, Store, Update};

    /// A request as versions sealed it that knew one delivery.
    const SINGLE: &str = r#"{"template": "t", "targets": ["a"], "provider": "p",
        "credentials": "c", "snapshot": false, "rebuild": false, "own_base": false}"#;

    fn image(store: &Store, tier: Tier, is_complete: bool) -> ImageRecord {
        image_for(store, tier, "a", is_complete)
    }

    fn image_for(store: &Store, tier: Tier, target: &str, is_complete: bool) -> ImageRecord {
        let mut image = NewImage::new(tier, "test");
        image.target = (tier != Tier::Base).then(|| target.to_owned());
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
        let left = rest(request, &made, vec![base.clone(), target], vec![provider]).unwrap();
        let [delivery] = &left.request.deliveries[..] else { panic!("there is one") };
        assert_eq!((delivery.target.as_deref(), delivery.provider.as_str()), (Some("a"), "p"));
        assert_eq!(left.request.base_image, Some(base.id.to_string()));
        assert_eq!((left.request.template, left.request.provider), (None, None));
        assert_eq!(left.so_far.target_images.keys().collect::<Vec<_>>(), ["a"]);
        assert_eq!(left.providers, made[2..]);
    }

    /// Two targets, of which `a` is there; three deliveries, of which the last is a snapshot.
    const SEVERAL: &str = r#"{"template": "t", "targets": ["a", "b"], "deliveries": [
        {"target": "a", "provider": "p"}, {"target": "b", "provider": "p"},
        {"target": "b", "provider": "q", "snapshot": true}]}"#;

    #[test]
    fn what_stands_against_a_part_of_a_job_ends_that_part() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path().try_into().unwrap()).unwrap();
        let there = image_for(&store, Tier::Target, "a", true);
        let of_b = image_for(&store, Tier::Target, "b", false);
        let [to_a, to_b, snapshot] =
            ["a", "b", "b"].map(|target| image_for(&store, Tier::Provider, target, false));
        let ids = [of_b.id, to_a.id, to_b.id, snapshot.id];
        let made = [there.id, of_b.id, to_a.id, to_b.id, snapshot.id];
        let request: BuildRequest = serde_json::from_str(SEVERAL).unwrap();
        let to_make = vec![of_b, to_a, to_b, snapshot];
        let left = rest(request, &made, vec![there], to_make).unwrap();
        let ended = |against: Part| {
            // Said twice, and told once.
            let reason = || {
                let (message, hint) = ("no".to_owned(), String::new());
                let problem = PlanProblem::Contradiction { message, hint };
                Reason { against: against.clone(), problem }
            };
            let refused = left.refused(&Refusal { reasons: vec![reason(), reason()] });
            refused.map(|ended| {
                assert!(ended.iter().all(|(_, failure)| failure.causes.is_empty()), "{ended:?}");
                ended.into_iter().map(|(id, _)| id).collect::<Vec<_>>()
            })
        };
        let [of_b, to_a, to_b, snapshot] = ids;
        assert_eq!(ended(Part::System), Some(vec![of_b, to_b]));
        assert_eq!(ended(Part::Targets(vec!["b".to_owned()])), Some(vec![of_b, to_b, snapshot]));
        assert_eq!(ended(Part::Delivery(0)), Some(vec![to_a]));
        assert_eq!(ended(Part::Delivery(2)), Some(vec![snapshot]));
        // Nothing else is left, or it is about nothing here.
        assert_eq!(ended(Part::Whole), None);
        assert_eq!(ended(Part::Targets(vec!["c".to_owned()])), None);
    }
}

//! What is made from a base image: the image for each target, and from that its provider images.
//!
//! A branch is one target image with its deliveries, or one snapshot. Branches go on side by side,
//! and so do the deliveries of one; how one ends is nothing to the others.

use super::plan::{Plan, TargetStep};
use super::protocol::Work;
use super::run::{Built, Factory, Job};
use super::side_by_side::side_by_side;
use crate::images::{ImageRecord, OwnedImage, Status, StoreError};

/// What is made one after the other.
struct Branch<'p> {
    target: Option<(&'p TargetStep, OwnedImage)>,
    /// Each with its position in the plan.
    deliveries: Vec<(usize, OwnedImage)>,
}

/// What became of a branch.
struct Grown {
    target: Option<Built>,
    deliveries: Vec<(usize, Built)>,
}

impl Factory<'_> {
    /// Makes everything above the base image: target images in the order of the plan, then provider
    /// images.
    pub(super) fn build_above(
        &self,
        plan: &Plan,
        base: Option<&ImageRecord>,
        targets: Vec<OwnedImage>,
        providers: Vec<OwnedImage>,
    ) -> Result<Vec<Built>, StoreError> {
        let branches = branches(plan, targets, providers);
        let grown = side_by_side(branches, |branch| self.grow(plan, base, branch));
        let mut built = Vec::new();
        let mut delivered = Vec::new();
        for branch in grown {
            let branch = branch?;
            built.extend(branch.target);
            delivered.extend(branch.deliveries);
        }
        delivered.sort_by_key(|(position, _)| *position);
        built.extend(delivered.into_iter().map(|(_, image)| image));
        Ok(built)
    }

    fn grow(
        &self,
        plan: &Plan,
        base: Option<&ImageRecord>,
        branch: Branch<'_>,
    ) -> Result<Grown, StoreError> {
        let target = match branch.target {
            Some((step, image)) => Some(self.build_target(plan, step, base, image)?),
            None => None,
        };
        let record = target.as_ref().map(|target| &target.record);
        let deliveries = side_by_side(branch.deliveries, |(position, image)| {
            self.deliver(plan, position, base, record, image).map(|built| (position, built))
        });
        Ok(Grown { target, deliveries: deliveries.into_iter().collect::<Result<_, _>>()? })
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
            work: Work::Target,
            os: Some(&step.os),
            cloud: Some(&step.cloud),
            target: Some(&step.target),
            base,
            content: Some(&step.content.added),
            ..Job::default()
        };
        self.build(plan, &job, &step.target, None, image)
    }

    /// Delivers the image that was built for its target, or the one that was there.
    fn deliver(
        &self,
        plan: &Plan,
        position: usize,
        base: Option<&ImageRecord>,
        built: Option<&ImageRecord>,
        image: OwnedImage,
    ) -> Result<Built, StoreError> {
        let step = &plan.providers[position];
        let target_image = step.target_image.as_deref().or(built);
        let unfinished = target_image.filter(|target| target.status != Status::Complete);
        if let Some(target) = unfinished.filter(|_| !step.snapshot) {
            return self.follow(target, "target image", &step.label, image);
        }
        let job = Job {
            work: if step.snapshot { Work::Snapshot } else { Work::Push },
            cloud: Some(&step.cloud),
            target: Some(&step.target),
            base,
            target_image,
            delivery: Some(step),
            ..Job::default()
        };
        self.build(plan, &job, &step.label, None, image)
    }
}

/// One branch for each target image with what is delivered of it, one for each snapshot.
fn branches(plan: &Plan, targets: Vec<OwnedImage>, providers: Vec<OwnedImage>) -> Vec<Branch<'_>> {
    let built = plan.targets.iter().zip(targets);
    let mut branches: Vec<Branch<'_>> =
        built.map(|step| Branch { target: Some(step), deliveries: Vec::new() }).collect();
    for (position, (step, image)) in plan.providers.iter().zip(providers).enumerate() {
        let own = branches.iter_mut().filter(|_| !step.snapshot).find(|branch| {
            branch.target.as_ref().is_some_and(|(target, _)| target.target == step.target)
        });
        let delivery = (position, image);
        match own {
            Some(branch) => branch.deliveries.push(delivery),
            None => branches.push(Branch { target: None, deliveries: vec![delivery] }),
        }
    }
    branches
}

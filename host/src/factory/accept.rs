//! From a plan to records: from then on the images of a request are known.

use plugin_api::Tier;

use super::plan::{BaseStep, Plan};
use super::run::Factory;
use crate::images::{ImageId, NewImage, OwnedImage, Status, StoreError, Update};

/// A plan whose records exist: each is owned by this process until it is built.
#[derive(Debug)]
pub struct Accepted {
    pub(super) plan: Plan,
    pub(super) base: Option<OwnedImage>,
    pub(super) targets: Vec<OwnedImage>,
    pub(super) providers: Vec<OwnedImage>,
    /// Whether somebody knows the images by their identifiers: none may vanish.
    pub(super) is_known: bool,
}

impl Accepted {
    fn nothing(plan: Plan) -> Self {
        Self { plan, base: None, targets: Vec::new(), providers: Vec::new(), is_known: false }
    }

    /// The images of this build: a base image that is used again, and those that will be made.
    pub fn ids(&self) -> Vec<ImageId> {
        let reused = match &self.plan.base {
            BaseStep::Reuse(record) => Some(record.id),
            _ => None,
        };
        let made = self.base.iter().chain(&self.targets).chain(&self.providers);
        reused.into_iter().chain(made.map(OwnedImage::id)).collect()
    }
}

impl Accepted {
    /// The images whose records were made for this build.
    pub(super) fn made_ids(&self) -> Vec<ImageId> {
        let made = self.base.iter().chain(&self.targets).chain(&self.providers);
        made.map(OwnedImage::id).collect()
    }

    /// Lets the images go; whoever keeps their job takes them up again.
    pub(super) fn into_plan(self) -> Plan {
        self.plan
    }
}

impl Factory<'_> {
    /// Makes the records of a plan, and promises them their disk space.
    ///
    /// # Errors
    /// [`StoreError::NoRoom`] when somebody else has got the space since the plan; failures of the store.
    /// What was made before is then discarded.
    pub fn accept(&self, plan: Plan) -> Result<Accepted, StoreError> {
        let _promising = self.store.lock_room()?;
        self.store.room_for(plan.reserved_bytes())?;
        self.accept_unpromised(plan)
    }

    /// Makes the records of a plan whose images wait for their disk space.
    ///
    /// # Errors
    /// Failures of the store. What was made before is then discarded.
    pub(super) fn accept_unpromised(&self, plan: Plan) -> Result<Accepted, StoreError> {
        let mut made = Accepted::nothing(plan);
        match self.make_records(&mut made, Vec::new()) {
            Ok(()) => Ok(made),
            Err(error) => {
                self.withdraw(made)?;
                Err(error)
            },
        }
    }

    /// Forgets what was accepted.
    ///
    /// # Errors
    /// Failures of the store.
    pub fn withdraw(&self, made: Accepted) -> Result<(), StoreError> {
        let mut images = made.providers.into_iter().chain(made.targets).chain(made.base);
        images.try_for_each(|image| self.store.discard(image))
    }

    /// Takes up a plan again whose records are there. What it lacks is made.
    ///
    /// # Errors
    /// Failures of the store.
    pub fn resume(&self, plan: Plan, images: Vec<OwnedImage>) -> Result<Accepted, StoreError> {
        let mut made = Accepted::nothing(plan);
        made.is_known = true;
        self.make_records(&mut made, images)?;
        Ok(made)
    }

    /// Makes the records of a plan, but for those that are there.
    fn make_records(
        &self,
        made: &mut Accepted,
        mut there: Vec<OwnedImage>,
    ) -> Result<(), StoreError> {
        let plan = &made.plan;
        let base_id = match &plan.base {
            BaseStep::Build { plugin, .. } => {
                let mut image = plan.new_image(Tier::Base);
                image.plugin = Some(plugin.built_by());
                image.reserved_bytes = Some(plan.base.reserved_bytes());
                let image = self.make(image, &mut there)?;
                let id = image.id();
                made.base = Some(image);
                Some(id)
            },
            BaseStep::Reuse(record) => Some(record.id),
            BaseStep::None => None,
        };
        for step in &plan.targets {
            let mut image = plan.new_image(Tier::Target);
            image.target = Some(step.target.clone());
            image.base_image_id = base_id;
            image.plugin = Some(step.cloud.built_by());
            image.reserved_bytes = Some(step.reserved_bytes());
            made.targets.push(self.make(image, &mut there)?);
        }
        for step in &plan.providers {
            let target =
                made.targets.iter().find(|it| it.record.target.as_ref() == Some(&step.target));
            let mut image = plan.new_image(Tier::Provider);
            image.target = Some(step.target.clone());
            image.provider = Some(step.provider.clone());
            image.target_image_id = match &step.target_image {
                Some(record) => Some(record.id),
                None => target.filter(|_| !step.snapshot).map(OwnedImage::id),
            };
            image.plugin = Some(step.cloud.built_by());
            image.reserved_bytes = Some(step.cloud.limits.reserved_bytes());
            made.providers.push(self.make(image, &mut there)?);
        }
        Ok(())
    }

    fn make(&self, image: NewImage, there: &mut Vec<OwnedImage>) -> Result<OwnedImage, StoreError> {
        let is_it = |there: &OwnedImage| {
            there.record.tier == image.tier && there.record.target == image.target
        };
        if let Some(position) = there.iter().position(is_it) {
            let update = Update {
                plugin: image.plugin,
                base_image_id: image.base_image_id,
                target_image_id: image.target_image_id,
                ..Update::default()
            };
            // The rest keeps its order: provider images of one target are told apart by it.
            let found = there.remove(position);
            self.store.update(found.id(), update)?;
            return Ok(found);
        }
        let image = self.store.create(image)?;
        self.move_to(image.id(), "", Status::Pending, Update::default())?;
        Ok(image)
    }
}

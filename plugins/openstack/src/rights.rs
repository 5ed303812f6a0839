//! Whether a delivery will be allowed, found out before anything is built.
//!
//! No question tells it, so what is wanted is done: an image like the one to come is registered, without data,
//! and deleted at once.

use plugin_api::{Builder, DelegateError};
use uuid::Uuid;

use crate::glance::Glance;
use crate::push::Push;

/// Most characters of a name, in Glance's schema.
const MAX_NAME: usize = 255;
/// What is added to the name of an image that is only there to see whether it may be.
const TRIAL: &str = " (imageforge looks whether it may)";

impl Push<'_, '_> {
    /// Tries whether an image may be registered: only doing it tells. It has no data, and is removed.
    pub(crate) fn try_rights(&self, builder: &Builder) -> Result<(), DelegateError> {
        let glance = Glance::new(self.session)?;
        let id = Uuid::new_v4().to_string();
        let mut document = self.document(builder, &id);
        let name = trial_name(document["name"].as_str().unwrap_or_default());
        document["name"] = name.as_str().into();
        self.debris.expect(self.session, glance.url(&id));
        // Of somebody who was killed while he looked. Whoever looks right now has seen what he wanted.
        for leftover in glance.find("name", &name, "queued")? {
            if leftover["name"] == name {
                self.debris.note(self.session, glance.url(leftover["id"].as_str().unwrap_or("-")));
            }
        }
        let created = glance.create(&document);
        self.debris.remove(self.session);
        created.map_err(|error| match error.status() {
            Some(400 | 422) => DelegateError::from(error).hint(
                "look at what the provider and the parameters `openstack_…` say about the image",
            ),
            _ => error.into(),
        })
    }
}

/// The name of an image that is only there to see whether it may be. One that Glance would not take is kept.
fn trial_name(name: &str) -> String {
    let length = name.chars().count();
    if length > MAX_NAME {
        return name.to_owned();
    }
    let kept = MAX_NAME - TRIAL.chars().count();
    name.chars().take(kept).chain(TRIAL.chars()).collect()
}

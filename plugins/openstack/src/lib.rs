//! Targets `openstack-kvm` and `openstack`: images for OpenStack, delivered to Glance.
//!
//! A target image is a QCOW2 (or raw) image with cloud-init. It is pushed to the image service of a
//! provider, or made there as a snapshot of a server. `provider` and `credentials` say what users may
//! write, `session` signs in, `glance` and `nova` are the two services, `rights`, `push` and `snapshot`
//! what is done with them, and `debris` what remains to be removed when that fails.

mod content;
mod credentials;
mod debris;
mod fields;
mod format;
mod glance;
mod nova;
mod provider;
mod push;
mod rights;
mod script;
mod server;
mod session;
mod settings;
mod snapshot;
mod xml;

use plugin_api::{Builder, CloudDelegate, Content, DelegateError, ProviderIdentity, Tier};
use plugin_kit::transfer::Options;

use debris::Debris;
use glance::Glance;
use push::Push;
use session::Session;
use settings::Settings;
use snapshot::Snapshot;

plugin_api::export_plugin!(cloud => OpenStack::default());

/// The delegate.
#[derive(Debug, Default)]
struct OpenStack {
    debris: Debris,
}

impl CloudDelegate for OpenStack {
    fn check(&self, builder: &Builder) -> Vec<DelegateError> {
        if builder.tier() != Tier::Provider {
            return format::wanted(builder).err().into_iter().collect();
        }
        match Settings::read(builder) {
            Ok(settings) => {
                let mut problems = snapshot::check(builder, &settings.provider);
                problems.extend(settings.check(builder).err());
                problems
            },
            Err(problems) => problems,
        }
    }

    fn check_provider(&self, builder: &Builder) -> Result<(), DelegateError> {
        let settings = Settings::of(builder)?;
        let options = Options::configured(builder)?.for_check();
        let session = Session::open(builder, settings.access.clone(), options)?;
        Glance::new(&session)?.is_there()?;
        if builder.is_snapshot() {
            return Snapshot {
                session: &session,
                debris: &self.debris,
                provider: &settings.provider,
            }
            .look(builder);
        }
        if !Settings::tries_rights(builder)? {
            return Ok(());
        }
        Push { session: &session, debris: &self.debris, image: settings.provider.image }
            .try_rights(builder)
    }

    fn target_content(&self, builder: &Builder) -> Result<Content, DelegateError> {
        Ok(content::of_template(builder.template()))
    }

    fn finish_target_image(&self, builder: &Builder) -> Result<(), DelegateError> {
        format::write(builder)
    }

    fn push_image_to_provider(&self, builder: &Builder) -> Result<ProviderIdentity, DelegateError> {
        let settings = Settings::of(builder)?;
        let options = Options::configured(builder)?;
        let session = Session::open(builder, settings.access, options)?;
        Push { session: &session, debris: &self.debris, image: settings.provider.image }
            .push(builder)
    }

    fn makes_snapshots(&self) -> bool {
        true
    }

    fn snapshot_image_on_provider(
        &self,
        builder: &Builder,
    ) -> Result<ProviderIdentity, DelegateError> {
        let settings = Settings::of(builder)?;
        let options = Options::configured(builder)?;
        let session = Session::open(builder, settings.access, options)?;
        Snapshot { session: &session, debris: &self.debris, provider: &settings.provider }
            .make(builder)
    }

    fn delete_from_provider(&self, builder: &Builder) -> Result<(), DelegateError> {
        let id = builder.identifier_on_provider();
        if id.is_empty() || !id.chars().all(|c| c.is_ascii_alphanumeric() || c == '-') {
            return Err(DelegateError::invalid_input(format!("`{id}` is no image of OpenStack")));
        }
        let settings = Settings::of(builder)?;
        let options = Options::configured(builder)?.for_deleting();
        let session = Session::open(builder, settings.access, options)?;
        let glance = Glance::new(&session)?;
        let error = match glance.delete(id) {
            Ok(true) => return Ok(()),
            Ok(false) => return may_be_gone(builder.provider_account_identifier(), &session),
            Err(error) => error,
        };
        if error.status() == Some(403)
            && let Ok(Some(image)) = glance.show(id)
            && image["protected"] == true
        {
            return Err(DelegateError::conflict(format!("image `{id}` is protected"))
                .caused_by(error)
                .hint(format!(
                    "take its protection away first: openstack image set --unprotected {id}"
                )));
        }
        Err(session.explained(error.into()))
    }

    fn abort(&self, builder: &Builder) {
        self.debris.abort(builder);
    }
}

/// An image that is not there counts as deleted, unless it may be hidden from whoever asks.
fn may_be_gone(delivered_as: &str, session: &Session<'_>) -> Result<(), DelegateError> {
    let account = session.known().account.unwrap_or_default();
    if delivered_as.is_empty() || account.is_empty() || delivered_as == account {
        return Ok(());
    }
    Err(DelegateError::credentials(format!("`{account}` sees no such image"))
        .because(format!("it was delivered as `{delivered_as}`"))
        .hint("give credentials for that project"))
}

#[cfg(test)]
mod tests;

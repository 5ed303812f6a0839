//! Targets `oci` and `docker`: the root file system of a disk as a container image.
//!
//! `target` makes the archive, out of what `contents` leaves of the tree and what `config` says about it;
//! `documents` are the forms of the specifications. `bundle` reads the archive again, and `provider` brings
//! it to a registry, a folder or a file.

mod archive;
mod bundle;
mod config;
mod contents;
mod documents;
mod provider;
mod settings;
mod target;
#[cfg(test)]
mod tests;

use plugin_api::{Builder, CloudDelegate, DelegateError, ProviderIdentity, Tier};
use provider::{Provider, UnderWay};
use settings::Settings;

plugin_api::export_plugin!(cloud => Oci::default());

/// The delegate.
#[derive(Debug, Default)]
struct Oci {
    under_way: UnderWay,
}

impl CloudDelegate for Oci {
    fn check(&self, builder: &Builder) -> Vec<DelegateError> {
        let settings = Settings::read(builder).map(drop);
        let provider = match builder.tier() {
            Tier::Provider => {
                Provider::of(builder).and_then(|provider| provider.check_credentials(builder))
            },
            _ => Ok(()),
        };
        [settings, provider].into_iter().filter_map(Result::err).collect()
    }

    fn check_provider(&self, builder: &Builder) -> Result<(), DelegateError> {
        Provider::of(builder)?.check(builder)
    }

    fn finish_target_image(&self, builder: &Builder) -> Result<(), DelegateError> {
        target::write(builder)
    }

    fn push_image_to_provider(&self, builder: &Builder) -> Result<ProviderIdentity, DelegateError> {
        Provider::of(builder)?.push(builder, &self.under_way)
    }

    fn delete_from_provider(&self, builder: &Builder) -> Result<(), DelegateError> {
        Provider::of(builder)?.delete(builder)
    }

    fn abort(&self, builder: &Builder) {
        if builder.tier() == Tier::Provider
            && let Ok(provider) = Provider::of(builder)
        {
            provider.clean_up(builder, &self.under_way);
        }
    }
}

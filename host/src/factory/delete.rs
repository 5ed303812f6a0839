//! Deletes an image from its provider.

use plugin_api::host::BuildContext;
use plugin_api::{DelegateError, DelegateErrorKind, ResultExt, Template, Tier};

use super::configuration;
use super::credentials::{credential_texts, texts_within};
use super::failure;
use super::limits::Limits;
use super::order::Delivery;
use super::parameters::PluginSchema;
use super::protocol::{Outcome, PluginRef, Request, Work};
use super::supervisor::{Surroundings, supervise};
use crate::images::{ImageRecord, Store};
use crate::plugins::{LibraryCopy, Plugin, Registry};
use crate::settings::Settings;

/// Has cloud plugins delete what they delivered.
pub struct Deleter<'a> {
    registry: &'a Registry,
    store: &'a Store,
    settings: &'a Settings,
    cancelled: &'a (dyn Fn() -> bool + Sync),
    is_remote: bool,
}

impl<'a> Deleter<'a> {
    /// A deleter that finds plugins in `registry`; `settings` say what they may take, and configure them.
    pub fn new(
        registry: &'a Registry,
        store: &'a Store,
        settings: &'a Settings,
        cancelled: &'a (dyn Fn() -> bool + Sync),
    ) -> Self {
        Self { registry, store, settings, cancelled, is_remote: false }
    }

    /// The same for somebody else's machine.
    #[must_use]
    pub fn remote(self) -> Self {
        Self { is_remote: true, ..self }
    }

    /// Deletes what the provider knows of `record`. The record itself stays.
    ///
    /// # Errors
    /// What the plugin says, or that there is none for the record's target.
    pub fn delete_from_provider(
        &self,
        record: &ImageRecord,
        delivery: &Delivery,
    ) -> Result<(), DelegateError> {
        let missing = DelegateErrorKind::MissingRequirement;
        let target = record.target.clone().unwrap_or_default();
        let what = format!("image `{}` cannot be deleted from its provider", record.id);
        let plugin =
            self.registry.cloud_plugin(&target).or_delegate_error(missing, what.clone())?;
        let library = self.registry.copy(plugin).or_delegate_error(missing, what)?;
        let request = self.request(record, delivery, plugin, &library);
        fs_err::create_dir_all(&request.context.work_dir)?;
        match supervise(&request, &Surroundings::without_image(self.cancelled), &mut |_| {}) {
            Outcome::Failed { plugin, method, error } => {
                Err(failure::named(&plugin, &method, &error))
            },
            _ => Ok(()),
        }
    }

    fn request(
        &self,
        record: &ImageRecord,
        delivery: &Delivery,
        plugin: &Plugin,
        library: &LibraryCopy,
    ) -> Request {
        let folder = self.store.work_dir(record.id);
        let own = self.settings.plugin(plugin.name());
        let template: Template = record
            .template
            .as_ref()
            .and_then(|template| serde_json::from_value(template.canonical.clone()).ok())
            .unwrap_or_default();
        let mut context = BuildContext::new(
            record.id.to_string(),
            Tier::Provider,
            template,
            folder.join("build"),
            folder.join("body"),
        );
        context.target.clone_from(&record.target);
        context.provider = Some(delivery.provider.clone());
        context.credentials.clone_from(&delivery.credentials);
        context.identifier_on_provider.clone_from(&record.identifier_on_provider);
        context.provider_account_identifier.clone_from(&record.provider_account_identifier);
        context.is_remote = self.is_remote;
        Request {
            work: Work::Delete,
            context,
            os: None,
            cloud: Some(PluginRef {
                name: plugin.name().to_owned(),
                library: library.path.clone(),
                delegate: plugin.info().and_then(|info| info.delegate.clone()),
                parameters: PluginSchema::of(plugin.name(), plugin.info())
                    .select_recorded(&record.parameters),
                configuration: own.clone(),
                limits: Limits::of(&self.settings.limits, plugin.name()),
            }),
            data_dir: self.store.data_dir().to_owned(),
            private_files: self.settings.private_files(),
            locks_dir: self.store.locks_dir(),
            cache_dir: self.store.cache_dir(),
            content: None,
            disk_artifacts: Vec::new(),
            secrets: [
                delivery.credentials.iter().flat_map(|text| credential_texts(text)).collect(),
                texts_within(&delivery.provider),
                configuration::secret_texts(plugin.name(), plugin.info(), &own),
            ]
            .concat(),
            cgroup: None,
        }
    }
}

impl std::fmt::Debug for Deleter<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Deleter").field("store", &self.store).finish_non_exhaustive()
    }
}

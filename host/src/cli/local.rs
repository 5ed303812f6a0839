//! This machine: settings, plugins and the data directory, asked in this process.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use plugin_kit::sparse::Control;
use serde_json::{Value, json};

use super::args::Global;
use super::audit::{self, Subjects};
use super::backend::{Backend, Building, Deletion, News, PATIENCE};
use super::detach;
use super::error::{Exit, Failure, Failures};
use super::interrupt::Interrupt;
use super::output::Output;
use crate::atomic_file::Existing;
use crate::factory::import::{self, Disk, Import};
use crate::factory::order::{Delivery, Order};
use crate::factory::{Built, Deleter, Factory, Planner, cgroup, unserved};
use crate::images::{
    DeleteMode, Event, EventKind, Filter, ImageId, ImageRecord, Listing, Status, Store, StoreError,
};
use crate::paths::Paths;
use crate::plugins::{Plugin, Registry, RegistryOptions, Schemas, TargetEntry};
use crate::settings::{Settings, SettingsError};
use crate::template::LoadedTemplate;

/// Flags, environment, settings file and defaults, put together.
#[derive(Debug)]
pub(super) struct Local {
    pub(super) output: Output,
    pub(super) settings: Settings,
    plugins_d: Utf8PathBuf,
    library_path: Vec<Utf8PathBuf>,
    data_dir: Utf8PathBuf,
    settings_file: Utf8PathBuf,
    target_content: Option<Utf8PathBuf>,
    allow_insecure_permissions: bool,
    store: OnceCell<Store>,
}

impl Local {
    pub(super) fn new(global: &Global, output: Output) -> Result<Self, Failure> {
        let is_root = rustix::process::geteuid().is_root();
        let defaults = Paths::defaults(is_root, |name| std::env::var(name).ok())
            .map_err(|error| Failure::from_error(Exit::Usage, &error).hint(error.hint()))?;
        let settings = match &global.config {
            Some(path) => Settings::read(path),
            None => Settings::read_optional(&defaults.settings_file),
        };
        let mut settings = settings.map_err(|error| settings_failure(&error))?;
        if let Some(path) = &global.target_content {
            settings.target_content = Some(path.clone());
        }
        let either = |flag: &Option<Utf8PathBuf>, file: &Option<Utf8PathBuf>, default| {
            flag.clone().or_else(|| file.clone()).unwrap_or(default)
        };
        let library_path = match global.library_path.as_slice() {
            [] => settings.library_path.clone(),
            given => given.to_vec(),
        };
        Ok(Self {
            output,
            plugins_d: either(&global.plugins_d, &settings.plugins_d, defaults.plugins_d),
            data_dir: either(&global.data_dir, &settings.data_dir, defaults.data_dir),
            library_path,
            target_content: global.target_content.clone(),
            settings_file: global.config.clone().unwrap_or(defaults.settings_file),
            allow_insecure_permissions: global.allow_insecure_permissions
                || settings.allow_insecure_permissions,
            settings,
            store: OnceCell::new(),
        })
    }

    /// The plugins that are linked.
    pub(super) fn registry(&self) -> Result<Registry, Failure> {
        Registry::open(&self.registry_options())
            .map_err(|error| Failure::from_error(Exit::NoPlugin, &error).hint(error.hint()))
    }

    pub(super) fn registry_options(&self) -> RegistryOptions {
        let mut options = RegistryOptions::new(&self.plugins_d);
        options.library_path.clone_from(&self.library_path);
        options.allow_insecure_permissions = self.allow_insecure_permissions;
        options.cache_file = Some(self.data_dir.join("probes.json"));
        options.reach.hidden = self.settings.private_files();
        options.reach.hidden.push(self.data_dir.clone());
        options.copies_dir = Some(self.data_dir.join("libraries"));
        options
    }

    /// The file that the settings are from, whether it is there or not.
    pub(super) fn settings_file(&self) -> &Utf8Path {
        &self.settings_file
    }

    /// The file of target content that was named beside the settings.
    pub(super) fn target_content(&self) -> Option<&Utf8Path> {
        self.target_content.as_deref()
    }

    /// The folder of images and records.
    pub(super) fn data_dir(&self) -> &Utf8Path {
        &self.data_dir
    }

    /// The images, after putting in order what dead processes left.
    pub(super) fn store(&self) -> Result<&Store, Failure> {
        if let Some(store) = self.store.get() {
            return Ok(store);
        }
        let store = Store::open(&self.data_dir).map_err(|error| store_failure(&error))?;
        cgroup::recover();
        let recovery = store.recover().map_err(|error| store_failure(&error))?;
        for id in &recovery.interrupted {
            self.output.note(format!("image {} was interrupted and is FAILED now", id.short()));
        }
        for problem in &recovery.problems {
            self.output.note(store_failure(problem).to_text());
        }
        Ok(self.store.get_or_init(|| store))
    }

    /// What the settings say of every order.
    fn configure(&self, mut order: Order, registry: &Registry) -> Result<Order, Failure> {
        let mut settings = self.settings.clone();
        settings.load_target_content().map_err(|error| settings_failure(&error))?;
        let content = settings.overrides.as_deref();
        for target in content.into_iter().flat_map(|content| unserved(content, registry)) {
            let hints = target.hints().into_iter().map(|hint| format!("\n  hint: {hint}"));
            self.output.note(format!("warning: {target}{}", hints.collect::<String>()));
        }
        order.configure(&settings);
        Ok(order)
    }
}

/// What is wrong with the settings, with its hints.
pub(super) fn settings_failure(error: &SettingsError) -> Failure {
    Failure::from_error(Exit::InvalidInput, error).hints(error.hints())
}

/// A failure of the store with its hints.
pub(super) fn store_failure(error: &StoreError) -> Failure {
    error.into()
}

/// The image that a user means.
pub(super) fn find(store: &Store, reference: &str) -> Result<ImageRecord, Failure> {
    store.find(reference).map_err(|error| store_failure(&error))
}

impl Backend for Local {
    fn images(&self, filter: &Filter) -> Result<Listing, Failures> {
        Ok(self.store()?.list_all(filter).map_err(|error| store_failure(&error))?)
    }

    fn image(&self, reference: &str) -> Result<ImageRecord, Failures> {
        Ok(find(self.store()?, reference)?)
    }

    fn events(&self, id: ImageId) -> Result<Vec<Event>, Failures> {
        let store = self.store()?;
        Ok(store.events_since(&[id], 0, usize::MAX).map_err(|error| store_failure(&error))?)
    }

    fn log(
        &self,
        id: ImageId,
        follow: bool,
        hear: &mut dyn FnMut(News) -> bool,
    ) -> Result<(), Failures> {
        let store = self.store()?;
        let mut status = None;
        let mut seen = 0;
        loop {
            let patience = if follow { PATIENCE } else { Duration::ZERO };
            let news = store
                .wait_for_events(&[id], seen, patience)
                .map_err(|error| store_failure(&error))?;
            let nothing_new = news.is_empty();
            for event in &news {
                seen = event.sequence;
                if let EventKind::Transition { to, .. } = &event.kind {
                    status = Some(*to);
                }
            }
            let goes_on = hear(news);
            let over = !follow || status.is_some_and(Status::is_terminal);
            // A build whose process died writes nothing more; the next recovery ends it.
            let is_gone = || follow && !store.is_owned(id).unwrap_or(false);
            if !goes_on || (nothing_new && (over || is_gone())) {
                return Ok(());
            }
        }
    }

    fn cancel(&self, reference: &str) -> Result<ImageId, Failures> {
        let store = self.store()?;
        let record = find(store, reference)?;
        let asked = store.request_cancel(record.id);
        let asked = asked.map_err(|error| Failures::from(store_failure(&error)));
        let subjects = Subjects::Images(vec![record.id.to_string()]);
        audit::note(self, "images cancel", subjects, &asked);
        asked.map(|()| record.id)
    }

    fn delete(
        &self,
        deletion: &Deletion<'_>,
        interrupt: &Interrupt,
        deleted: &mut dyn FnMut(ImageId),
    ) -> Result<(), Failures> {
        let mut images = Vec::new();
        let result = self.delete_all(deletion, interrupt, &mut |id| {
            images.push(id.to_string());
            deleted(id);
        });
        if result.is_err() {
            images.push(deletion.reference.to_owned());
        }
        audit::note(self, "images delete", Subjects::Images(images), &result);
        result
    }

    fn export(
        &self,
        record: &ImageRecord,
        to: &Utf8Path,
        existing: Existing,
        interrupt: &Interrupt,
    ) -> Result<(), Failures> {
        let store = self.store()?;
        let cancelled = || interrupt.happened();
        let control = Control::new(&|_, _| {}, &cancelled);
        let exported = store.export(record.id, to, existing, &control);
        Ok(exported.map_err(|error| store_failure(&error))?)
    }

    fn import(
        &self,
        disk: &Utf8Path,
        template: LoadedTemplate,
        name: Option<String>,
        interrupt: &Interrupt,
    ) -> Result<ImageRecord, Failures> {
        let cancelled = || interrupt.happened();
        let control = Control::new(&|_, _| {}, &cancelled);
        let import = Import { template, name, labels: BTreeMap::new(), max_bytes: u64::MAX };
        let imported = import::import(self.store()?, Disk::File(disk), import, &control);
        let imported = imported.map_err(|error| Failures::from(Failure::from(&error)));
        let images = imported.iter().map(|record| record.id.to_string()).collect();
        audit::note(self, "images import", Subjects::Images(images), &imported);
        imported
    }

    fn targets(&self) -> Result<Vec<TargetEntry>, Failures> {
        Ok(self.registry()?.targets())
    }

    fn schemas(&self, target: &TargetEntry) -> Result<Schemas, Failures> {
        Ok(self.registry()?.schemas_of(target))
    }

    fn plugins(&self) -> Result<Vec<Value>, Failures> {
        let registry = self.registry()?;
        registry.probe_all(false);
        Ok(registry.plugins().iter().map(|plugin| json!(registry.describe(plugin))).collect())
    }

    fn plugin(&self, name: &str) -> Result<Result<Value, Vec<String>>, Failures> {
        let registry = self.registry()?;
        let Some(plugin) = registry.plugin(name) else {
            let names = registry.plugins().iter().map(Plugin::name);
            return Ok(Err(names.map(str::to_owned).collect()));
        };
        registry.probe(plugin);
        Ok(Ok(json!(registry.describe(plugin))))
    }

    fn plan(&self, order: Order, interrupt: &Interrupt) -> Result<Value, Failures> {
        let registry = self.registry()?;
        let store = self.store()?;
        let plan = Planner::new(&registry, store)
            .plan(&self.configure(order, &registry)?, &|| interrupt.happened())
            .map_err(|refusal| Failures::from(&refusal))?;
        Ok(serde_json::to_value(&plan).unwrap_or_default())
    }

    fn build(&self, order: Order, building: &Building<'_>) -> Result<Vec<Built>, Failures> {
        let registry = self.registry()?;
        let store = self.store()?;
        let cancelled = || building.interrupt.happened();
        let plan = Planner::new(&registry, store)
            .plan(&self.configure(order, &registry)?, &cancelled)
            .map_err(|refusal| Failures::from(&refusal))?;
        let factory = Factory::new(store, building.observer, &cancelled);
        let accepted = factory.accept(plan).map_err(|error| store_failure(&error))?;
        if building.announces
            && let Err(unheard) = detach::announce(&accepted.ids())
        {
            // Whoever ordered it is gone, and nobody knows of these images.
            factory.withdraw(accepted).map_err(|error| store_failure(&error))?;
            return Err(unheard.into());
        }
        Ok(factory.run(accepted).map_err(|error| store_failure(&error))?)
    }
}

impl Local {
    fn delete_all(
        &self,
        deletion: &Deletion<'_>,
        interrupt: &Interrupt,
        deleted: &mut dyn FnMut(ImageId),
    ) -> Result<(), Failures> {
        let store = self.store()?;
        let reference = deletion.reference;
        if deletion.mode == DeleteMode::Force
            && let Some(id) = damaged(store, reference)
        {
            store.delete_damaged(id).map_err(|error| store_failure(&error))?;
            deleted(id);
            return Ok(());
        }
        let record = find(store, reference)?;
        // An earlier one may have taken it along.
        let order = store
            .deletion_order(record.id, deletion.mode)
            .map_err(|error| store_failure(&error))?;
        for record in order {
            self.delete_one(store, &record, deletion, interrupt)?;
            deleted(record.id);
        }
        Ok(())
    }

    fn delete_one(
        &self,
        store: &Store,
        record: &ImageRecord,
        asked: &Deletion<'_>,
        interrupt: &Interrupt,
    ) -> Result<(), Failure> {
        let deletion =
            store.begin_delete(record.id, asked.mode).map_err(|error| store_failure(&error))?;
        if deletion.needs_provider() && !asked.leave_at_provider {
            let delivery = Delivery::of_image(record, asked.provider, asked.credentials);
            let registry = self.registry()?;
            let cancelled = || interrupt.happened();
            let deleter = Deleter::new(&registry, store, &self.settings, &cancelled);
            if let Err(error) = deleter.delete_from_provider(record, &delivery) {
                let failure = Failure::from(&error);
                deletion.fail((&error).into()).map_err(|error| store_failure(&error))?;
                return Err(failure.hint(super::delete::MEND));
            }
        }
        deletion.finish().map_err(|error| store_failure(&error))
    }
}

/// The image that `reference` means, if its record does not read.
fn damaged(store: &Store, reference: &str) -> Option<ImageId> {
    match store.find(reference) {
        Err(StoreError::Damaged { id, .. }) => id.parse().ok(),
        _ => None,
    }
}

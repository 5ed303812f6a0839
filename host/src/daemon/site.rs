//! What the daemon works with: plugins and settings, as they are now.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::thread;
use std::time::{Duration, Instant};

use camino::{Utf8Path, Utf8PathBuf};

use super::feed::Feed;
use crate::factory::{Surroundings, unserved};
use crate::plugins::identity::FileIdentity;
use crate::plugins::scan::ScanError;
use crate::plugins::{Registry, RegistryOptions, Snapshot};
use crate::settings::{Settings, SettingsError};

/// Time until a library is probed again whose answer was none, or could not be kept.
const PROBE_AGAIN: Duration = Duration::from_secs(30);

/// Where plugins and settings are.
#[derive(Clone, Debug)]
pub struct SiteOptions {
    /// Where plugins are.
    pub registry: RegistryOptions,
    /// The settings.
    pub settings: Settings,
    /// The file that they are read from again on SIGHUP; one that is missing holds the defaults.
    pub settings_file: Utf8PathBuf,
    /// The file of target content that counts whatever the settings name.
    pub target_content: Option<Utf8PathBuf>,
}

/// Plugins and settings. Whoever asked keeps what it was given, whatever changes meanwhile.
#[derive(Debug)]
pub(super) struct Site {
    options: RegistryOptions,
    settings_file: Utf8PathBuf,
    target_content: Option<Utf8PathBuf>,
    registry: RwLock<Arc<Registry>>,
    settings: RwLock<Arc<Settings>>,
    feed: Arc<Feed>,
    /// One look at a time.
    seen: Mutex<Seen>,
    /// Libraries about which nothing is recorded, and when they were probed; `None` while they are.
    probed: Mutex<HashMap<FileIdentity, Option<Instant>>>,
}

/// What the last look saw.
#[derive(Debug, Default)]
struct Seen {
    plugins: Snapshot,
    /// Why it saw nothing.
    problem: Option<String>,
}

impl Site {
    pub(super) fn open(options: SiteOptions, feed: Arc<Feed>) -> Result<Self, ScanError> {
        let registry = Registry::open(&options.registry)?;
        Ok(Self {
            options: options.registry,
            settings_file: options.settings_file,
            target_content: options.target_content,
            seen: Mutex::new(Seen { plugins: registry.snapshot(), problem: None }),
            registry: RwLock::new(Arc::new(registry)),
            settings: RwLock::new(Arc::new(options.settings)),
            feed,
            probed: Mutex::default(),
        })
    }

    /// The folder of links.
    pub(super) fn plugins_dir(&self) -> &Utf8Path {
        &self.options.plugins_dir
    }

    /// Where plugins are.
    pub(super) fn registry_options(&self) -> &RegistryOptions {
        &self.options
    }

    /// The plugins as they were when the directory was last read.
    pub(super) fn plugins(&self) -> Arc<Registry> {
        Arc::clone(&self.registry.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Why the plugins directory could not be read the last time; what was read before still holds.
    pub(super) fn problem(&self) -> Option<String> {
        self.seen().problem.clone()
    }

    /// Reads the settings file again. What was started with the old settings goes on.
    ///
    /// # Errors
    /// What is wrong with the file; the old settings still hold.
    pub(super) fn reload_settings(&self) -> Result<(), SettingsError> {
        let mut settings = Settings::read_optional(&self.settings_file)?;
        if let Some(path) = &self.target_content {
            settings.target_content = Some(path.clone());
        }
        settings.load_target_content()?;
        *self.settings.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(settings);
        Ok(())
    }

    /// Tells the log of target content for targets that no plugin serves now.
    pub(super) fn tell_of_unserved(&self) {
        let settings = self.settings.read().unwrap_or_else(PoisonError::into_inner).clone();
        let registry = self.plugins();
        let content = settings.overrides.as_deref();
        for target in content.into_iter().flat_map(|content| unserved(content, &registry)) {
            tracing::warn!(hints = ?target.hints(), "{target}");
        }
    }

    /// Reads the plugins directory again and tells of every change. What is new is served at once and
    /// probed beside, which may change its state; a build probes by itself.
    pub(super) fn look(self: &Arc<Self>) {
        let mut seen = self.seen();
        let registry = match Registry::open(&self.options) {
            Ok(registry) => Arc::new(registry),
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "plugins are not read");
                seen.problem = Some(error.to_string());
                return;
            },
        };
        *self.registry.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&registry);
        let plugins = registry.snapshot();
        for change in plugins.changes_since(&seen.plugins) {
            tracing::info!(plugin = change.plugin, change = ?change.change, "plugins changed");
            self.feed.announce("plugin", &change);
        }
        *seen = Seen { plugins, problem: None };
        drop(seen);
        self.probe(&registry);
    }

    /// Probes what nobody has looked into yet, one thread for each library, since one may hang.
    fn probe(self: &Arc<Self>, registry: &Arc<Registry>) {
        let unprobed: Vec<_> = (registry.unprobed().into_iter())
            .filter_map(|plugin| Some((plugin.name(), registry.library(plugin)?.identity)))
            .collect();
        let mut probed = self.probed();
        probed.retain(|library, last| {
            last.is_none() || unprobed.iter().any(|(_, unprobed)| unprobed == library)
        });
        for (name, library) in unprobed {
            let is_due = match probed.get(&library) {
                None => true,
                Some(None) => false,
                Some(Some(last)) => last.elapsed() >= PROBE_AGAIN,
            };
            if !is_due {
                continue;
            }
            probed.insert(library, None);
            let (site, registry, name) = (Arc::clone(self), Arc::clone(registry), name.to_owned());
            let probe = move || {
                let outcome = registry.plugin(&name).and_then(|plugin| registry.probe(plugin));
                site.probed().insert(library, Some(Instant::now()));
                if outcome.is_some_and(|outcome| outcome.is_about_the_library()) {
                    site.look();
                }
            };
            if let Err(error) = thread::Builder::new().name("probe".to_owned()).spawn(probe) {
                tracing::warn!(%error, "a new plugin is not probed before it is used");
                probed.insert(library, Some(Instant::now()));
            }
        }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn probed(&self) -> MutexGuard<'_, HashMap<FileIdentity, Option<Instant>>> {
        self.probed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The directories in which a change may be one of a plugin.
    pub(super) fn directories(&self) -> HashSet<PathBuf> {
        let below = self.plugins().directories().into_iter().map(PathBuf::from);
        let all = self.options.library_path.iter().chain([&self.options.plugins_dir]);
        // One that is missing now is looked for now and then.
        all.map(PathBuf::from).filter(|path| path.is_dir()).chain(below).collect()
    }
}

impl Surroundings for Arc<Site> {
    fn registry(&self) -> Arc<Registry> {
        // A build must never use what somebody replaced a moment ago.
        self.look();
        self.plugins()
    }

    fn settings(&self) -> Arc<Settings> {
        Arc::clone(&self.settings.read().unwrap_or_else(PoisonError::into_inner))
    }
}

//! What the daemon works with: plugins and settings, as they are now.

use std::sync::{Arc, PoisonError, RwLock};

use crate::factory::Surroundings;
use crate::plugins::scan::ScanError;
use crate::plugins::{Registry, RegistryOptions};
use crate::settings::Settings;

/// Where plugins and settings are.
#[derive(Clone, Debug)]
pub struct SiteOptions {
    /// Where plugins are.
    pub registry: RegistryOptions,
    /// The settings.
    pub settings: Settings,
}

/// Plugins and settings. Whoever asked keeps what it was given, whatever changes meanwhile.
#[derive(Debug)]
pub(super) struct Site {
    options: RegistryOptions,
    registry: RwLock<Arc<Registry>>,
    settings: RwLock<Arc<Settings>>,
}

impl Site {
    pub(super) fn open(options: SiteOptions) -> Result<Self, ScanError> {
        let registry = Registry::open(&options.registry)?;
        Ok(Self {
            options: options.registry,
            registry: RwLock::new(Arc::new(registry)),
            settings: RwLock::new(Arc::new(options.settings)),
        })
    }

    /// Reads the plugins directory again.
    pub(super) fn reload_plugins(&self) -> Result<(), ScanError> {
        let registry = Arc::new(Registry::open(&self.options)?);
        *self.registry.write().unwrap_or_else(PoisonError::into_inner) = registry;
        Ok(())
    }

    /// The plugins as they were when the directory was last read.
    pub(super) fn plugins(&self) -> Arc<Registry> {
        Arc::clone(&self.registry.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Surroundings for Site {
    fn registry(&self) -> Arc<Registry> {
        // A build must never use what somebody replaced a moment ago.
        if let Err(error) = self.reload_plugins() {
            tracing::warn!(error = &error as &dyn std::error::Error, "plugins are not read again");
        }
        self.plugins()
    }

    fn settings(&self) -> Arc<Settings> {
        Arc::clone(&self.settings.read().unwrap_or_else(PoisonError::into_inner))
    }
}

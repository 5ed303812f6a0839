//! Probes of the plugins of a registry, and what they mean.

use std::sync::atomic::{AtomicUsize, Ordering};

use plugin_api::info::PluginInfo;

use super::Registry;
use crate::plugins::library::FoundLibrary;
use crate::plugins::no_plugin::Unusable;
use crate::plugins::plugin::Plugin;
use crate::plugins::preflight;
use crate::plugins::probe::{self, ProbeOutcome};
use crate::plugins::state::{PluginState, Status};

impl Registry {
    /// What the library of a plugin is: recorded, or found out now by preflight and probe. `None`
    /// without a library.
    pub fn probe(&self, plugin: &Plugin) -> Option<ProbeOutcome> {
        let library = self.library(plugin)?;
        if let Some(outcome) = self.cache.outcome(library) {
            return Some(outcome);
        }
        self.probe_again(plugin)
    }

    /// What the library of a plugin is, found out now whatever is recorded: what crashed gets
    /// another chance. `None` without a library.
    pub fn probe_again(&self, plugin: &Plugin) -> Option<ProbeOutcome> {
        let outcome = self.probe_anew(plugin)?;
        self.save();
        Some(outcome)
    }

    fn probe_anew(&self, plugin: &Plugin) -> Option<ProbeOutcome> {
        let library = self.library(plugin)?;
        let outcome = match (preflight::check(&library.path), &self.executable) {
            (Err(error), _) => {
                let cause = std::error::Error::source(&error);
                let cause = cause.map(|cause| format!(": {cause}")).unwrap_or_default();
                let reason = format!("{error}{cause}");
                ProbeOutcome::Refused { reason, hint: error.hint().to_owned() }
            },
            (Ok(()), Some(executable)) => {
                let ask = || probe::run(executable, &library.path, &self.reach, self.probe_limit);
                match ask() {
                    // Somebody may have killed the probe. A library that ends itself does so again.
                    outcome if outcome.may_be_a_kill() => ask(),
                    outcome => outcome,
                }
            },
            (Ok(()), None) => ProbeOutcome::NotProbed {
                reason: "the system does not tell where this executable is".to_owned(),
            },
        };
        self.cache.record(library, &outcome);
        Some(outcome)
    }

    /// Probes all plugins that have a library, as many at a time as there are processors.
    /// With `anew`, recorded answers count for nothing: what crashed gets another chance.
    pub fn probe_all(&self, anew: bool) {
        let next = AtomicUsize::new(0);
        let work = || {
            while let Some(plugin) = self.plugins.get(next.fetch_add(1, Ordering::Relaxed)) {
                if anew || self.recorded(plugin).is_none() {
                    self.probe_anew(plugin);
                }
            }
        };
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        std::thread::scope(|scope| {
            for _ in 1..threads.min(self.plugins.len()) {
                scope.spawn(work);
            }
            work();
        });
        self.save();
    }

    /// The state of a plugin that a build is about to use: probes it when that is still open.
    ///
    /// # Errors
    /// [`Unusable`] with the reason.
    pub fn ready<'a>(&self, plugin: &'a Plugin) -> Result<&'a FoundLibrary, Unusable> {
        let unusable = |status| Unusable { plugin: plugin.name().to_owned(), status };
        let status = self.status_without_conflicts(plugin);
        if !status.state.is_usable() {
            return Err(unusable(status));
        }
        let (Some(outcome), Some(library), Some(info)) =
            (self.probe(plugin), self.library(plugin), plugin.info())
        else {
            return Err(unusable(status));
        };
        let status = status_of_probe(&outcome, plugin.name(), info);
        if status.state.is_usable() { Ok(library) } else { Err(unusable(status)) }
    }
}

/// What a probe means for a plugin: besides fitting, the library must have the delegate that the
/// `.info` file speaks of.
pub(super) fn status_of_probe(outcome: &ProbeOutcome, name: &str, info: &PluginInfo) -> Status {
    let ProbeOutcome::Fits(description) = outcome else {
        return outcome.into();
    };
    let delegates = &description.delegates;
    let named = |wanted: &str| delegates.iter().find(|delegate| delegate.name == wanted);
    let delegate = match (&info.delegate, delegates.as_slice()) {
        (Some(wanted), _) => named(wanted),
        (None, [only]) => Some(only),
        (None, _) => named(name),
    };
    let known: Vec<String> = delegates.iter().map(|each| format!("`{}`", each.name)).collect();
    let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
    let Some(delegate) = delegate else {
        let wanted = info.delegate.as_deref().unwrap_or(name);
        return Status::new(
            PluginState::Problem,
            format!("the library has no delegate `{wanted}`; it has {known}"),
            "set `delegate` in the `.info` file",
        );
    };
    let kind = match delegate.kind {
        plugin_api::DelegateKind::Os => "os",
        plugin_api::DelegateKind::Cloud => "cloud",
    };
    if kind != info.kind() {
        return Status::new(
            PluginState::Problem,
            format!(
                "`type` is `{}`, but delegate `{}` of the library is of type `{kind}`",
                info.kind(),
                delegate.name
            ),
            "correct `type` or `delegate` in the `.info` file",
        );
    }
    Status::ready()
}

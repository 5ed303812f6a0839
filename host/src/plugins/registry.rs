//! All plugins of a `plugins.d`, at one moment.
//!
//! Opening reads the `.info` files and nothing else. Links, libraries, requirements and recorded
//! probes are looked at when a plugin is asked about; a probe runs only when [`Registry::probe`]
//! asks for it.

mod changes;
mod document;
mod lookup;
mod probing;

use std::io;
use std::sync::OnceLock;
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use plugin_api::info::PluginInfo;

use super::cache::{self, ProbeCache};
use super::copies::LibraryCopy;
use super::library::{FoundLibrary, LibrarySearch};
use super::matching::Claims;
use super::no_plugin::Unusable;
use super::plugin::Plugin;
use super::preflight;
use super::probe::{self, ProbeOutcome};
use super::requirement;
use super::scan::{Permissions, ScanError, scan};
use super::state::{Conflict, PluginState, Status};
use crate::process::{self, Reach};

pub use changes::{ChangeKind, PluginChange, Snapshot};
pub use document::PluginDocument;
pub use lookup::TargetEntry;
use probing::status_of_probe;

/// Where plugins are and how they are looked at.
#[derive(Clone, Debug)]
pub struct RegistryOptions {
    /// The directory of `.info` files and links to them.
    pub plugins_dir: Utf8PathBuf,
    /// Directories of libraries, searched after the one of the real `.info` file.
    pub library_path: Vec<Utf8PathBuf>,
    /// Take files that everybody may write to.
    pub allow_insecure_permissions: bool,
    /// Where answers of probes are remembered; `None` remembers nothing.
    pub cache_file: Option<Utf8PathBuf>,
    /// Where libraries are copied to for the builds that use them; `None` has them used in place.
    pub copies_dir: Option<Utf8PathBuf>,
    /// What a library that is probed may see of the host, and write to.
    pub reach: Reach,
    /// The executable that probes; `None` stands for this one.
    pub executable: Option<Utf8PathBuf>,
    /// How long a probe may take.
    pub probe_limit: Duration,
}

impl RegistryOptions {
    /// Defaults for plugins in `plugins_dir`.
    pub fn new(plugins_dir: impl Into<Utf8PathBuf>) -> Self {
        Self {
            plugins_dir: plugins_dir.into(),
            library_path: Vec::new(),
            allow_insecure_permissions: false,
            cache_file: None,
            copies_dir: None,
            reach: Reach::default(),
            executable: None,
            probe_limit: probe::TIME_LIMIT,
        }
    }
}

/// All plugins of a directory.
#[derive(Debug)]
pub struct Registry {
    plugins: Vec<Plugin>,
    claims: OnceLock<Claims>,
    search: LibrarySearch,
    cache: ProbeCache,
    copies_dir: Option<Utf8PathBuf>,
    reach: Reach,
    executable: Option<Utf8PathBuf>,
    probe_limit: Duration,
}

impl Registry {
    /// Reads the `.info` files of a directory.
    ///
    /// # Errors
    /// [`ScanError`] when the directory cannot be read or trusted; a single file never fails it.
    pub fn open(options: &RegistryOptions) -> Result<Self, ScanError> {
        let permissions =
            if options.allow_insecure_permissions { Permissions::Any } else { Permissions::Secure };
        let found = scan(&options.plugins_dir, permissions)?;
        let plugins = found
            .into_iter()
            .enumerate()
            .map(|(position, found)| Plugin::new(position, &options.plugins_dir, found))
            .collect();
        let executable = options.executable.clone().or_else(|| process::executable().ok());
        // Libraries lie beside where it was started from.
        let place = options.executable.clone().or_else(|| {
            std::env::current_exe().ok().and_then(|path| Utf8PathBuf::from_path_buf(path).ok())
        });
        let executable_dir = place.as_deref().and_then(Utf8Path::parent);
        let search = LibrarySearch::new(&options.library_path, executable_dir, permissions);
        let host = cache::host_build(executable.as_deref());
        Ok(Self {
            plugins,
            claims: OnceLock::new(),
            search,
            copies_dir: options.copies_dir.clone(),
            reach: options.reach.clone(),
            cache: ProbeCache::new(options.cache_file.clone(), host),
            executable,
            probe_limit: options.probe_limit,
        })
    }

    /// All entries in name order, whatever their state.
    pub fn plugins(&self) -> &[Plugin] {
        &self.plugins
    }

    /// The entry `name`.
    pub fn plugin(&self, name: &str) -> Option<&Plugin> {
        self.plugins.iter().find(|plugin| plugin.name() == name)
    }

    /// The paths from the entry in `plugins.d` to the real `.info` file, each a step of the chain
    /// of links; empty for a plain file.
    pub fn links<'a>(&self, plugin: &'a Plugin) -> &'a [Utf8PathBuf] {
        plugin.resolve(&self.search).links()
    }

    /// The real `.info` file of a plugin.
    pub fn real_path<'a>(&self, plugin: &'a Plugin) -> Option<&'a Utf8Path> {
        plugin.resolve(&self.search).real_path()
    }

    /// The library of a plugin; `None` when there is none, which its status explains.
    pub fn library<'a>(&self, plugin: &'a Plugin) -> Option<&'a FoundLibrary> {
        plugin.resolve(&self.search).library()
    }

    /// The SHA-256 of a plugin's library in hexadecimal; `None` without a library.
    ///
    /// # Errors
    /// The library cannot be read.
    pub fn digest(&self, plugin: &Plugin) -> io::Result<Option<String>> {
        let Some(library) = self.library(plugin) else {
            return Ok(None);
        };
        let digest = self.cache.sha256(library)?;
        self.save();
        Ok(Some(digest))
    }

    /// The library of a plugin for a build, in the state in which it was probed, whatever becomes of
    /// the original: probes it when that is still open.
    ///
    /// # Errors
    /// [`Unusable`] with the reason; the library may have changed since this registry was opened.
    pub fn copy(&self, plugin: &Plugin) -> Result<LibraryCopy, Unusable> {
        let library = self.ready(plugin)?;
        let copied = self.cache.sha256(library).and_then(|sha256| {
            self.save();
            match &self.copies_dir {
                Some(folder) if !preflight::names_own_folder(&library.path) => {
                    LibraryCopy::of(library, sha256, folder)
                },
                _ => Ok(LibraryCopy::in_place(library, sha256)),
            }
        });
        copied.map_err(|error| {
            let reason = format!("library `{}` cannot be copied: {error}", library.path);
            let hint = "try again; the copy is made below `libraries` of the data directory";
            let status = Status::new(PluginState::Problem, reason, hint);
            Unusable { plugin: plugin.name().to_owned(), status }
        })
    }

    /// The state of a plugin and why, from what is known without running any of its code: a probe
    /// counts when it ran in this process or is recorded.
    pub fn status(&self, plugin: &Plugin) -> Status {
        let status = self.status_without_conflicts(plugin);
        if status.state != PluginState::Ready {
            return status;
        }
        match self.conflicts(plugin).as_slice() {
            [] => status,
            conflicts => Status::of_conflicts(conflicts),
        }
    }

    fn status_without_conflicts(&self, plugin: &Plugin) -> Status {
        let resolved = plugin.resolve(&self.search);
        if let Some(problem) = &resolved.problem {
            return problem.clone();
        }
        let Some(info) = plugin.info() else {
            return Status::ready();
        };
        if let Some(missing) = self.missing(info) {
            return missing;
        }
        match self.recorded(plugin) {
            Some(outcome) => status_of_probe(&outcome, plugin.name(), info),
            None => Status::ready(),
        }
    }

    /// What a recorded probe says about the library as it is.
    pub fn recorded(&self, plugin: &Plugin) -> Option<ProbeOutcome> {
        self.cache.outcome(self.library(plugin)?)
    }

    fn missing(&self, info: &PluginInfo) -> Option<Status> {
        let mut status = Status {
            state: PluginState::MissingRequirement,
            reasons: Vec::new(),
            hints: Vec::new(),
        };
        for missing in requirement::missing(&info.requires, &requirement::search_path()) {
            status.reasons.push(missing.reason);
            status.hints.push(missing.hint);
        }
        for (name, range) in &info.depends {
            let found = self.plugin(name.as_str()).and_then(Plugin::info);
            let version = found.and_then(|info| info.version.as_ref());
            let reason = match (found, version) {
                (None, _) => format!("it depends on plugin `{name}`, which is not there"),
                (Some(_), Some(version)) if version.satisfies(range) => continue,
                (Some(_), None) if *range == semver::VersionReq::STAR => continue,
                (Some(_), version) => format!(
                    "it depends on plugin `{name}` {range}, found {}",
                    version.map_or_else(|| "no version".to_owned(), ToString::to_string)
                ),
            };
            status.reasons.push(reason);
            status.hints.push(format!("link a version of `{name}` in the range {range}"));
        }
        (!status.reasons.is_empty()).then_some(status)
    }

    /// The claims of a plugin that another plugin wins. One with a problem wins nothing.
    pub fn conflicts(&self, plugin: &Plugin) -> Vec<Conflict> {
        let Some(info) = plugin.info() else {
            return Vec::new();
        };
        let counts = |position: usize| self.plugins.get(position).is_some_and(|p| self.counts(p));
        let lost = self.claims().lost(plugin.position, info, counts);
        let told = lost.into_iter().filter_map(|claim| {
            let winner = self.plugins.get(claim.winner)?.name().to_owned();
            Some(Conflict { target: claim.target, winner })
        });
        told.collect()
    }

    fn claims(&self) -> &Claims {
        self.claims.get_or_init(|| Claims::new(self.infos()))
    }

    /// What the valid `.info` files say, each with the position of its plugin.
    fn infos(&self) -> impl Iterator<Item = (usize, &PluginInfo)> {
        self.plugins.iter().filter_map(|plugin| Some((plugin.position, plugin.info()?)))
    }

    /// Everything that is known of a plugin, as `--format json` and REST show it.
    pub fn describe(&self, plugin: &Plugin) -> PluginDocument {
        PluginDocument {
            name: plugin.name().to_owned(),
            status: self.status(plugin),
            conflicts: self.conflicts(plugin),
            serves: self.served(plugin),
            info: plugin.info().cloned(),
            info_path: plugin.info_path().to_owned(),
            links: self.links(plugin).to_vec(),
            library: self.library(plugin).map(|library| library.path.clone()),
            library_sha256: self.digest(plugin).ok().flatten(),
            probe: self.recorded(plugin),
        }
    }

    /// A cache that cannot be written costs time and nothing else.
    fn save(&self) {
        if let Err(error) = self.cache.save() {
            tracing::warn!(%error, "answers of probes are not remembered");
        }
    }
}

#[cfg(test)]
mod tests;

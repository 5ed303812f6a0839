//! All plugins of a `plugins.d`, at one moment.
//!
//! Opening reads the `.info` files and nothing else. Links, libraries, requirements and recorded
//! probes are looked at when a plugin is asked about; a probe runs only when [`Registry::probe`]
//! asks for it.

use std::collections::BTreeMap;
use std::io;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use plugin_api::info::{OsTarget, PluginInfo, Targets};
use serde::Serialize;

use super::cache::{self, ProbeCache};
use super::library::{FoundLibrary, LibrarySearch};
use super::matching::Claims;
use super::no_plugin::{NoPlugin, Unusable};
use super::plugin::Plugin;
use super::probe::{self, ProbeOutcome};
use super::scan::{Permissions, ScanError, scan};
use super::state::{Conflict, PluginState, Status};
use super::{preflight, requirement};

/// Targets less alike than this are no suggestion (Jaro-Winkler, 0 to 1).
const ALIKE: f64 = 0.8;

/// Most targets that are suggested.
const SUGGESTIONS: usize = 3;

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
            executable: None,
            probe_limit: probe::TIME_LIMIT,
        }
    }
}

/// One target that a plugin claims.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TargetEntry {
    /// `os` or `cloud`.
    pub kind: &'static str,
    /// The target as text; `*` stands for any.
    pub target: String,
    /// Name, version and architecture of an operating system.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tuple: Option<OsTarget>,
    /// The plugin that serves it.
    pub plugin: String,
    /// The description of the plugin.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The state of the plugin: it serves the target only when it is usable.
    pub state: PluginState,
    /// Plugins that make the same claim and lose it.
    pub conflicts: Vec<String>,
}

/// All plugins of a directory.
#[derive(Debug)]
pub struct Registry {
    plugins: Vec<Plugin>,
    claims: OnceLock<Claims>,
    search: LibrarySearch,
    cache: ProbeCache,
    executable: Option<Utf8PathBuf>,
    probe_limit: Duration,
}

impl Registry {
    /// Reads the `.info` files of a directory.
    ///
    /// # Errors
    /// [`ScanError`] when the directory cannot be read or trusted; a single file never fails it.
    pub fn open(options: &RegistryOptions) -> Result<Self, ScanError> {
        let permissions = if options.allow_insecure_permissions {
            Permissions::Any
        } else {
            Permissions::Secure
        };
        let found = scan(&options.plugins_dir, permissions)?;
        let plugins = found
            .into_iter()
            .enumerate()
            .map(|(position, found)| Plugin::new(position, &options.plugins_dir, found))
            .collect();
        let executable = options.executable.clone().or_else(|| {
            std::env::current_exe().ok().and_then(|path| Utf8PathBuf::from_path_buf(path).ok())
        });
        let executable_dir = executable.as_deref().and_then(Utf8Path::parent);
        let search = LibrarySearch::new(&options.library_path, executable_dir, permissions);
        let host = cache::host_build(executable.as_deref());
        Ok(Self {
            plugins,
            claims: OnceLock::new(),
            search,
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
        let Some(library) = self.library(plugin) else { return Ok(None) };
        let digest = self.cache.sha256(library)?;
        self.save();
        Ok(Some(digest))
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
        let Some(info) = plugin.info() else { return Status::ready() };
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
        let Some(info) = plugin.info() else { return Vec::new() };
        let counts = |position: usize| self.plugins.get(position).is_some_and(|p| self.counts(p));
        let lost = self.claims().lost(plugin.position, info, counts);
        let told = lost.into_iter().filter_map(|claim| {
            let winner = self.plugins.get(claim.winner)?.name().to_owned();
            Some(Conflict { target: claim.target, winner })
        });
        told.collect()
    }

    /// The plugin that builds an operating system.
    ///
    /// # Errors
    /// [`NoPlugin`], also when the plugin that wins the claim cannot be used: nobody else silently
    /// builds something different in its place.
    pub fn os_plugin(&self, name: &str, version: &str, arch: &str) -> Result<&Plugin, NoPlugin> {
        let claims = |targets: &Targets| match targets {
            Targets::Os(targets) => targets.iter().any(|target| target.matches(name, version, arch)),
            Targets::Cloud(_) => false,
        };
        let candidates = self.claims().os(name, version, arch);
        self.choose(&format!("{name} {version} {arch}"), "os", &candidates, claims)
    }

    /// The plugin that delivers to a cloud target.
    ///
    /// # Errors
    /// As [`os_plugin`](Self::os_plugin).
    pub fn cloud_plugin(&self, target: &str) -> Result<&Plugin, NoPlugin> {
        let claims = |targets: &Targets| match targets {
            Targets::Cloud(targets) => targets.iter().any(|claimed| claimed == target),
            Targets::Os(_) => false,
        };
        self.choose(target, "cloud", &self.claims().cloud(target), claims)
    }

    fn choose(
        &self,
        target: &str,
        kind: &str,
        candidates: &[usize],
        claims: impl Fn(&Targets) -> bool,
    ) -> Result<&Plugin, NoPlugin> {
        let candidates = candidates.iter().filter_map(|position| self.plugins.get(*position));
        let mut unusable = Vec::new();
        for plugin in candidates {
            let status = self.status_without_conflicts(plugin);
            if status.state.is_usable() {
                return Ok(plugin);
            }
            unusable.push(Unusable { plugin: plugin.name().to_owned(), status });
            if self.counts(plugin) {
                break;
            }
        }
        for plugin in &self.plugins {
            if let Err(problem) = plugin.content()
                && problem.targets.as_ref().is_some_and(&claims)
            {
                unusable.push(Unusable { plugin: plugin.name().to_owned(), status: problem.into() });
            }
        }
        let of_kind = |plugin: &&Plugin| plugin.info().is_some_and(|info| info.kind() == kind);
        Err(NoPlugin {
            target: target.to_owned(),
            nearest: self.nearest(target, kind),
            unusable,
            claimants: self.plugins.iter().filter(of_kind).count(),
        })
    }

    /// Whether the claims of a plugin count. A problem that is seen without running code means
    /// that the plugin is not really there, and must not take targets from one that is.
    fn counts(&self, plugin: &Plugin) -> bool {
        plugin.resolve(&self.search).problem.is_none()
    }

    fn nearest(&self, target: &str, kind: &str) -> Vec<String> {
        let asked = target.to_lowercase();
        let claimed: Vec<String> = if kind == "os" {
            self.claims().all_os().map(|(target, _)| target.to_string()).collect()
        } else {
            self.claims().all_cloud().map(|(target, _)| target.to_owned()).collect()
        };
        let mut alike: Vec<(f64, String)> = claimed
            .into_iter()
            .map(|claim| {
                let known = filled(&claim, target).to_lowercase();
                (strsim::jaro_winkler(&asked, &known), claim)
            })
            .filter(|(likeness, _)| *likeness >= ALIKE)
            .collect();
        alike.sort_by(|(a, first), (b, second)| b.total_cmp(a).then_with(|| first.cmp(second)));
        alike.into_iter().take(SUGGESTIONS).map(|(_, claim)| claim).collect()
    }

    /// Everything that is claimed by a plugin whose `.info` file and library are there: operating
    /// systems first, then clouds, each sorted.
    pub fn targets(&self) -> Vec<TargetEntry> {
        let mut os: Vec<_> = self.claims().all_os().collect();
        os.sort_unstable();
        let mut cloud: Vec<_> = self.claims().all_cloud().collect();
        cloud.sort_unstable();
        let mut states = BTreeMap::new();
        let mut entries = Vec::new();
        let os = os.into_iter().map(|(target, who)| (target.to_string(), Some(target), who));
        let cloud = cloud.into_iter().map(|(target, who)| (target.to_owned(), None, who));
        for (target, tuple, who) in os.chain(cloud) {
            let mut claimants = who
                .into_iter()
                .filter_map(|position| self.plugins.get(position))
                .filter(|plugin| self.counts(plugin));
            let Some(winner) = claimants.next() else { continue };
            let Some(info) = winner.info() else { continue };
            let state =
                *states.entry(winner.position).or_insert_with(|| self.status(winner).state);
            entries.push(TargetEntry {
                kind: info.kind(),
                target,
                tuple: tuple.cloned(),
                plugin: winner.name().to_owned(),
                description: info.description.clone(),
                state,
                conflicts: claimants.map(|plugin| plugin.name().to_owned()).collect(),
            });
        }
        entries
    }

    /// What the library of a plugin is: recorded, or found out now by preflight and probe. `None`
    /// without a library.
    pub fn probe(&self, plugin: &Plugin) -> Option<ProbeOutcome> {
        let library = self.library(plugin)?;
        if let Some(outcome) = self.cache.outcome(library) {
            return Some(outcome);
        }
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
            (Ok(()), Some(executable)) => probe::run(executable, &library.path, self.probe_limit),
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

    fn claims(&self) -> &Claims {
        self.claims.get_or_init(|| {
            let with_info = self.plugins.iter().filter_map(|p| Some((p.position, p.info()?)));
            Claims::new(with_info)
        })
    }

    /// A cache that cannot be written costs time and nothing else.
    fn save(&self) {
        if let Err(error) = self.cache.save() {
            tracing::warn!(%error, "answers of probes are not remembered");
        }
    }
}

/// What a probe means for a plugin: besides fitting, the library must have the delegate that the
/// `.info` file speaks of.
fn status_of_probe(outcome: &ProbeOutcome, name: &str, info: &PluginInfo) -> Status {
    let ProbeOutcome::Fits(description) = outcome else { return outcome.into() };
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

/// A claim with its `*` taken from what was asked, so that wildcards do not look unlike anything.
fn filled(claim: &str, asked: &str) -> String {
    let mut asked = asked.split(' ');
    let words = claim.split(' ').map(|word| match (word, asked.next()) {
        ("*", Some(asked)) => asked,
        (word, _) => word,
    });
    words.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests;

//! Which plugin serves a target, and what can be built at all.

use std::collections::BTreeMap;

use plugin_api::info::{OsTarget, Targets};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Registry;
use crate::plugins::matching::{cloud_claimants, os_claimants};
use crate::plugins::no_plugin::{NoPlugin, Unusable};
use crate::plugins::plugin::Plugin;
use crate::plugins::schema::Schemas;
use crate::plugins::state::PluginState;

/// Targets less alike than this are no suggestion (Jaro-Winkler, 0 to 1).
const ALIKE: f64 = 0.8;

/// Most targets that are suggested.
const SUGGESTIONS: usize = 3;

/// One target that a plugin claims.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TargetEntry {
    /// `os` or `cloud`.
    pub kind: String,
    /// The target as text; `*` stands for any.
    pub target: String,
    /// Name, version and architecture of an operating system.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tuple: Option<[Option<String>; 3]>,
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

impl TargetEntry {
    /// Whether somebody means this one by `name`: the whole target, or its first word, in any case.
    pub fn is_called(&self, name: &str) -> bool {
        let (text, name) = (self.target.to_lowercase(), name.to_lowercase());
        text == name || text.split(' ').next() == Some(name.as_str())
    }
}

impl Registry {
    /// What the plugin of a target may be told.
    pub fn schemas_of(&self, target: &TargetEntry) -> Schemas {
        let info = self.plugin(&target.plugin).and_then(Plugin::info);
        info.map(Schemas::of).unwrap_or_default()
    }

    /// The plugin that builds an operating system.
    ///
    /// # Errors
    /// [`NoPlugin`], also when the plugin that wins the claim cannot be used: nobody else silently
    /// builds something different in its place.
    pub fn os_plugin(&self, name: &str, version: &str, arch: &str) -> Result<&Plugin, NoPlugin> {
        let claims = |targets: &Targets| match targets {
            Targets::Os(targets) => {
                targets.iter().any(|target| target.matches(name, version, arch))
            },
            Targets::Cloud(_) => false,
        };
        let candidates = os_claimants(self.infos(), [name, version, arch]);
        self.choose(&candidates, claims).map_err(|unusable| NoPlugin {
            target: format!("{name} {version} {arch}"),
            nearest: self.nearest_os([name, version, arch]),
            unusable,
            claimants: self.claimants("os"),
        })
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
        let candidates = cloud_claimants(self.infos(), target);
        self.choose(&candidates, claims).map_err(|unusable| NoPlugin {
            target: target.to_owned(),
            nearest: self.nearest_cloud(target),
            unusable,
            claimants: self.claimants("cloud"),
        })
    }

    /// The first candidate that counts, or everybody who would serve but cannot.
    fn choose(
        &self,
        candidates: &[usize],
        claims: impl Fn(&Targets) -> bool,
    ) -> Result<&Plugin, Vec<Unusable>> {
        let mut unusable = Vec::new();
        for plugin in candidates.iter().filter_map(|position| self.plugins.get(*position)) {
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
                let status = problem.into();
                unusable.push(Unusable { plugin: plugin.name().to_owned(), status });
            }
        }
        Err(unusable)
    }

    fn claimants(&self, kind: &str) -> usize {
        self.infos().filter(|(_, info)| info.kind() == kind).count()
    }

    /// Systems whose name is alike, those with a similar version and architecture first.
    fn nearest_os(&self, asked: [&str; 3]) -> Vec<String> {
        let likeness = |target: &OsTarget| {
            let elements = target.elements().into_iter().zip(asked);
            let mut each =
                elements.map(|(claim, asked)| claim.map_or(1.0, |claim| alike(claim, asked)));
            let name = each.next().filter(|name| *name >= ALIKE)?;
            Some(name + each.sum::<f64>())
        };
        let systems = self.infos().flat_map(|(_, info)| match &info.targets {
            Targets::Os(targets) => targets.as_slice(),
            Targets::Cloud(_) => &[],
        });
        best(systems.filter_map(|target| Some((likeness(target)?, target.to_string()))))
    }

    fn nearest_cloud(&self, asked: &str) -> Vec<String> {
        let clouds = self.infos().flat_map(|(_, info)| match &info.targets {
            Targets::Cloud(targets) => targets.as_slice(),
            Targets::Os(_) => &[],
        });
        let likeness = clouds.map(|target| (alike(target, asked), target.clone()));
        best(likeness.filter(|(likeness, _)| *likeness >= ALIKE))
    }

    /// Whether the claims of a plugin count. A problem that is seen without running code means
    /// that the plugin is not really there, and must not take targets from one that is.
    pub(super) fn counts(&self, plugin: &Plugin) -> bool {
        plugin.resolve(&self.search).problem.is_none()
    }

    /// The targets that a plugin serves, as text.
    pub(super) fn served(&self, plugin: &Plugin) -> Vec<String> {
        let served = self.targets().into_iter().filter(|target| target.plugin == plugin.name());
        served.map(|target| target.target).collect()
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
            let Some(winner) = claimants.next() else {
                continue;
            };
            let Some(info) = winner.info() else { continue };
            let state = *states.entry(winner.position).or_insert_with(|| self.status(winner).state);
            entries.push(TargetEntry {
                kind: info.kind().to_owned(),
                target,
                tuple: tuple
                    .map(|tuple| tuple.elements().map(|element| element.map(str::to_owned))),
                plugin: winner.name().to_owned(),
                description: info.description.clone(),
                state,
                conflicts: claimants.map(|plugin| plugin.name().to_owned()).collect(),
            });
        }
        entries
    }
}

/// How alike two texts are, 0 to 1, whatever their case.
fn alike(a: &str, b: &str) -> f64 {
    strsim::jaro_winkler(&a.to_lowercase(), &b.to_lowercase())
}

/// The best suggestions, each once.
fn best(alike: impl Iterator<Item = (f64, String)>) -> Vec<String> {
    let mut alike: Vec<_> = alike.collect();
    alike.sort_by(|(a, first), (b, second)| b.total_cmp(a).then_with(|| first.cmp(second)));
    alike.dedup_by(|(_, a), (_, b)| a == b);
    alike.into_iter().take(SUGGESTIONS).map(|(_, target)| target).collect()
}

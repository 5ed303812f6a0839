//! What is another between two looks at a plugins directory.

use std::collections::BTreeMap;

use camino::Utf8PathBuf;
use serde::Serialize;

use super::Registry;
use crate::plugins::identity::FileIdentity;
use crate::plugins::plugin::Plugin;
use crate::plugins::state::Status;

/// What happened to a plugin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ChangeKind {
    /// It was not there before.
    Added,
    /// Its `.info` file, its library or its state is another.
    Changed,
    /// It is gone.
    Removed,
}

/// A plugin that is another than before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PluginChange {
    /// Its name.
    pub plugin: String,
    /// What happened.
    pub change: ChangeKind,
    /// Its state now; missing when it is gone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<Status>,
}

/// What a registry looked like at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot(BTreeMap<String, Mark>);

/// By what a plugin is known to be the same.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Mark {
    links: Vec<Utf8PathBuf>,
    info: Option<FileIdentity>,
    library: Option<FileIdentity>,
    status: Status,
}

impl Snapshot {
    /// What changed since `before`, by name.
    pub fn changes_since(&self, before: &Self) -> Vec<PluginChange> {
        let gone = before.0.keys().filter(|name| !self.0.contains_key(*name)).map(|name| {
            PluginChange { plugin: name.clone(), change: ChangeKind::Removed, status: None }
        });
        let there = self.0.iter().filter_map(|(name, mark)| {
            let change = match before.0.get(name) {
                None => ChangeKind::Added,
                Some(old) if old != mark => ChangeKind::Changed,
                Some(_) => return None,
            };
            let status = Some(mark.status.clone());
            Some(PluginChange { plugin: name.clone(), change, status })
        });
        let mut changes: Vec<PluginChange> = gone.chain(there).collect();
        changes.sort_by(|a, b| a.plugin.cmp(&b.plugin));
        changes
    }
}

impl Registry {
    /// What the plugins look like now.
    pub fn snapshot(&self) -> Snapshot {
        let mark = |plugin: &Plugin| Mark {
            links: self.links(plugin).to_vec(),
            info: plugin.content().ok().map(|content| content.identity),
            library: self.library(plugin).map(|library| library.identity),
            status: self.status(plugin),
        };
        let marks = self.plugins.iter().map(|plugin| (plugin.name().to_owned(), mark(plugin)));
        Snapshot(marks.collect())
    }

    /// Plugins whose library nobody has looked into yet.
    pub fn unprobed(&self) -> Vec<&Plugin> {
        let unprobed =
            |plugin: &&Plugin| self.library(plugin).is_some() && self.recorded(plugin).is_none();
        self.plugins.iter().filter(unprobed).collect()
    }

    /// The directories in which a change may be one of a plugin.
    pub fn directories(&self) -> Vec<Utf8PathBuf> {
        let mut all: Vec<Utf8PathBuf> = Vec::new();
        for plugin in &self.plugins {
            let links = self.links(plugin).iter().map(Utf8PathBuf::as_path);
            let library = self.library(plugin).map(|library| library.path.as_path());
            let files = links.chain(self.real_path(plugin)).chain(library);
            all.extend(files.filter_map(|file| Some(file.parent()?.to_owned())));
        }
        all.sort_unstable();
        all.dedup();
        all
    }
}

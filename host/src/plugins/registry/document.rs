//! What is told of a plugin.

use camino::Utf8PathBuf;
use plugin_api::info::PluginInfo;
use serde::Serialize;
use utoipa::ToSchema;

use crate::plugins::probe::ProbeOutcome;
use crate::plugins::state::{Conflict, Status};

/// A plugin for programs, as `--format json` and REST show it.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = Plugin)]
pub struct PluginDocument {
    /// Its name: that of its `.info` file.
    pub name: String,
    /// Its state, and why.
    pub status: Status,
    /// Its claims that other plugins win.
    pub conflicts: Vec<Conflict>,
    /// Targets that it serves.
    pub serves: Vec<String>,
    /// What its `.info` file says; missing when that does not read.
    #[schema(value_type = Option<Object>)]
    pub info: Option<PluginInfo>,
    /// The entry in `plugins.d`.
    #[schema(value_type = String)]
    pub info_path: Utf8PathBuf,
    /// Where the entry leads, step by step; empty for a plain file.
    #[schema(value_type = Vec<String>)]
    pub links: Vec<Utf8PathBuf>,
    /// Its library.
    #[schema(value_type = Option<String>)]
    pub library: Option<Utf8PathBuf>,
    /// SHA-256 of its library, in hex.
    pub library_sha256: Option<String>,
    /// What came of its probe: `outcome` and what belongs to that; missing before the first.
    #[schema(value_type = Option<Object>)]
    pub probe: Option<ProbeOutcome>,
}

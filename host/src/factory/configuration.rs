//! A plugin's own settings against the schema in its `.info`.

use plugin_api::info::{PluginInfo, printable};
use serde_json::{Map, Value};

use super::credentials::all_texts;
use super::parameters::{self, ParameterProblem, PluginSchema};

/// What is wrong with the settings of a plugin.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigurationProblem {
    /// The plugin reads no such setting.
    #[error("plugin `{plugin}` has no setting `plugin.{plugin}.{}`", printable(key))]
    Unknown {
        /// The plugin.
        plugin: String,
        /// The setting.
        key: String,
        /// The nearest one that it reads.
        nearest: Option<String>,
        /// All that it reads.
        known: Vec<String>,
    },
    /// A value breaks the schema of the plugin.
    #[error("setting `plugin.{plugin}.{}`: {message}", printable(path))]
    Invalid {
        /// The plugin.
        plugin: String,
        /// Where, for example `servers[0].name`.
        path: String,
        /// What the schema says.
        message: String,
    },
    /// The schema itself is none.
    #[error("plugin `{plugin}` has a configuration schema that is not valid: {message}")]
    BadSchema {
        /// The plugin.
        plugin: String,
        /// What is wrong with it.
        message: String,
    },
}

impl ConfigurationProblem {
    /// The plugin.
    pub(super) fn plugin(&self) -> &str {
        match self {
            Self::Unknown { plugin, .. }
            | Self::Invalid { plugin, .. }
            | Self::BadSchema { plugin, .. } => plugin,
        }
    }

    /// The plugin, and the setting that it is about.
    pub(super) fn setting(&self) -> Option<(&str, &str)> {
        match self {
            Self::Unknown { plugin, key, .. } => Some((plugin, key)),
            Self::Invalid { plugin, path, .. } => Some((plugin, path.split(['.', '[']).next()?)),
            Self::BadSchema { .. } => None,
        }
    }

    /// What the reader can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Unknown { plugin, nearest: Some(nearest), .. } => {
                Some(format!("did you mean `plugin.{plugin}.{}`?", printable(nearest)))
            },
            Self::Unknown { known, .. } if known.is_empty() => {
                Some("leave it out of the settings file: the plugin has none".to_owned())
            },
            Self::Unknown { known, .. } => {
                Some(format!("its settings: {}", printable(&known.join(", "))))
            },
            Self::Invalid { .. } => {
                Some("`imageforge targets NAME` explains the settings of a plugin".to_owned())
            },
            Self::BadSchema { .. } => None,
        }
    }
}

/// What is wrong with `given`, the settings of the plugin that `info` describes. A plugin without a
/// schema may be told anything.
pub fn problems(
    plugin: &str,
    info: Option<&PluginInfo>,
    given: &Map<String, Value>,
) -> Vec<ConfigurationProblem> {
    let schema = schema(plugin, info);
    let told = |problem| {
        let plugin = plugin.to_owned();
        match problem {
            ParameterProblem::Unknown { name, nearest, known } => {
                ConfigurationProblem::Unknown { plugin, key: name, nearest, known }
            },
            ParameterProblem::Invalid { path, message, .. } => {
                ConfigurationProblem::Invalid { plugin, path, message }
            },
            ParameterProblem::BadSchema { message, .. } => {
                ConfigurationProblem::BadSchema { plugin, message }
            },
        }
    };
    parameters::problems(given, &[schema]).into_iter().map(told).collect()
}

/// What is secret in the settings of a plugin.
pub(super) fn secret_texts(
    plugin: &str,
    info: Option<&PluginInfo>,
    given: &Map<String, Value>,
) -> Vec<String> {
    let schema = schema(plugin, info);
    schema.secret_names().filter_map(|name| given.get(name)).flat_map(all_texts).collect()
}

fn schema<'a>(plugin: &'a str, info: Option<&'a PluginInfo>) -> PluginSchema<'a> {
    PluginSchema { plugin, schema: info.and_then(|info| info.configuration.as_ref()) }
}

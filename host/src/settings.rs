//! The settings file.
//!
//! TOML. Every key is optional: what is missing comes from the defaults, and flags and `IMAGEFORGE_*`
//! variables, which the command line composes, win over the file. A key that nobody knows is an error,
//! because a misspelt one would otherwise be ignored in silence.

mod access;
mod callbacks;
mod connections;
mod error;
mod limits;
mod serve;
mod tls;

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::ops::Range;
use std::sync::Arc;

use camino::{Utf8Path, Utf8PathBuf};
use plugin_api::info::printable;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use toml::de::{DeTable, DeValue};

pub use access::{ConsumerError, ConsumerSettings, RateSettings, Secret};
pub use callbacks::{Allowed, CallbackSettings};
pub use connections::{ConnectionSettings, Seconds};
pub use error::SettingsError;
pub use limits::{Limit, LimitSettings, LimitValues};
pub use serve::{LogFormat, ServeSettings, SlotSettings};
pub use tls::TlsSettings;

use crate::nearest::nearest;
use crate::template::TargetContent;

/// Longest settings file that is read, in bytes.
const MAX_BYTES: u64 = 1 << 20;

const KEYS: [&str; 9] = [
    "plugins_d",
    "library_path",
    "data_dir",
    "target_content",
    "allow_insecure_permissions",
    "boot",
    "limits",
    "serve",
    "plugin",
];
const BOOT_KEYS: [&str; 2] = ["accelerator", "timeout_seconds"];
/// What the settings file says. Relative paths in it are relative to its own folder.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Settings {
    /// The folder of `.info` links.
    pub plugins_d: Option<Utf8PathBuf>,
    /// Further folders where plugin libraries are looked for.
    pub library_path: Vec<Utf8PathBuf>,
    /// The folder of images, records and caches.
    pub data_dir: Option<Utf8PathBuf>,
    /// The file of content for each cloud and system that takes the place of what plugins ask for.
    pub target_content: Option<Utf8PathBuf>,
    /// What it said when [`Settings::load_target_content`] read it.
    #[serde(skip)]
    pub overrides: Option<Arc<TargetContent>>,
    /// Accept plugins and folders that everybody may write to.
    pub allow_insecure_permissions: bool,
    /// Defaults of the boot check.
    pub boot: BootSettings,
    /// What a build may take.
    pub limits: LimitSettings,
    /// The daemon.
    pub serve: ServeSettings,
    /// Configuration of plugins, by plugin name: the tables `[plugin.NAME]`.
    pub plugin: BTreeMap<String, PluginSettings>,
    /// The file that they were read from.
    #[serde(skip)]
    pub file: Option<Utf8PathBuf>,
}

/// Defaults of the boot check.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct BootSettings {
    /// How the machine is accelerated.
    pub accelerator: Accelerator,
    /// How long to wait for the text, in seconds.
    pub timeout_seconds: Option<u64>,
}

/// How a booted machine is accelerated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Accelerator {
    /// KVM if a trial boot works, else TCG.
    #[default]
    Auto,
    /// The processor's own virtualisation.
    Kvm,
    /// Translation in software.
    Tcg,
}

/// One plugin's own settings. `Debug` shows names only, since values may be secret.
#[derive(Clone, Default, PartialEq, Deserialize)]
#[serde(transparent)]
pub struct PluginSettings(pub Map<String, Value>);

impl fmt::Debug for PluginSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl Settings {
    /// Reads the file `path`.
    ///
    /// # Errors
    /// [`SettingsError`]; a missing file is [`SettingsError::Read`] with `NotFound`.
    pub fn read(path: &Utf8Path) -> Result<Self, SettingsError> {
        let error = |source| SettingsError::Read { path: path.to_owned(), source };
        let size_bytes = fs_err::metadata(path).map_err(error)?.len();
        if size_bytes > MAX_BYTES {
            return Err(SettingsError::TooLarge { path: path.to_owned(), size_bytes });
        }
        let mut settings = Self::parse(&fs_err::read_to_string(path).map_err(error)?, path)?;
        settings.file = Some(path.to_owned());
        Ok(settings)
    }

    /// Reads the file `path` if there is one, else answers the defaults.
    ///
    /// # Errors
    /// [`SettingsError`].
    pub fn read_optional(path: &Utf8Path) -> Result<Self, SettingsError> {
        match Self::read(path) {
            Err(SettingsError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                Ok(Self::default())
            },
            other => other,
        }
    }

    /// Parses `text`, which came from `path`.
    ///
    /// # Errors
    /// [`SettingsError`], without `Read` and `TooLarge`.
    pub fn parse(text: &str, path: &Utf8Path) -> Result<Self, SettingsError> {
        let syntax = |error: toml::de::Error| SettingsError::Syntax {
            path: path.to_owned(),
            line: line_of(text, error.span()),
            message: sentence(error.message()),
        };
        let table = DeTable::parse(text).map_err(syntax)?;
        let table = table.get_ref();
        refuse_unknown(table, "", &KEYS, text, path)?;
        if let Some(DeValue::Table(boot)) = table.get("boot").map(toml::Spanned::get_ref) {
            refuse_unknown(boot, "boot.", &BOOT_KEYS, text, path)?;
        }
        if let Some(DeValue::Table(serve)) = table.get("serve").map(toml::Spanned::get_ref) {
            refuse_unknown(serve, "serve.", &serve::KEYS, text, path)?;
            for (name, keys) in serve::TABLES {
                if let Some(table) = serve.get(name).and_then(|table| table.get_ref().as_table()) {
                    refuse_unknown(table, &format!("serve.{name}."), keys, text, path)?;
                }
            }
            let consumers = serve.get("consumers").and_then(|table| table.get_ref().as_table());
            for (key, value) in consumers.into_iter().flatten() {
                let prefix = format!("serve.consumers.{}.", key.get_ref());
                if let Some(table) = value.get_ref().as_table() {
                    refuse_unknown(table, &prefix, &access::CONSUMER_KEYS, text, path)?;
                }
            }
        }
        if let Some(DeValue::Table(limits)) = table.get("limits").map(toml::Spanned::get_ref) {
            let own = Limit::ALL.map(Limit::key);
            refuse_unknown(limits, "limits.", &[&own[..], &["plugin"]].concat(), text, path)?;
            let plugins = limits.get("plugin").and_then(|plugins| plugins.get_ref().as_table());
            for (name, value) in plugins.into_iter().flatten() {
                let prefix = format!("limits.plugin.{}.", name.get_ref());
                if let Some(table) = value.get_ref().as_table() {
                    refuse_unknown(table, &prefix, &own, text, path)?;
                }
            }
        }

        let document = toml::Deserializer::parse(text).map_err(syntax)?;
        let mut settings: Self = serde_path_to_error::deserialize(document).map_err(|error| {
            let key = printable(&error.path().to_string());
            SettingsError::Value {
                path: path.to_owned(),
                line: line_of(text, error.inner().span()),
                key,
                message: sentence(error.inner().message()),
            }
        })?;
        settings.resolve(path.parent().unwrap_or(Utf8Path::new("")));
        Ok(settings)
    }

    /// Reads the file that `target_content` names, if there is one.
    ///
    /// # Errors
    /// [`SettingsError::TargetContent`].
    pub fn load_target_content(&mut self) -> Result<(), SettingsError> {
        self.overrides = match &self.target_content {
            Some(path) => Some(Arc::new(TargetContent::read(path)?)),
            None => None,
        };
        Ok(())
    }

    /// The configuration of the plugin `name`, empty when there is none.
    pub fn plugin(&self, name: &str) -> Map<String, Value> {
        self.plugin.get(name).map(|settings| settings.0.clone()).unwrap_or_default()
    }

    /// The files that are no plugin's business: that of these settings, secrets that they name, and
    /// what is written down of callers.
    pub fn private_files(&self) -> Vec<Utf8PathBuf> {
        let consumers = self.serve.consumers.values();
        self.file
            .iter()
            .chain(&self.serve.tls.key)
            .chain(&self.serve.audit_log)
            .chain(consumers.filter_map(|consumer| consumer.secret_file.as_ref()))
            .cloned()
            .collect()
    }

    fn resolve(&mut self, folder: &Utf8Path) {
        let secrets = self.serve.consumers.values_mut();
        let paths = self
            .plugins_d
            .iter_mut()
            .chain(&mut self.data_dir)
            .chain(&mut self.library_path)
            .chain(&mut self.target_content)
            .chain(&mut self.serve.audit_log)
            .chain(secrets.filter_map(|consumer| consumer.secret_file.as_mut()));
        for path in paths {
            *path = folder.join(&path);
        }
        self.serve.tls.resolve(folder);
    }
}

fn refuse_unknown(
    table: &DeTable<'_>,
    prefix: &str,
    valid: &[&str],
    text: &str,
    path: &Utf8Path,
) -> Result<(), SettingsError> {
    for (key, value) in table {
        let name: &str = key.get_ref();
        if valid.contains(&name) {
            continue;
        }
        // Tables named in a header have no key of their own to point at.
        let span = if key.span().is_empty() { value.span() } else { key.span() };
        return Err(SettingsError::UnknownKey {
            path: path.to_owned(),
            line: line_of(text, Some(span)),
            key: printable(&format!("{prefix}{name}")),
            nearest: nearest(name, valid.iter().copied())
                .map(|nearest| format!("{prefix}{nearest}")),
        });
    }
    Ok(())
}

fn line_of(text: &str, span: Option<Range<usize>>) -> usize {
    let start = span.map_or(0, |span| text.floor_char_boundary(span.start));
    text[..start].matches('\n').count() + 1
}

/// The parser's message as part of a line of ours: one line, no final period.
fn sentence(message: &str) -> String {
    printable(&message.trim().trim_end_matches('.').replace('\n', ", "))
}

#[cfg(test)]
#[path = "settings_tests.rs"]
mod tests;

//! What the settings file says of limits: the tables `[limits]` and `[limits.plugin.NAME]`.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Deserializer, MapAccess, Visitor};
use serde::{Deserialize, Serialize};

/// The one table of limits: what the settings file calls them, and what they are.
macro_rules! limits {
    ($($(#[$doc:meta])* $name:ident = $key:literal,)*) => {
        /// Something that one image may take only so much of.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
        pub enum Limit {
            $($(#[$doc])* #[serde(rename = $key)] $name,)*
        }

        impl Limit {
            /// All of them, in the order of the documentation.
            pub const ALL: [Self; [$($key),*].len()] = [$(Self::$name),*];

            fn of_key(key: &str) -> Option<Self> {
                Self::ALL.into_iter().find(|limit| limit.key() == key)
            }

            /// The key in the settings file.
            pub const fn key(self) -> &'static str {
                match self {
                    $(Self::$name => $key,)*
                }
            }
        }
    };
}

limits! {
    /// Seconds for the checks before a build.
    Check = "check_seconds",
    /// Seconds for a base image.
    Base = "base_seconds",
    /// Seconds for a target image.
    Target = "target_seconds",
    /// Seconds for delivering an image, or for deleting it from its provider.
    Provider = "provider_seconds",
    /// Seconds without any message.
    Silence = "silence_seconds",
    /// MiB of memory of all processes of a build together.
    Memory = "memory_mib",
    /// Number of processes.
    Processes = "processes",
    /// Open files of each process.
    OpenFiles = "open_files",
    /// MiB of log.
    Log = "log_mib",
    /// MiB of disk space of the image and of what it is made of.
    Disk = "disk_mib",
    /// MiB of disk space that are promised to an image before it is accepted; zero promises nothing.
    Reserve = "reserve_mib",
}

/// Numbers of one table; what it does not name is missing. Zero is no limit.
pub type LimitValues = BTreeMap<Limit, u64>;

/// What one image may take. The defaults are the factory's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LimitSettings {
    all: LimitValues,
    plugin: BTreeMap<String, LimitValues>,
}

impl LimitSettings {
    /// What is said of plugin `name`: its own numbers, and those of all where it has none.
    pub fn of(&self, name: &str) -> LimitValues {
        let mut values = self.all.clone();
        values.extend(self.plugin.get(name).into_iter().flatten());
        values
    }
}

fn named((plugin, table): (String, BTreeMap<String, u64>)) -> (String, LimitValues) {
    let limits = table.into_iter().filter_map(|(key, value)| Some((Limit::of_key(&key)?, value)));
    (plugin, limits.collect())
}

// By hand: `#[serde(flatten)]` and keys that are an enumeration would forget where in the file an error is.
impl<'de> Deserialize<'de> for LimitSettings {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Tables;

        impl<'de> Visitor<'de> for Tables {
            type Value = LimitSettings;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a table of limits")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<LimitSettings, A::Error> {
                let mut settings = LimitSettings::default();
                while let Some(key) = map.next_key::<String>()? {
                    if let Some(limit) = Limit::of_key(&key) {
                        settings.all.insert(limit, map.next_value()?);
                    } else {
                        // Every other key was refused before.
                        let tables: BTreeMap<String, BTreeMap<String, u64>> = map.next_value()?;
                        settings.plugin = tables.into_iter().map(named).collect();
                    }
                }
                Ok(settings)
            }
        }

        deserializer.deserialize_map(Tables)
    }
}

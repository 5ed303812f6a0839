//! What stands behind a [`Builder`](crate::Builder): implemented by the host and by the test
//! harness, never by a plugin.
//!
//! Frequent, tiny questions are methods of their own. Everything else is one [`HostCall`], which
//! crosses the boundary as JSON, so that a newer plugin may ask for something that an older host
//! does not know and gets an `unsupported` error instead of undefined behaviour.

use camino::Utf8PathBuf;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::command::Command;
use crate::content::Content;
use crate::error::DelegateError;
use crate::image::{Image, ProviderIdentity, Tier};
use crate::template::Template;

/// Everything that is known when a delegate is asked for the first time in a build.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct BuildContext {
    /// Identifier of the image that is built.
    pub id: String,
    /// Its tier.
    pub tier: Tier,
    /// The template.
    pub template: Template,
    /// The target, for target and provider images.
    #[serde(default)]
    pub target: Option<String>,
    /// The provider, as given: a name or a JSON text.
    #[serde(default)]
    pub provider: Option<String>,
    /// Credentials for the provider, as given.
    #[serde(default)]
    pub credentials: Option<String>,
    /// Parameters of the build, cast to the types of the plugin's schema.
    #[serde(default)]
    pub parameters: Map<String, Value>,
    /// The plugin's own settings.
    #[serde(default)]
    pub configuration: Map<String, Value>,
    /// The finished base image, for target and provider images.
    #[serde(default)]
    pub base_image: Option<Image>,
    /// The finished target image, for provider images.
    #[serde(default)]
    pub target_image: Option<Image>,
    /// How the provider knows the image, when it is to be deleted.
    #[serde(default)]
    pub identifier_on_provider: Option<String>,
    /// The account that it was delivered as, when it is to be deleted and that is known.
    #[serde(default)]
    pub provider_account_identifier: Option<String>,
    /// Private folder of this build, on the file system of the image store.
    pub work_dir: Utf8PathBuf,
    /// Where the body is to be written.
    pub image_path: Utf8PathBuf,
    /// Time that replaces the clock in everything that is written, in seconds since 1970.
    #[serde(default)]
    pub source_date_epoch: Option<i64>,
    /// Whether the request came over the network.
    #[serde(default)]
    pub is_remote: bool,
    /// Whether the provider image is to be a snapshot; false when one is deleted.
    #[serde(default)]
    pub is_snapshot: bool,
}

impl BuildContext {
    /// The context of a build of `tier` from `template`, with everything optional missing.
    pub fn new(
        id: impl Into<String>,
        tier: Tier,
        template: Template,
        work_dir: impl Into<Utf8PathBuf>,
        image_path: impl Into<Utf8PathBuf>,
    ) -> Self {
        Self {
            id: id.into(),
            tier,
            template,
            target: None,
            provider: None,
            credentials: None,
            parameters: Map::new(),
            configuration: Map::new(),
            base_image: None,
            target_image: None,
            identifier_on_provider: None,
            provider_account_identifier: None,
            work_dir: work_dir.into(),
            image_path: image_path.into(),
            source_date_epoch: None,
            is_remote: false,
            is_snapshot: false,
        }
    }

    /// Where `create_target_image` writes a disk that differs from the base image.
    pub fn changed_disk_path(&self) -> Utf8PathBuf {
        self.work_dir.join("disk.raw")
    }
}

/// What a builder asks of the host.
pub trait BuilderHost: Send + Sync {
    /// The build is `percent` done (0 to 100).
    fn progress(&self, percent: u8);

    /// The build is doing this now: a short phrase in the present tense.
    fn activity(&self, text: &str);

    /// Whether the build has been cancelled.
    fn cancelled(&self) -> bool;

    /// Whether log records of `level` are wanted.
    fn log_enabled(&self, level: LogLevel) -> bool;

    /// A log record of the plugin.
    fn log(&self, record: LogRecord);

    /// Everything else.
    ///
    /// # Errors
    /// Whatever the call says; `Unsupported` for one that this host does not know.
    fn call(&self, call: HostCall) -> Result<Value, DelegateError>;
}

/// A request of a delegate to the host. The answer is JSON; its shape stands at each variant.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "call", rename_all = "snake_case")]
#[non_exhaustive]
pub enum HostCall {
    /// Run a program; answers a [`crate::CommandOutput`].
    Run {
        /// The program.
        command: Command,
    },
    /// Wait for and take a lock that all builds of this data directory share; answers a token.
    Lock {
        /// Name of the lock.
        name: String,
    },
    /// Give a lock back; answers null.
    Unlock {
        /// The token.
        token: u64,
    },
    /// A folder that survives the build; answers its path.
    CacheDir {
        /// Name of the cache.
        name: String,
    },
    /// Record a file beside the body; answers null.
    AddArtifact {
        /// Name, unique within the image.
        name: String,
        /// The file; it is moved into the store.
        path: Utf8PathBuf,
        /// Its media type.
        media_type: String,
    },
    /// The files that tell about the disk; answers a list of [`crate::Artifact`]s.
    DiskArtifacts,
    /// Record a property of the image; answers null.
    SetProperty {
        /// The key.
        key: String,
        /// The value.
        value: Value,
    },
    /// Record what the provider still has of an image whose delivery fails; answers null.
    LeftBehind {
        /// How the provider knows it.
        identity: ProviderIdentity,
    },
    /// Ask for content in the target image; answers null.
    AddContent {
        /// The content.
        content: Content,
    },
    /// All content asked for so far; answers a [`Content`].
    Content,
    /// Copy a file, sharing blocks where the file system can and keeping holes; answers null.
    CopyFile {
        /// The file to copy.
        from: Utf8PathBuf,
        /// Where to.
        to: Utf8PathBuf,
    },
}

/// How important a log record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[repr(u8)]
pub enum LogLevel {
    /// Something failed.
    Error = 1,
    /// Something is odd.
    Warn = 2,
    /// Something that a user wants to know.
    Info = 3,
    /// Something that an author wants to know.
    Debug = 4,
    /// Everything.
    Trace = 5,
}

/// One `tracing` event of a plugin.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct LogRecord {
    /// How important it is.
    pub level: LogLevel,
    /// Module path, or what the event names as its target.
    pub target: String,
    /// The message.
    pub message: String,
    /// Further fields.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub fields: Map<String, Value>,
    /// Open spans of the plugin, outermost first, each as `name{field=value}`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub spans: Vec<String>,
}

impl LogRecord {
    /// A record without fields and spans.
    pub fn new(level: LogLevel, target: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            level,
            target: target.into(),
            message: message.into(),
            fields: Map::new(),
            spans: Vec::new(),
        }
    }
}

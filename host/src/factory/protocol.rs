//! What supervisor and worker say to each other: one JSON document per line.
//!
//! The supervisor writes one [`Request`] and later perhaps [`CANCEL`]; the worker writes
//! [`Message`]s, the last of which is [`Message::Done`]. Both are the same executable, so this
//! needs no versions. A plugin may write to either end what it likes: reading answers for any
//! bytes, in bounded memory. Public for `tests/fuzz`.

use std::io::{BufRead, BufReader, Read};

use camino::{Utf8Path, Utf8PathBuf};
use plugin_api::host::{BuildContext, LogRecord};
use plugin_api::{Artifact, Content, DelegateError, ProviderIdentity};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::limits::Limits;
use crate::process::{Exit, Reach};

/// The line that asks a worker to stop.
pub const CANCEL: &str = "cancel";

/// A longer line, in bytes, is no message of ours and is taken in pieces.
pub const MAX_LINE_BYTES: u64 = 4 << 20;

/// Calls `take` with every line of `stream`, its end included, until `take` answers `false` or the
/// stream ends or fails.
pub fn for_each_line(stream: impl Read, mut take: impl FnMut(&[u8]) -> bool) {
    let mut reader = BufReader::new(stream);
    let mut line = Vec::new();
    loop {
        line.clear();
        match reader.by_ref().take(MAX_LINE_BYTES).read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => return,
            Ok(_) if take(&line) => {},
            Ok(_) => return,
        }
    }
}

/// Waits until the supervisor asks to stop, or is gone; answers whether it asked.
pub fn wait_for_cancel(stream: impl Read) -> bool {
    let mut asked = false;
    for_each_line(stream, |line| {
        asked = line.strip_suffix(b"\n").unwrap_or(line) == CANCEL.as_bytes();
        !asked
    });
    asked
}

/// What a worker is to do.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Request {
    /// The work.
    pub work: Work,
    /// What both delegates are told.
    pub context: BuildContext,
    /// The plugin for the operating system, when this work needs one.
    pub os: Option<PluginRef>,
    /// The plugin for the cloud, when this work needs one.
    pub cloud: Option<PluginRef>,
    /// Folder of everything that the host keeps.
    pub data_dir: Utf8PathBuf,
    /// Files elsewhere that are no plugin's business.
    pub private_files: Vec<Utf8PathBuf>,
    /// Folder of locks that all builds share.
    pub locks_dir: Utf8PathBuf,
    /// Folder of caches that survive builds.
    pub cache_dir: Utf8PathBuf,
    /// Content of the target image; while planning, what takes the place of what the cloud plugin
    /// asks for.
    #[serde(default)]
    pub content: Option<Content>,
    /// What tells about the disk that the image is made from.
    #[serde(default)]
    pub disk_artifacts: Vec<Artifact>,
    /// Texts that are never shown in logs or errors.
    pub secrets: Vec<String>,
    /// The control group that the worker goes into; the supervisor makes it.
    pub cgroup: Option<Utf8PathBuf>,
}

impl Request {
    /// Of what the host keeps, a worker may write to its own folder and to the caches, and read images
    /// and the libraries that it loads.
    pub(super) fn reach(&self) -> Reach {
        let mut writable = vec![self.cache_dir.clone()];
        // What is only asked has no folder of its own.
        let own = self.context.image_path.parent().filter(|own| !own.starts_with(&self.cache_dir));
        writable.extend(own.map(Utf8Path::to_owned));
        // Images, and the work on them, may be on a disk of their own.
        let mut hidden = vec![self.data_dir.clone(), self.data_dir.join("work")];
        hidden.extend_from_slice(&self.private_files);
        let reach = Reach { hidden, read_only: vec![self.data_dir.join("images")], writable };
        let plugins = self.os.iter().chain(&self.cloud);
        plugins.fold(reach, |reach, plugin| reach.keeping(&plugin.library))
    }
}

/// The kinds of work, each the calls of one tier.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Work {
    /// Ask every delegate whether this can work; build nothing.
    #[default]
    Check,
    /// Make a base image.
    Base,
    /// Make a target image.
    Target,
    /// Push a target image to a provider.
    Push,
    /// Make an image inside a provider.
    Snapshot,
    /// Delete an image from a provider.
    Delete,
}

/// A plugin as a worker opens it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PluginRef {
    /// Its name, for messages.
    pub name: String,
    /// The library.
    pub library: Utf8PathBuf,
    /// The delegate to open, when the library has several.
    pub delegate: Option<String>,
    /// Build parameters that are this plugin's business, cast to the types of its schema.
    pub parameters: Map<String, Value>,
    /// The plugin's own settings.
    pub configuration: Map<String, Value>,
    /// What it may take.
    #[serde(default)]
    pub limits: Limits,
}

/// What a worker tells while it works.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Message {
    /// This delegate method begins.
    Method {
        /// Name of the plugin.
        plugin: String,
        /// Name of the method.
        method: String,
    },
    /// Percent done.
    Progress(u8),
    /// What is being done.
    Activity(String),
    /// A log record of the plugin.
    Log(LogRecord),
    /// A line that a child process, or the plugin itself, wrote.
    Output(String),
    /// A file to keep beside the body.
    Artifact {
        /// Its name.
        name: String,
        /// Where it is now.
        path: Utf8PathBuf,
        /// Its media type.
        media_type: String,
    },
    /// A property of the image.
    Property {
        /// The key.
        key: String,
        /// The value.
        value: Value,
    },
    /// The image is at its provider, which knows it so, or what a failed delivery left of it. Written down at once:
    /// whatever goes wrong from then on, it can be deleted there.
    Delivered(ProviderIdentity),
    /// How it ended.
    Done(Outcome),
    /// The worker process ended; written by its init process.
    Exited(Exit),
}

impl Message {
    /// What a line from a worker says; nothing when it is blank. What is no message was printed by
    /// the plugin or a child process, and is [`Message::Output`].
    pub fn from_line(line: &[u8]) -> Option<Self> {
        let line = line.trim_ascii();
        if line.is_empty() {
            return None;
        }
        let printed = |_| Self::Output(String::from_utf8_lossy(line).into_owned());
        Some(serde_json::from_slice(line).unwrap_or_else(printed))
    }
}

/// What stands against a request.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Objection {
    /// The plugin that says so.
    pub plugin: String,
    /// The delegate method that answered it.
    pub method: String,
    /// Why.
    pub error: DelegateError,
}

/// How work ended.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// The image is made.
    Complete {
        /// Whether a target image was made from the disk of its base image, as it is: what tells about
        /// the one tells about the other.
        #[serde(default)]
        is_same_disk: bool,
    },
    /// A delegate decided that it is not to be made.
    Skipped(String),
    /// It could not be made.
    Failed {
        /// The plugin that failed; empty when it was the host.
        plugin: String,
        /// The delegate method that failed.
        method: String,
        /// Why.
        error: DelegateError,
    },
    /// What the delegates say of a request.
    Checked {
        /// Everything that stands against it.
        problems: Vec<Objection>,
        /// The OS delegate's cache key; `None` when it does not know.
        cache_key: Option<String>,
        /// What the image for the target gets, when that was asked.
        #[serde(default)]
        content: Option<Content>,
    },
}

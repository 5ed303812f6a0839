//! Events: everything that happens to an image, in order.
//!
//! An event is in the store before anybody hears of it, so whoever asks for "everything after sequence
//! number N" misses nothing, whenever it asks.

use jiff::Timestamp;
use plugin_api::host::LogLevel;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{ImageId, Status};

/// Something that happened to an image.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Grows with every event of the store; never used twice. Not every number is used.
    pub sequence: u64,
    /// The image.
    pub image: ImageId,
    /// When it happened.
    pub time: Timestamp,
    /// What happened.
    #[serde(flatten)]
    pub kind: EventKind,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "lowercase")]
#[non_exhaustive]
pub enum EventKind {
    /// The image has another state.
    Transition {
        /// The state before; missing for a new image.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        from: Option<Status>,
        /// The state now.
        to: Status,
        /// Why, for a state that is a failure or a skip.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        error: Option<String>,
    },
    /// The build got further.
    Progress {
        /// How far, from 0 to 100.
        percent: u8,
    },
    /// The build is doing something else now.
    Activity {
        /// What, in a few words.
        text: String,
    },
    /// A line of the build log.
    Log(LogLine),
    /// A file was added beside the body.
    Artifact {
        /// Its name.
        name: String,
    },
    /// A property was set.
    Property {
        /// Its key.
        key: String,
        /// Its value.
        value: Value,
    },
    /// A method of a delegate begins.
    Method {
        /// The plugin.
        plugin: String,
        /// The method.
        method: String,
    },
    /// Somebody asked to cancel the build.
    Cancel,
}

/// A line of the build log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LogLine {
    /// How important it is.
    pub level: LogLevel,
    /// Module path or program that it comes from.
    pub target: String,
    /// The text.
    pub message: String,
    /// Further fields.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub fields: Map<String, Value>,
    /// Open spans, outermost first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub spans: Vec<String>,
    /// Where it was caught.
    #[serde(default)]
    pub stream: LogStream,
}

/// Where a line of the build log was caught.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogStream {
    /// `tracing` in the host or in a plugin.
    #[default]
    Log,
    /// Standard output of the worker or of a program.
    Stdout,
    /// Standard error of the worker or of a program.
    Stderr,
}

impl LogLine {
    /// A line without fields and spans.
    pub fn new(level: LogLevel, target: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            level,
            target: target.into(),
            message: message.into(),
            fields: Map::new(),
            spans: Vec::new(),
            stream: LogStream::Log,
        }
    }
}

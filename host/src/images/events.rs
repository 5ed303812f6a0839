//! Events: everything that happens to an image, in order.
//!
//! An event is in the store before anybody hears of it, so whoever asks for "everything after sequence
//! number N" misses nothing, whenever it asks.

use std::fmt;

use jiff::Timestamp;
use plugin_api::host::LogLevel;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::{ImageId, Status};
use crate::schemas;

/// Something that happened to an image.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
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

/// One entry of the log for people: time of day and what happened. Further lines of a text are indented:
/// they must not pass for entries of the log.
impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.kind.to_string();
        let time = self.time.strftime("%H:%M:%S%.3f");
        write!(f, "{time} {}", text.trim_end().replace('\n', "\n    "))
    }
}

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Transition { to, error: Some(error), .. } => write!(f, "== {to}: {error}"),
            Self::Transition { to, .. } => write!(f, "== {to}"),
            Self::Progress { percent } => write!(f, "-- {percent} %"),
            Self::Activity { text } => write!(f, "-- {text}"),
            Self::Log(line) => line.fmt(f),
            Self::Artifact { name } => write!(f, "-- artifact {name}"),
            Self::Property { key, value } => write!(f, "-- {key}={value}"),
            Self::Method { plugin, method } => write!(f, ">> {plugin}: {method}"),
            Self::Cancel => f.write_str("== cancel requested"),
        }
    }
}

impl fmt::Display for LogLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.target.is_empty() {
            let level = format!("{:?}", self.level).to_lowercase();
            write!(f, "{level} {}: ", self.target)?;
        }
        f.write_str(&self.message)?;
        for (name, value) in &self.fields {
            match value.as_str() {
                Some(text) => write!(f, " {name}={text}")?,
                None => write!(f, " {name}={value}")?,
            }
        }
        Ok(())
    }
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
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
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct LogLine {
    /// How important it is.
    #[schema(schema_with = schemas::log_level)]
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
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

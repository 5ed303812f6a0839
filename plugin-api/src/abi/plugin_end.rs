//! The plugin's end of the way to its host, and errors as they cross the boundary.

use abi_stable::std_types::{RBox, RResult, RStr, RString};
use serde_json::Value;

use super::session::AbiHost_TO;
use crate::error::DelegateError;
use crate::host::{BuilderHost, HostCall, LogLevel, LogRecord};

/// The host, as it is handed to a plugin.
pub(super) type HostHandle = AbiHost_TO<'static, RBox<()>>;

/// The plugin's end: asks the host.
pub(super) struct PluginEnd(HostHandle);

impl PluginEnd {
    pub(super) fn new(host: HostHandle) -> Self {
        Self(host)
    }
}

impl BuilderHost for PluginEnd {
    fn progress(&self, percent: u8) {
        self.0.progress(percent);
    }

    fn activity(&self, text: &str) {
        self.0.activity(RStr::from_str(text));
    }

    fn cancelled(&self) -> bool {
        self.0.cancelled()
    }

    fn log_enabled(&self, level: LogLevel) -> bool {
        self.0.log_enabled(level as u8)
    }

    fn log(&self, record: LogRecord) {
        // A record that is no JSON (a number that is not finite) is not worth a failed build.
        if let Ok(text) = serde_json::to_string(&record) {
            self.0.log(RStr::from_str(&text));
        }
    }

    fn call(&self, call: HostCall) -> Result<Value, DelegateError> {
        let text = serde_json::to_string(&call).map_err(|error| {
            DelegateError::bug_in_plugin("the call cannot be written as JSON").caused_by(error)
        })?;
        match self.0.call(RStr::from_str(&text)) {
            RResult::ROk(answer) => serde_json::from_str(&answer).map_err(|error| {
                DelegateError::failed("the host's answer is no JSON").caused_by(error)
            }),
            RResult::RErr(error) => Err(decode(&error)),
        }
    }
}

/// An error as it crosses the boundary.
#[cold]
pub(super) fn encode(error: &DelegateError) -> RString {
    serde_json::to_string(error).unwrap_or_else(|_| error.message().to_owned()).into()
}

/// An error that has crossed the boundary. A kind that is not known yet counts as `Failed`.
#[cold]
pub(super) fn decode(text: &str) -> DelegateError {
    serde_json::from_str(text).unwrap_or_else(|_| {
        let message = serde_json::from_str::<Value>(text)
            .ok()
            .and_then(|value| Some(value.get("message")?.as_str()?.to_owned()));
        DelegateError::failed(message.unwrap_or_else(|| text.to_owned()))
    })
}

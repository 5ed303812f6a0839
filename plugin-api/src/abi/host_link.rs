//! Both ends of the way from a plugin back to its host.

use std::mem::ManuallyDrop;
use std::sync::Arc;

use abi_stable::erased_types::TD_Opaque;
use abi_stable::std_types::{RBox, RResult, RStr, RString};
use serde_json::Value;

use super::guard::{self, NO_SESSION};
use super::session::{AbiHost, AbiHost_TO, Outcome};
use crate::error::DelegateError;
use crate::host::{BuilderHost, HostCall, LogLevel, LogRecord};

/// The host, as it is handed to a plugin.
pub(super) type HostHandle = AbiHost_TO<'static, RBox<()>>;

/// The host's end: answers a plugin.
struct HostEnd(ManuallyDrop<Arc<dyn BuilderHost>>);

/// Makes a host callable from a plugin.
pub(super) fn host_end(host: Arc<dyn BuilderHost>) -> HostHandle {
    guard::install_hook();
    AbiHost_TO::from_value(HostEnd(ManuallyDrop::new(host)), TD_Opaque)
}

impl HostEnd {
    /// Runs `body` of the host; a panic of the host must not unwind into the plugin.
    fn guarded<T>(&self, what: &str, body: impl FnOnce(&dyn BuilderHost) -> T) -> Option<T> {
        guard::catch(NO_SESSION, || body(&**self.0))
            .inspect_err(|panic| tracing::error!("the host panicked in `{what}` {panic}"))
            .ok()
    }
}

impl AbiHost for HostEnd {
    fn progress(&self, percent: u8) {
        self.guarded("progress", |host| host.progress(percent));
    }

    fn activity(&self, text: RStr<'_>) {
        self.guarded("activity", |host| host.activity(text.as_str()));
    }

    /// A host that cannot answer any more wants no more work either.
    fn cancelled(&self) -> bool {
        self.guarded("cancelled", |host| host.cancelled()).unwrap_or(true)
    }

    fn log_enabled(&self, level: u8) -> bool {
        self.guarded("log_enabled", |host| host.log_enabled(level_of(level))).unwrap_or(false)
    }

    fn log(&self, record: RStr<'_>) {
        self.guarded("log", |host| match serde_json::from_str(&record) {
            Ok(record) => host.log(record),
            Err(error) => tracing::warn!(%error, "a log record of a plugin cannot be read"),
        });
    }

    fn call(&self, call: RStr<'_>) -> Outcome<RString> {
        let answer = guard::catch(NO_SESSION, || answer(&**self.0, &call));
        match answer.unwrap_or_else(|panic| {
            Err(DelegateError::failed(format!("the host panicked {panic}"))
                .hint("this is a defect of the host, not of the plugin"))
        }) {
            Ok(value) => RResult::ROk(value.to_string().into()),
            Err(error) => RResult::RErr(encode(&error)),
        }
    }
}

impl Drop for HostEnd {
    fn drop(&mut self) {
        let dropped = guard::catch(NO_SESSION, || {
            // SAFETY: nothing uses the value after `drop`.
            unsafe { ManuallyDrop::drop(&mut self.0) }
        });
        if let Err(panic) = dropped {
            tracing::error!("the host panicked while a session was closed, {panic}");
        }
    }
}

fn answer(host: &dyn BuilderHost, call: &str) -> Result<Value, DelegateError> {
    let call: HostCall = serde_json::from_str(call).map_err(|error| {
        DelegateError::unsupported("the plugin asks for something that this host does not know")
            .caused_by(error)
            .hint("the plugin was built for a newer plugin API: update the host")
    })?;
    host.call(call)
}

fn level_of(number: u8) -> LogLevel {
    match number {
        1 => LogLevel::Error,
        2 => LogLevel::Warn,
        3 => LogLevel::Info,
        4 => LogLevel::Debug,
        _ => LogLevel::Trace,
    }
}

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
pub(super) fn encode(error: &DelegateError) -> RString {
    serde_json::to_string(error).unwrap_or_else(|_| error.message().to_owned()).into()
}

/// An error that has crossed the boundary. A kind that is not known yet counts as `Failed`.
pub(super) fn decode(text: &str) -> DelegateError {
    serde_json::from_str(text).unwrap_or_else(|_| {
        let message = serde_json::from_str::<Value>(text)
            .ok()
            .and_then(|value| Some(value.get("message")?.as_str()?.to_owned()));
        DelegateError::failed(message.unwrap_or_else(|| text.to_owned()))
    })
}

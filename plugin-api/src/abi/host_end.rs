//! The host's end of the way back from a plugin: what a plugin's builder reaches.

use std::mem::ManuallyDrop;
use std::sync::Arc;

use abi_stable::erased_types::TD_Opaque;
use abi_stable::std_types::{RResult, RStr, RString};
use serde_json::Value;

use super::guard::{self, NO_SESSION};
use super::plugin_end::{HostHandle, encode};
use super::session::{AbiHost, AbiHost_TO, Outcome};
use crate::error::DelegateError;
use crate::host::{BuilderHost, HostCall, LogLevel};

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

//! What commands that change something on this machine leave in the audit log. Commands that a daemon
//! carries out are in its own.

use jiff::Timestamp;
use rustix::process::getuid;

use super::error::{Exit, Failures};
use super::local::Local;
use super::output::Output;
use crate::audit::{AuditLog, Deed, Entry, local_user};

/// What a command was about.
#[derive(Debug)]
pub(super) enum Subjects {
    /// Images, by identifier, or as they were named.
    Images(Vec<String>),
    /// Tokens, by name.
    Tokens(Vec<String>),
}

/// Writes down that `command` was run. That it cannot be written down is told, and stops nothing.
pub(super) fn note<T>(
    local: &Local,
    command: &'static str,
    subjects: Subjects,
    result: &Result<T, Failures>,
) {
    let exit = result.as_ref().map_or_else(Failures::exit, |_| Exit::Done);
    let (images, tokens) = match subjects {
        Subjects::Images(images) => (images, Vec::new()),
        Subjects::Tokens(tokens) => (Vec::new(), tokens),
    };
    let entry = Entry {
        time: Timestamp::now(),
        user: Some(local_user(getuid().as_raw())),
        credential: "command-line",
        deed: Deed::Command { command, exit_code: exit as u8 },
        images,
        tokens,
        ..Entry::default()
    };
    let log = AuditLog::new(local.data_dir(), local.settings.serve.audit_log.as_deref());
    if let Err(error) = log.append(&entry) {
        Output::error(format!("warning: the audit log is not written: {error}"));
    }
}

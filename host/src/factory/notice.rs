//! What a front end is told while images are built. Everything is in the store before it is told.

use plugin_api::host::LogRecord;

use crate::images::{ImageId, Status};

/// Something happened to an image.
#[derive(Clone, Copy, Debug)]
pub struct Notice<'a> {
    /// The image.
    pub image: ImageId,
    /// What it is within its build: `base`, `qcow2`, …
    pub label: &'a str,
    /// What happened.
    pub what: What<'a>,
}

/// What happened.
#[derive(Clone, Copy, Debug)]
pub enum What<'a> {
    /// It changed its status.
    Status(Status),
    /// Percent done.
    Progress(u8),
    /// What is being done.
    Activity(&'a str),
    /// A log record of a plugin.
    Log(&'a LogRecord),
    /// A line of a program's output.
    Output(&'a str),
}

/// Somebody who watches builds; called from several threads.
pub trait Observer: Sync {
    /// Something happened.
    fn notice(&self, notice: &Notice<'_>);
}

/// Nobody watches.
#[derive(Clone, Copy, Debug)]
pub struct NoObserver;

impl Observer for NoObserver {
    fn notice(&self, _: &Notice<'_>) {}
}

//! How a caller follows and ends a long operation.

use std::fmt;

use crate::sparse::StreamError;

/// Progress and cancellation of one operation. Both callbacks run on the calling thread, a few times per second.
#[derive(Clone, Copy)]
pub struct Control<'a> {
    progress: &'a dyn Fn(u64, u64),
    cancelled: &'a dyn Fn() -> bool,
}

impl<'a> Control<'a> {
    /// `progress` receives the bytes of data done and the total (holes count as nothing);
    /// `cancelled` ends the operation with [`StreamError::Cancelled`] once it answers `true`.
    pub fn new(progress: &'a dyn Fn(u64, u64), cancelled: &'a dyn Fn() -> bool) -> Self {
        Self { progress, cancelled }
    }

    pub(crate) fn report(&self, done_bytes: u64, total_bytes: u64) {
        (self.progress)(done_bytes, total_bytes);
    }

    pub(crate) fn check(&self) -> Result<(), StreamError> {
        if (self.cancelled)() { Err(StreamError::Cancelled) } else { Ok(()) }
    }
}

impl Default for Control<'_> {
    /// Reports to nobody and is never cancelled.
    fn default() -> Self {
        Self { progress: &|_, _| {}, cancelled: &|| false }
    }
}

impl fmt::Debug for Control<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Control").finish_non_exhaustive()
    }
}

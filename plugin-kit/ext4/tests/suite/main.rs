//! Images as others see them: everything here is checked by e2fsprogs.
#![expect(clippy::unwrap_used, reason = "a failed step is a failed test")]

mod content;
mod properties;
mod reading;
mod sizes;
mod sources;
mod tools;

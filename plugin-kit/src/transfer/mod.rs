//! HTTP for delivering images (feature `transfer`): what every plugin that pushes to a server needs.
//!
//! A [`Client`] sends [`Request`]s for one build. It tries again what may be tried again, tells the
//! build why it waits, stops within a tenth of a second when the build is cancelled, and keeps
//! [`Secret`]s out of whatever it says. An [`Upload`] is a part of a file that is sent as it is read;
//! it reports how far it is and takes digests on its way. A [`TransferError`] says what was asked,
//! what was answered and what helps, and becomes a `DelegateError` by `?`.
//!
//! Each request has a connection of its own: a delivery is one long request and a few short ones, and
//! a connection that was kept may be gone when it is needed.

mod client;
mod early;
mod error;
mod options;
mod request;
mod resolver;
mod retry;
mod secret;
mod tcp;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod upload;

pub use client::Client;
pub use error::{Refusal, TransferError, Words};
pub use options::{Limits, Options};
pub use request::{Answer, Request, is_loopback};
pub use retry::{Retries, Retry};
pub use secret::Secret;
pub use upload::{Algorithm, Upload};

#[cfg(test)]
mod tests;

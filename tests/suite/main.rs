//! The black-box suite: what imageforge promises, kept by the real executable and real plugins.
//!
//! One binary, one module per subject, tests named after promises. Every test works in a
//! [`support::Workshop`]: a folder with templates, a `plugins.d` and a data directory of its own.
//! Run it with `make test`, or after `cargo build --workspace` with
//! `cargo nextest run -p integration-tests`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a failed step is a failed test"
)]
#![allow(clippy::disallowed_methods, reason = "the suite drives processes and files from outside")]

mod fixtures_abi;
mod support;

mod abi;
mod bad_input;
mod bad_libraries;
mod booting;
mod building;
mod cancelling;
mod concurrency;
mod delivering;
mod disks;
mod examining;
mod formats;
mod help;
mod hiding;
mod images;
mod killing;
mod layers;
mod load;
mod misbehaving;
mod packaging;
mod providers;
mod quarantine;
mod remote;
mod reserving;
mod scanning;
mod secrets;
mod serving;
mod several;
mod signals;
mod soak;
mod target_content;
mod templates;
mod upgrading;

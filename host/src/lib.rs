//! The imageforge host: finds plugins, plans and supervises builds, keeps images.
//!
//! Layers, each may use only those above it in this list:
//! 0 machinery that knows no plugin ([`template`] among it), 1 [`plugins`], [`images`] and [`tokens`],
//! 2 `factory` and `boot`, 3 `doctor`, 4 `daemon` and `client`, 5 `cli`.

pub mod atomic_file;
pub mod audit;
pub mod boot;
pub mod cli;
pub mod client;
pub mod daemon;
pub mod doctor;
pub mod factory;
pub mod failures;
pub mod fingerprint;
pub mod images;
pub mod named_lock;
pub mod nearest;
pub mod paths;
pub mod plugins;
pub mod process;
mod schemas;
pub mod scopes;
pub mod seal;
pub mod settings;
pub mod template;
pub mod tokens;

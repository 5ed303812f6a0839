//! Plugins as the host knows them: links in `plugins.d`, `.info` files, libraries and what a probe
//! found out about them.
//!
//! [`Registry`] is the entrance. [`scan`] reads the directory, [`matching`] decides who serves a
//! target by the `.info` files alone, [`library`] finds the code, [`preflight`] and [`probe`] look
//! at it before it is trusted, and [`cache`] remembers what they saw. No code of a plugin ever runs
//! in this process: a probe is a child.

pub mod cache;
mod copies;
pub mod identity;
pub mod library;
pub mod matching;
mod no_plugin;
mod plugin;
pub mod preflight;
pub mod probe;
mod registry;
mod requirement;
pub mod scan;
mod schema;
mod state;

pub use copies::LibraryCopy;
pub use no_plugin::{NoPlugin, Unusable};
pub use plugin::Plugin;
pub use registry::{
    ChangeKind, PluginChange, PluginDocument, Registry, RegistryOptions, Snapshot, TargetEntry,
};
pub use requirement::has_program;
pub use schema::Schemas;
pub use state::{Conflict, PluginState, Status};

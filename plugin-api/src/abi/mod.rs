//! The stable ABI between host and plugin: the only place that names `abi_stable`.
//!
//! A library exports one static, [`SYMBOL`], from which the host reaches the root module.
//! A session is one delegate with its builder; calling one of its methods costs a call
//! through a function pointer and a guard, and no serialisation. Documents cross as JSON text, so
//! they may gain fields; the types and traits of this folder only ever gain methods at their end.
//!
//! Every body in either direction runs inside a guard, because a panic that reached
//! `extern "C"` would end the process.

#![expect(
    unsafe_code,
    reason = "reading a symbol of a library, and what abi_stable's macros expand to"
)]

#[cfg(feature = "host")]
mod compatibility;
#[cfg(any(feature = "host", feature = "testing"))]
mod delegate_session;
mod guard;
#[cfg(any(feature = "host", feature = "testing"))]
mod host_end;
#[cfg(feature = "testing")]
mod in_process;
#[cfg(feature = "host")]
mod library;
#[expect(
    unreachable_pub,
    clippy::cast_ptr_alignment,
    clippy::expl_impl_clone_on_copy,
    clippy::trivially_copy_pass_by_ref,
    reason = "what derive(StableAbi) expands to"
)]
#[cfg_attr(not(feature = "host"), expect(dead_code, reason = "only a host reads the module"))]
mod module;
mod plugin_end;
#[expect(
    unused_qualifications,
    non_local_definitions,
    unreachable_pub,
    clippy::cast_ptr_alignment,
    clippy::used_underscore_binding,
    reason = "what sabi_trait expands to"
)]
mod session;
mod session_body;

#[cfg(any(feature = "host", feature = "testing"))]
pub use delegate_session::DelegateSession;
#[cfg(feature = "host")]
pub use library::{LoadError, OpenOptions, PluginLibrary};
pub use module::{DelegateDescription, Description};

pub(crate) use guard::current_session;
#[cfg(feature = "testing")]
pub(crate) use in_process::open_in_this_process;

/// What [`export_plugin!`](crate::export_plugin) expands to; no part of the API.
#[doc(hidden)]
pub mod export {
    pub use super::module::header;
    pub use abi_stable::library::LibHeader;
}

/// Name of the one symbol that a plugin library exports.
pub const SYMBOL: &str = "imageforge_plugin";

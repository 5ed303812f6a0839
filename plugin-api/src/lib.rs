//! The plugin API of imageforge (front page: to be written with `export_plugin!`).

pub mod abi;
mod builder;
mod cloud_delegate;
mod command;
mod content;
mod error;
#[doc(hidden)]
pub mod export;
mod forwarder;
pub mod host;
mod image;
pub mod info;
mod os_delegate;
mod parameters;
pub mod template;
#[cfg(feature = "testing")]
pub mod testing;

pub use builder::{BuildLock, Builder};
pub use cloud_delegate::CloudDelegate;
pub use command::{Command, CommandOutput, CommandParts};
pub use content::Content;
pub use error::{DelegateError, DelegateErrorKind, ResultExt};
pub use export::DelegateKind;
pub use image::{Artifact, Decision, Image, ProviderIdentity, Tier};
pub use os_delegate::OsDelegate;
pub use parameters::Parameters;
pub use template::Template;

#[doc(hidden)]
pub use inventory as __inventory;

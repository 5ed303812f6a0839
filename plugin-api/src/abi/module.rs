//! The root module: what the exported symbol of a library leads to.

use std::sync::Arc;

use abi_stable::StableAbi;
use abi_stable::library::{
    __call_root_module_loader, CheckTypeLayout, LibHeader, RootModule, RootModuleResult,
};
use abi_stable::package_version_strings;
use abi_stable::prefix_type::PrefixTypeTrait;
use abi_stable::sabi_types::VersionStrings;
use abi_stable::std_types::{RResult, RStr, RString};
use serde::{Deserialize, Serialize};

use super::guard::{self, NO_SESSION};
use super::plugin_end::{HostHandle, PluginEnd, encode};
use super::session::Outcome;
use super::session_body::{self, SessionHandle};
use crate::error::DelegateError;
use crate::export::{self, DelegateKind};
use crate::forwarder;

/// What a library offers. Fields are only ever appended, and then read as an `Option`.
#[repr(C)]
#[derive(StableAbi)]
#[sabi(kind(Prefix(prefix_ref = PluginModuleRef)))]
pub struct PluginModule {
    /// A [`Description`] as JSON.
    pub describe: extern "C" fn() -> Outcome<RString>,
    /// Opens a session: name of the delegate (empty for the only one), context as JSON, host.
    #[sabi(last_prefix_field)]
    pub open_session: extern "C" fn(RStr<'_>, RStr<'_>, HostHandle) -> Outcome<SessionHandle>,
    /// The most verbose level that the host wants to hear of, 0 (nothing) to 5 (trace).
    #[sabi(missing_field(option))]
    pub set_log_level: extern "C" fn(u8),
}

impl RootModule for PluginModuleRef {
    abi_stable::declare_root_module_statics! {PluginModuleRef}
    const BASE_NAME: &'static str = "imageforge_plugin";
    const NAME: &'static str = "imageforge_plugin";
    const VERSION_STRINGS: VersionStrings = package_version_strings!();
}

/// What a plugin library says about itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Description {
    /// Version of `plugin-api` that the library was built with.
    pub api_version: semver::Version,
    /// Compiler that it was built with; empty when it was not recorded.
    #[serde(default)]
    pub rustc_version: String,
    /// Its delegates, sorted by name.
    pub delegates: Vec<DelegateDescription>,
}

/// One delegate of a library.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DelegateDescription {
    /// Its name, unique within the library.
    pub name: String,
    /// What it implements.
    pub kind: DelegateKind,
}

/// The value of the exported symbol.
pub const fn header() -> LibHeader {
    // SAFETY: `construct` answers a `PluginModuleRef`.
    unsafe { LibHeader::from_constructor::<PluginModuleRef>(construct, CheckTypeLayout::Yes) }
}

extern "C" fn construct() -> RootModuleResult {
    __call_root_module_loader(root_module)
}

fn root_module() -> PluginModuleRef {
    prepare();
    PluginModule { describe, open_session, set_log_level }.leak_into_prefix()
}

/// What this library's copies of the standard library and of tracing need, once.
pub(super) fn prepare() {
    guard::install_hook();
    forwarder::install();
}

extern "C" fn describe() -> Outcome<RString> {
    let described = guard::call(NO_SESSION, || {
        serde_json::to_string(&description()?).map_err(|error| {
            DelegateError::bug_in_plugin("the description is no JSON").caused_by(error)
        })
    });
    match described {
        Ok(text) => RResult::ROk(text.into()),
        Err(error) => RResult::RErr(encode(&error)),
    }
}

fn description() -> Result<Description, DelegateError> {
    Ok(Description {
        api_version: api_version(),
        rustc_version: env!("PLUGIN_API_RUSTC").to_owned(),
        delegates: export::delegates()?
            .iter()
            .map(|entry| DelegateDescription {
                name: entry.name.to_owned(),
                kind: entry.constructor.kind(),
            })
            .collect(),
    })
}

/// Version of this crate.
pub(super) fn api_version() -> semver::Version {
    semver::Version::parse(env!("CARGO_PKG_VERSION")).unwrap_or(semver::Version::new(0, 0, 0))
}

extern "C" fn open_session(
    delegate: RStr<'_>,
    context: RStr<'_>,
    host: HostHandle,
) -> Outcome<SessionHandle> {
    let opened = guard::call(NO_SESSION, || {
        let found = export::find(&delegate)?;
        let context = serde_json::from_str(&context).map_err(|error| {
            DelegateError::failed("the plugin cannot read the context that the host sent")
                .caused_by(error)
                .hint(
                    "host and plugin were built with plugin APIs too far apart: rebuild the plugin",
                )
        })?;
        session_body::open(|| found.make(), context, Arc::new(PluginEnd::new(host)))
    });
    match opened {
        Ok(session) => RResult::ROk(session),
        Err(error) => RResult::RErr(encode(&error)),
    }
}

extern "C" fn set_log_level(level: u8) {
    // Only a defect of tracing itself could panic here.
    drop(guard::catch(NO_SESSION, || forwarder::set_level(level)));
}

//! The two traits that cross the boundary.
//!
//! Evolution: within a major version a method is only ever appended, after `last_prefix_field` and
//! with a default body, which is what the other side gets from a library that does not have it.

use abi_stable::sabi_trait;
use abi_stable::std_types::{ROption, RResult, RStr, RString};

/// `Ok`, or a [`DelegateError`](crate::DelegateError) as JSON.
pub(super) type Outcome<T> = RResult<T, RString>;

/// One delegate with its builder, inside the plugin. What each method means stands at
/// [`OsDelegate`](crate::OsDelegate) and [`CloudDelegate`](crate::CloudDelegate).
#[sabi_trait]
pub trait Session: Send + Sync {
    /// A JSON array of errors; empty text when nothing stands against the build.
    fn check(&self) -> RString;
    fn cache_key(&self) -> Outcome<RString>;
    fn check_provider(&self) -> Outcome<()>;
    /// The reason to skip, if there is one.
    fn should(&self) -> Outcome<ROption<RString>>;
    fn will(&self) -> Outcome<()>;
    fn create_base_image(&self) -> Outcome<()>;
    fn create_target_image(&self) -> Outcome<()>;
    fn finish_target_image(&self) -> Outcome<()>;
    /// A `ProviderIdentity` as JSON.
    fn push(&self) -> Outcome<RString>;
    /// A `ProviderIdentity` as JSON.
    fn snapshot(&self) -> Outcome<RString>;
    fn delete_from_provider(&self) -> Outcome<()>;
    #[sabi(last_prefix_field)]
    fn did(&self) -> Outcome<()>;
    /// Called from another thread than the rest.
    fn abort(&self) -> Outcome<()> {
        RResult::ROk(())
    }
    /// A `Content` as JSON; empty text for none.
    fn target_content(&self) -> Outcome<RString> {
        RResult::ROk(RString::new())
    }
}

/// What stands behind the builder, inside the host: [`BuilderHost`](crate::host::BuilderHost).
#[sabi_trait]
pub trait AbiHost: Send + Sync {
    fn progress(&self, percent: u8);
    fn activity(&self, text: RStr<'_>);
    fn cancelled(&self) -> bool;
    fn log_enabled(&self, level: u8) -> bool;
    /// A `LogRecord` as JSON.
    fn log(&self, record: RStr<'_>);
    /// A `HostCall` as JSON; answers JSON.
    #[sabi(last_prefix_field)]
    fn call(&self, call: RStr<'_>) -> Outcome<RString>;
}

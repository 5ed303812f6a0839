//! OpenAPI schemas of the types of the plugin API, which knows nothing of OpenAPI.
//!
//! Each is made of the values as they are written, so that it cannot say anything else.

use plugin_api::host::LogLevel;
use plugin_api::{DelegateErrorKind, Tier};
use serde::Serialize;
use utoipa::openapi::schema::{Object, ObjectBuilder, SchemaType, Type};

/// [`Tier`]
pub(crate) fn tier() -> Object {
    one_of(&[Tier::Base, Tier::Target, Tier::Provider], Type::String.into())
}

/// [`LogLevel`]
pub(crate) fn log_level() -> Object {
    use LogLevel::{Debug, Error, Info, Trace, Warn};
    one_of(&[Error, Warn, Info, Debug, Trace], Type::String.into())
}

/// [`DelegateErrorKind`], or nothing.
pub(crate) fn error_kind() -> Object {
    use DelegateErrorKind as Kind;
    let kinds = [
        Kind::InvalidInput,
        Kind::Credentials,
        Kind::NotFound,
        Kind::Conflict,
        Kind::Unavailable,
        Kind::Unsupported,
        Kind::Cancelled,
        Kind::MissingRequirement,
        Kind::Failed,
        Kind::BugInPlugin,
    ];
    let kinds: Vec<_> = kinds.into_iter().map(Some).chain([None]).collect();
    one_of(&kinds, SchemaType::from_iter([Type::String, Type::Null]))
}

fn one_of(values: &[impl Serialize], kind: SchemaType) -> Object {
    let values = values.iter().filter_map(|value| serde_json::to_value(value).ok());
    ObjectBuilder::new().schema_type(kind).enum_values(Some(values)).build()
}

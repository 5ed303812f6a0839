//! Whether a library's layout of the shared types fits this host's.

use abi_stable::StableAbi;
use abi_stable::abi_stability::abi_checking::{
    AbiInstability, AbiInstabilityErrors, check_layout_compatibility,
};
use abi_stable::type_layout::{TLFieldOrFunction, TypeLayout};
use semver::Version;

use super::module::PluginModuleRef;

/// Whether Cargo would take one version of the API for the other: up to the first part that is
/// not zero they are equal.
pub(super) fn same_major(one: &Version, other: &Version) -> bool {
    one.major == other.major && (one.major > 0 || one.minor == other.minor)
}

/// Compares the layouts, and says where they first differ.
///
/// `abi_stable` calls a library that lacks the newest method of its host incompatible. It is not:
/// what is missing has a default. So a library fits when it has everything that the host has, or
/// the host has everything that it has.
pub(super) fn check_layout(
    plugin: &'static TypeLayout,
    plugin_is_older: bool,
) -> Result<(), String> {
    let host = <PluginModuleRef as StableAbi>::LAYOUT;
    let newer = check_layout_compatibility(host, plugin);
    if newer.is_ok() {
        return Ok(());
    }
    let older = check_layout_compatibility(plugin, host);
    match (newer, older) {
        (Err(newer), Err(older)) => {
            Err(first_difference(if plugin_is_older { &older } else { &newer }))
        },
        _ => Ok(()),
    }
}

/// `path: reason`, from an error text that has some 50 KB.
fn first_difference(errors: &AbiInstabilityErrors) -> String {
    // The deepest place comes nearest to what was edited; its parents only repeat it.
    let Some(first) = errors.errors.iter().max_by_key(|e| e.stack_trace.len()) else {
        return "an unknown place".to_owned();
    };
    let mut path: Vec<&str> = first
        .stack_trace
        .iter()
        .map(|step| match step.expected {
            TLFieldOrFunction::Field(field) => field.name(),
            TLFieldOrFunction::Function(function) => function.name.as_str(),
        })
        .collect();
    // Fields of wrappers are called `0`; a function is told as field and as function.
    path.retain(|name| name.parse::<u8>().is_err());
    path.dedup();
    let reason = first.errs.first().map_or("differs", reason);
    format!("`{}`: {reason}", path.join("."))
}

fn reason(error: &AbiInstability) -> &'static str {
    match error {
        AbiInstability::Name(_) | AbiInstability::Package(_) => "another type",
        AbiInstability::PackageVersion(_) => "another version of a package",
        AbiInstability::Size(_) => "another size",
        AbiInstability::Alignment(_) => "another alignment",
        AbiInstability::FieldCountMismatch(_) => "another number of fields",
        AbiInstability::UnexpectedField(_) => "another field",
        AbiInstability::TooManyVariants(_) | AbiInstability::UnexpectedVariant(_) => {
            "another variant"
        },
        AbiInstability::MismatchedPrefixSize(_) => "another set of required methods",
        AbiInstability::FnLifetimeMismatch(_) | AbiInstability::FieldLifetimeMismatch(_) => {
            "other lifetimes"
        },
        AbiInstability::MismatchedPrimitive(_) => "another primitive type",
        _ => "another shape",
    }
}

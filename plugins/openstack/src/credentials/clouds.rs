//! `clouds.yaml`: several clouds by name, each with its `auth`.

use plugin_api::DelegateError;
use serde_json::{Map, Value};

use super::unreadable;

/// Keys of a cloud that mean something here; the others are for other services and programs.
const KEYS: [&str; 14] = [
    "auth",
    "auth_type",
    "region_name",
    "region",
    "interface",
    "endpoint_type",
    "cacert",
    "verify",
    "insecure",
    "image_endpoint_override",
    "image_endpoint",
    "compute_endpoint_override",
    "compute_endpoint",
    "strategy",
];

/// Reads YAML. What only looks like a number or a boolean is a text: a password, perhaps.
pub(super) fn parse(text: &str) -> Result<Value, DelegateError> {
    let options = serde_saphyr::options! {
        leading_zero_numbers_as_strings: true,
        underscored_numbers_as_strings: true,
        strict_booleans: true,
    };
    serde_saphyr::from_str_with_options(text, options).map_err(|error| {
        let line = error.location().map_or(1, |location| location.line());
        unreadable("YAML", usize::try_from(line).unwrap_or(usize::MAX))
    })
}

/// The values of the cloud that is meant: the one called `name`, or the only one.
pub(super) fn choose(
    clouds: Value,
    name: Option<&str>,
) -> Result<(String, Map<String, Value>), DelegateError> {
    let Value::Object(mut clouds) = clouds else {
        return Err(DelegateError::invalid_input("credentials: `clouds` holds no clouds by name"));
    };
    let known: Vec<String> = clouds.keys().map(|name| format!("`{name}`")).collect();
    let known = format!("it has: {}", known.join(", "));
    let name = match name {
        Some(name) => name.to_owned(),
        None if clouds.len() == 1 => clouds.keys().next().cloned().unwrap_or_default(),
        None => {
            let message = "credentials: which of the clouds is meant is not said";
            return Err(DelegateError::invalid_input(message)
                .because(known)
                .hint("name it as the provider, or as `cloud` in the provider"));
        },
    };
    let place = format!("credentials: clouds.{name}");
    match clouds.shift_remove(&name) {
        Some(Value::Object(mut cloud)) => {
            if cloud.contains_key("profile") {
                return Err(DelegateError::unsupported(format!(
                    "{place}: `profile` stands for settings that are not in this file"
                ))
                .hint("write `auth_url` and the other settings of the profile into the cloud"));
            }
            cloud.retain(|key, _| KEYS.contains(&key.as_str()));
            Ok((place, flat(cloud)))
        },
        Some(_) => Err(DelegateError::invalid_input(format!("{place}: is no cloud"))),
        None => {
            let message = format!("credentials: there is no cloud `{name}`");
            Err(DelegateError::invalid_input(message).because(known))
        },
    }
}

/// The values of `auth` beside the others.
pub(super) fn flat(mut cloud: Map<String, Value>) -> Map<String, Value> {
    if let Some(Value::Object(auth)) = cloud.shift_remove("auth") {
        cloud.extend(auth);
    }
    cloud
}

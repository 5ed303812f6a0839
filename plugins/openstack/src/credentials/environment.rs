//! `OS_*` variables: of the process, or in a script that exports them.

use plugin_api::DelegateError;
use serde_json::{Map, Value};

use crate::provider::Provider;

/// Names after `OS_` that mean something here.
const NAMES: [&str; 34] = [
    "APPLICATION_CREDENTIAL_ID",
    "APPLICATION_CREDENTIAL_NAME",
    "APPLICATION_CREDENTIAL_SECRET",
    "AUTH_TOKEN",
    "AUTH_TYPE",
    "AUTH_URL",
    "CACERT",
    "COMPUTE_ENDPOINT",
    "COMPUTE_ENDPOINT_OVERRIDE",
    "DEFAULT_DOMAIN",
    "DEFAULT_DOMAIN_ID",
    "DEFAULT_DOMAIN_NAME",
    "DOMAIN_ID",
    "DOMAIN_NAME",
    "ENDPOINT_TYPE",
    "IMAGE_ENDPOINT",
    "IMAGE_ENDPOINT_OVERRIDE",
    "INSECURE",
    "INTERFACE",
    "PASSWORD",
    "PROJECT_DOMAIN_ID",
    "PROJECT_DOMAIN_NAME",
    "PROJECT_ID",
    "PROJECT_NAME",
    "REGION",
    "REGION_NAME",
    "STRATEGY",
    "TENANT_ID",
    "TENANT_NAME",
    "TOKEN",
    "USERNAME",
    "USER_DOMAIN_ID",
    "USER_DOMAIN_NAME",
    "USER_ID",
];

/// The values in the environment of this process.
pub(super) fn of_process(
    provider: &Provider,
    variables: impl Iterator<Item = (String, String)>,
) -> Result<(String, Map<String, Value>), DelegateError> {
    let values = values(variables);
    if values.is_empty() {
        return Err(DelegateError::invalid_input("there are no credentials").hint(
            "give a `clouds.yaml`, a JSON object or XML as credentials, set `OS_AUTH_URL` and its \
             like, or say `\"auth_type\": \"none\"` in the provider",
        ));
    }
    let names_server = provider.image_endpoint.is_some() || provider.compute_endpoint.is_some();
    if names_server || provider.insecure == Some(true) {
        return Err(DelegateError::invalid_input(
            "credentials of the environment are not shown to a server that the provider names, or \
             that nobody vouches for",
        )
        .hint("give the credentials with the request, or set `OS_IMAGE_ENDPOINT_OVERRIDE`"));
    }
    Ok(("the environment".to_owned(), values))
}

/// The values in a script of `export OS_…=…`; `None` when it is none.
pub(super) fn in_script(text: &str) -> Option<Map<String, Value>> {
    let lines = text.lines().filter_map(|line| {
        let line = line.trim();
        let line = line.strip_prefix("export ").unwrap_or(line).trim_start();
        let (name, value) = line.split_once('=')?;
        name.starts_with("OS_").then(|| (name.to_owned(), unquoted(value.trim()).to_owned()))
    });
    let values = values(lines);
    (!values.is_empty()).then_some(values)
}

fn unquoted(value: &str) -> &str {
    ['"', '\'']
        .into_iter()
        .find_map(|quote| value.strip_prefix(quote)?.strip_suffix(quote))
        .unwrap_or(value)
}

fn values(variables: impl Iterator<Item = (String, String)>) -> Map<String, Value> {
    let mut values = Map::new();
    for (name, value) in variables {
        let name = name.strip_prefix("OS_").unwrap_or_default();
        if NAMES.contains(&name) && !value.is_empty() {
            values.insert(name.to_lowercase(), value.into());
        }
    }
    // Scripts often export both; the newer name wins.
    for (old, new) in [
        ("tenant_id", "project_id"),
        ("tenant_name", "project_name"),
        ("endpoint_type", "interface"),
        ("region", "region_name"),
        ("default_domain", "default_domain_id"),
    ] {
        if values.contains_key(new) {
            values.shift_remove(old);
        }
    }
    values
}

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
    let mut names_cloud = false;
    let values = values(variables.inspect(|(name, _)| names_cloud |= name == "OS_CLOUD"));
    if values.is_empty() {
        let none = DelegateError::invalid_input("there are no credentials");
        return Err(if names_cloud {
            none.because("`OS_CLOUD` names a cloud, and nothing tells in which `clouds.yaml`")
                .hint("give that file as credentials, and the cloud as provider")
        } else {
            none.hint(
                "give a `clouds.yaml`, a JSON object or XML as credentials, set `OS_AUTH_URL` and its \
                 like, or say `\"auth_type\": \"none\"` in the provider",
            )
        });
    }
    let names_server = provider.image_endpoint.is_some() || provider.compute_endpoint.is_some();
    if names_server || provider.cacert.is_some() || provider.insecure == Some(true) {
        return Err(DelegateError::invalid_input(
            "credentials of the environment are not shown to a server that the provider names, or \
             that nobody but the provider vouches for",
        )
        .hint("give the credentials with the request, or set `OS_IMAGE_ENDPOINT_OVERRIDE` or `OS_CACERT`"));
    }
    Ok(("the environment".to_owned(), values))
}

/// The values in a script of `export OS_…=…`; `None` when it is none.
///
/// # Errors
/// `InvalidInput` when only a shell that runs the script would know one of them.
pub(super) fn in_script(text: &str) -> Result<Option<Map<String, Value>>, DelegateError> {
    let mut variables = Vec::new();
    for line in text.lines() {
        let mut rest = statement(line);
        while let Some((name, value)) = rest.split_once('=').filter(|(name, _)| is_name(name)) {
            let Some((value, after)) = word(value) else {
                return Err(DelegateError::invalid_input(format!(
                    "credentials: only a shell that runs the script knows `{name}`"
                ))
                .hint("write the value itself, in single quotes; or run the script and give no credentials"));
            };
            variables.push((name.to_owned(), value));
            rest = statement(after);
        }
    }
    let values = values(variables.into_iter());
    Ok((!values.is_empty()).then_some(values))
}

/// What is done next in a line.
fn statement(line: &str) -> &str {
    let line = line.trim_start_matches([' ', '\t', ';']);
    line.strip_prefix("export ").map_or(line, str::trim_start)
}

/// The name of a variable that means something here.
fn is_name(name: &str) -> bool {
    name.strip_prefix("OS_").is_some_and(|name| NAMES.contains(&name))
}

/// The word that a shell reads at the beginning of `text`, and what follows it; `None` when the shell would
/// put something else in its place.
fn word(text: &str) -> Option<(String, &str)> {
    let mut word = String::new();
    let mut quote = None;
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match (quote, character) {
            (Some(open), _) if character == open => quote = None,
            (Some('\''), _) => word.push(character),
            (_, '$' | '`') | (None, '&' | '|' | '<' | '>' | '(' | ')') => return None,
            (Some(_), '\\') => match characters.next()?.1 {
                special @ ('"' | '\\' | '$' | '`') => word.push(special),
                other => word.extend(['\\', other]),
            },
            (None, '\'' | '"') => quote = Some(character),
            (None, '\\') => word.push(characters.next()?.1),
            (None, ' ' | '\t' | '\r' | ';') => return Some((word, &text[at..])),
            (_, _) => word.push(character),
        }
    }
    quote.is_none().then_some((word, ""))
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

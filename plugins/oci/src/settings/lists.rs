//! Parameters that hold several values, in the forms in which people write them.

use plugin_api::{DelegateError, Parameters};
use serde_json::Value;

/// A command: a list, a JSON list as text, one word, or a line for the shell.
pub(crate) fn program(
    parameters: Parameters<'_>,
    name: &str,
) -> Result<Option<Vec<String>>, DelegateError> {
    let Some(value) = parameters.value(name) else { return Ok(None) };
    let value = parsed(value);
    Ok(Some(match value {
        Value::Array(items) => items
            .into_iter()
            .map(|item| match item {
                Value::String(text) => Ok(text),
                _ => Err(wrong(name, "a list of texts")),
            })
            .collect::<Result<_, _>>()?,
        Value::String(line) if line.trim().is_empty() => Vec::new(),
        Value::String(line) if line.contains(char::is_whitespace) => {
            vec!["/bin/sh".to_owned(), "-c".to_owned(), line]
        },
        Value::String(word) => vec![word],
        _ => return Err(wrong(name, "a command")),
    }))
}

/// Names with values: an object, a list of `NAME=value`, or one of them.
pub(crate) fn pairs(
    parameters: Parameters<'_>,
    name: &str,
) -> Result<Vec<(String, String)>, DelegateError> {
    let Some(value) = parameters.value(name) else { return Ok(Vec::new()) };
    let expected = || wrong(name, "an object, or texts such as `NAME=value`");
    let split = |text: &str| match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err(expected()),
    };
    match parsed(value) {
        Value::Object(values) => values
            .into_iter()
            .map(|(key, value)| match value {
                Value::String(text) => Ok((key, text)),
                Value::Number(_) | Value::Bool(_) => Ok((key, value.to_string())),
                _ => Err(expected()),
            })
            .collect(),
        Value::Array(items) => {
            items.iter().map(|item| split(item.as_str().ok_or_else(expected)?)).collect()
        },
        Value::String(text) if text.trim().is_empty() => Ok(Vec::new()),
        Value::String(text) => Ok(vec![split(&text)?]),
        _ => Err(expected()),
    }
}

/// On a command line JSON arrives as text.
fn parsed(value: &Value) -> Value {
    value
        .as_str()
        .filter(|text| text.trim_start().starts_with(['[', '{']))
        .and_then(|text| serde_json::from_str(text).ok())
        .unwrap_or_else(|| value.clone())
}

fn wrong(name: &str, expected: &str) -> DelegateError {
    DelegateError::invalid_input(format!("parameter `{name}`: expected {expected}"))
}

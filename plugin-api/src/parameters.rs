//! Typed access to the parameters of a build and to a plugin's settings.

use serde_json::Value;

use crate::builder::Values;
use crate::error::DelegateError;

/// Parameters by name. The host has checked them against the schema of the `.info`; values that
/// were given as text (on a command line) are cast here as well.
#[derive(Clone, Copy, Debug)]
pub struct Parameters<'a> {
    values: &'a Values,
}

impl<'a> Parameters<'a> {
    pub(crate) fn new(values: &'a Values) -> Self {
        Self { values }
    }

    /// The value as it is.
    pub fn value(&self, name: &str) -> Option<&'a Value> {
        self.values.get(name).filter(|value| !value.is_null())
    }

    /// All values by name.
    pub fn iter(&self) -> impl Iterator<Item = (&'a str, &'a Value)> {
        self.values.iter().map(|(name, value)| (name.as_str(), value))
    }

    /// A text.
    ///
    /// # Errors
    /// `InvalidInput` when it is no text, number or boolean.
    pub fn string(&self, name: &str) -> Result<Option<String>, DelegateError> {
        match self.value(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(value @ (Value::Number(_) | Value::Bool(_))) => Ok(Some(value.to_string())),
            Some(value) => Err(wrong_type(name, "a text", value)),
        }
    }

    /// A boolean; `yes`, `true`, `on` and `1` are true, their opposites false, in any case.
    ///
    /// # Errors
    /// `InvalidInput` for anything else.
    pub fn bool(&self, name: &str) -> Result<Option<bool>, DelegateError> {
        let Some(value) = self.value(name) else {
            return Ok(None);
        };
        let word = match value {
            Value::Bool(truth) => return Ok(Some(*truth)),
            Value::String(text) => text.trim().to_lowercase(),
            Value::Number(number) => number.to_string(),
            _ => return Err(wrong_type(name, "a boolean", value)),
        };
        match word.as_str() {
            "yes" | "true" | "on" | "1" => Ok(Some(true)),
            "no" | "false" | "off" | "0" => Ok(Some(false)),
            _ => Err(wrong_type(name, "a boolean", value)),
        }
    }

    /// A whole number, not negative.
    ///
    /// # Errors
    /// `InvalidInput` for anything else.
    pub fn u64(&self, name: &str) -> Result<Option<u64>, DelegateError> {
        let Some(value) = self.value(name) else {
            return Ok(None);
        };
        let number = match value {
            Value::Number(number) => number.as_u64(),
            Value::String(text) => text.trim().parse().ok(),
            _ => None,
        };
        number.map(Some).ok_or_else(|| wrong_type(name, "a whole number", value))
    }

    /// A list of texts; one text counts as a list separated by commas or white space.
    ///
    /// # Errors
    /// `InvalidInput` for anything else.
    pub fn strings(&self, name: &str) -> Result<Vec<String>, DelegateError> {
        let Some(value) = self.value(name) else {
            return Ok(Vec::new());
        };
        match value {
            Value::String(text) => Ok(text
                .split(|c: char| c == ',' || c.is_whitespace())
                .filter(|part| !part.is_empty())
                .map(str::to_owned)
                .collect()),
            Value::Array(items) => items
                .iter()
                .map(|item| item.as_str().map(str::to_owned))
                .collect::<Option<Vec<_>>>()
                .ok_or_else(|| wrong_type(name, "a list of texts", value)),
            _ => Err(wrong_type(name, "a list of texts", value)),
        }
    }
}

fn wrong_type(name: &str, expected: &str, found: &Value) -> DelegateError {
    DelegateError::invalid_input(format!("parameter `{name}`: expected {expected}, found {found}"))
}

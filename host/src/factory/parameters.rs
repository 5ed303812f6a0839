//! Build parameters against the schemas of the plugins that read them.
//!
//! One set of parameters serves a whole build; each plugin is given those that its schema names.
//! A plugin without a schema is given all. What came from a command line is text and is cast to
//! the type that the schema wants.

use plugin_api::info::{PluginInfo, printable};
use serde_json::{Map, Value};

/// A parameter that a request cannot have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParameterProblem {
    /// No plugin of the request reads it.
    #[error("no plugin of this build reads parameter `{}`", printable(name))]
    Unknown {
        /// The name.
        name: String,
        /// The nearest name that is read.
        nearest: Option<String>,
        /// All names that are read.
        known: Vec<String>,
    },
    /// It breaks the schema of a plugin.
    #[error("parameter `{}`: {message} (plugin `{plugin}`)", printable(path))]
    Invalid {
        /// Where, for example `users[0].name`.
        path: String,
        /// What the schema says.
        message: String,
        /// Whose schema.
        plugin: String,
    },
    /// The schema itself is none.
    #[error("plugin `{plugin}` has a parameter schema that is not valid: {message}")]
    BadSchema {
        /// Whose schema.
        plugin: String,
        /// What is wrong with it.
        message: String,
    },
}

impl ParameterProblem {
    /// The plugin whose schema is broken or not valid.
    pub(super) fn plugin(&self) -> Option<&str> {
        match self {
            Self::Unknown { .. } => None,
            Self::Invalid { plugin, .. } | Self::BadSchema { plugin, .. } => Some(plugin),
        }
    }

    /// The parameter that it is about, when it is about one.
    pub fn parameter(&self) -> Option<&str> {
        match self {
            Self::Unknown { name, .. } => Some(name),
            Self::Invalid { path, .. } => path.split(['.', '[']).next(),
            Self::BadSchema { .. } => None,
        }
    }

    /// What the reader can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Unknown { nearest: Some(nearest), .. } => {
                Some(format!("did you mean `{}`?", printable(nearest)))
            },
            Self::Unknown { known, .. } if !known.is_empty() => {
                Some(format!("parameters of this build: {}", printable(&known.join(", "))))
            },
            Self::Invalid { .. } => {
                Some("`imageforge targets NAME` explains the parameters".to_owned())
            },
            Self::Unknown { .. } | Self::BadSchema { .. } => None,
        }
    }
}

/// The schema of one plugin, by the plugin's name.
#[derive(Clone, Copy, Debug)]
pub struct PluginSchema<'a> {
    /// The plugin.
    pub plugin: &'a str,
    /// Its JSON Schema, when it declares one.
    pub schema: Option<&'a Value>,
}

impl<'a> PluginSchema<'a> {
    /// The schema of the plugin that `info` describes.
    pub(super) fn of(plugin: &'a str, info: Option<&'a PluginInfo>) -> Self {
        Self { plugin, schema: info.and_then(|info| info.parameters.as_ref()) }
    }
}

impl PluginSchema<'_> {
    fn properties(&self) -> Option<&Map<String, Value>> {
        self.schema?.get("properties")?.as_object()
    }

    /// Whether this plugin reads every parameter, known or not.
    fn is_open(&self) -> bool {
        match self.schema {
            None => true,
            Some(schema) => schema.get("additionalProperties") == Some(&Value::Bool(true)),
        }
    }

    /// Whether this plugin reads the parameter `name`.
    pub fn reads(&self, name: &str) -> bool {
        self.is_open() || self.properties().is_some_and(|known| known.contains_key(name))
    }

    /// The parameters of `given` that this plugin reads, cast to its types.
    pub fn select(&self, given: &Map<String, Value>) -> Map<String, Value> {
        let properties = self.properties();
        given
            .iter()
            .filter_map(|(name, value)| {
                match properties.and_then(|properties| properties.get(name)) {
                    Some(schema) => Some((name.clone(), cast(value, schema))),
                    None if self.is_open() => Some((name.clone(), value.clone())),
                    None => None,
                }
            })
            .collect()
    }

    /// The same of the parameters that a record holds: what is secret is not in it.
    pub(super) fn select_recorded(&self, recorded: &Map<String, Value>) -> Map<String, Value> {
        let mut selected = self.select(recorded);
        self.secret_names().for_each(|name| drop(selected.remove(name)));
        selected
    }

    /// Everything in `given` that breaks this schema.
    fn problems(&self, given: &Map<String, Value>) -> Vec<ParameterProblem> {
        let Some(schema) = self.schema else {
            return Vec::new();
        };
        let validator = match jsonschema::validator_for(schema) {
            Ok(validator) => validator,
            Err(error) => {
                return vec![ParameterProblem::BadSchema {
                    plugin: self.plugin.to_owned(),
                    message: printable(&error.to_string()),
                }];
            },
        };
        let own = Value::Object(self.select(given));
        let has_secrets = self.secret_names().any(|name| given.contains_key(name));
        validator
            .iter_errors(&own)
            .map(|error| {
                let path = error.instance_path().as_str();
                let first = path.split('/').nth(1).map(unescaped);
                // What is wrong with all of them together may show any of them.
                let is_secret = match first {
                    Some(name) => self.secret_names().any(|secret| secret == name),
                    None => has_secrets,
                };
                let message =
                    if is_secret { error.masked().to_string() } else { error.to_string() };
                ParameterProblem::Invalid {
                    path: key_path(path),
                    message: without_quotes(&message),
                    plugin: self.plugin.to_owned(),
                }
            })
            .collect()
    }

    /// Names of the parameters that are secret.
    pub fn secret_names(&self) -> impl Iterator<Item = &str> {
        self.properties()
            .into_iter()
            .flatten()
            .filter(|(_, schema)| schema.get("x-secret") == Some(&Value::Bool(true)))
            .map(|(name, _)| name.as_str())
    }
}

/// Everything that stands against `given` in a build with these plugins.
pub fn problems(given: &Map<String, Value>, plugins: &[PluginSchema<'_>]) -> Vec<ParameterProblem> {
    let mut problems: Vec<_> = plugins.iter().flat_map(|plugin| plugin.problems(given)).collect();
    if plugins.iter().any(PluginSchema::is_open) {
        return problems;
    }
    let mut known: Vec<String> = plugins
        .iter()
        .filter_map(PluginSchema::properties)
        .flat_map(|properties| properties.keys().cloned())
        .collect();
    known.sort();
    known.dedup();
    for name in given.keys().filter(|name| !known.contains(name)) {
        let nearest = crate::nearest::nearest(name, known.iter().map(String::as_str));
        problems.push(ParameterProblem::Unknown {
            name: name.clone(),
            nearest: nearest.map(str::to_owned),
            known: known.clone(),
        });
    }
    problems
}

/// Casts a text to the type that `schema` wants, when it can be read as one.
fn cast(value: &Value, schema: &Value) -> Value {
    let Value::String(text) = value else {
        return value.clone();
    };
    let wanted: Vec<&str> = match schema.get("type") {
        Some(Value::String(name)) => vec![name],
        Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).collect(),
        _ => return value.clone(),
    };
    if wanted.contains(&"string") {
        return value.clone();
    }
    let text = text.trim();
    for wanted in wanted {
        let read = match wanted {
            "boolean" => boolean(text),
            "integer" => text.parse::<i64>().ok().map(Value::from),
            "number" => serde_json::from_str(text).ok().filter(Value::is_number),
            "object" => serde_json::from_str(text).ok().filter(Value::is_object),
            "array" => Some(list(text)),
            _ => None,
        };
        if let Some(read) = read {
            return read;
        }
    }
    value.clone()
}

fn boolean(text: &str) -> Option<Value> {
    match text.to_lowercase().as_str() {
        "yes" | "true" | "on" | "1" => Some(Value::Bool(true)),
        "no" | "false" | "off" | "0" => Some(Value::Bool(false)),
        _ => None,
    }
}

/// A JSON array, or words separated by commas.
fn list(text: &str) -> Value {
    if let Ok(read @ Value::Array(_)) = serde_json::from_str(text) {
        return read;
    }
    text.split(',').map(str::trim).filter(|word| !word.is_empty()).map(Value::from).collect()
}

/// A step of a JSON pointer (RFC 6901 §4).
fn unescaped(step: &str) -> String {
    step.replace("~1", "/").replace("~0", "~")
}

/// `/users/0/name` as `users[0].name`.
fn key_path(pointer: &str) -> String {
    let mut path = String::new();
    for step in pointer.split('/').skip(1) {
        let step = unescaped(step);
        if step.parse::<usize>().is_ok() {
            path.push('[');
            path.push_str(&step);
            path.push(']');
        } else {
            if !path.is_empty() {
                path.push('.');
            }
            path.push_str(&step);
        }
    }
    if path.is_empty() { "parameters".to_owned() } else { path }
}

/// The validator quotes JSON texts with `"`; our messages use backticks.
fn without_quotes(message: &str) -> String {
    printable(message).replace('"', "`")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(value: Value) -> Map<String, Value> {
        match value {
            Value::Object(fields) => fields,
            _ => Map::new(),
        }
    }

    #[test]
    fn text_from_a_command_line_is_cast_to_the_type_of_the_schema() {
        let schema = json!({"properties": {
            "fast": {"type": "boolean"}, "count": {"type": "integer"},
            "names": {"type": "array"}, "word": {"type": "string"}}});
        let plugin = PluginSchema { plugin: "p", schema: Some(&schema) };
        let given = object(json!({"fast": "yes", "count": "3", "names": "a, b", "word": "7"}));
        let selected = Value::Object(plugin.select(&given));
        assert_eq!(selected, json!({"fast": true, "count": 3, "names": ["a", "b"], "word": "7"}));
        assert_eq!(problems(&given, &[plugin]), []);
    }

    #[test]
    fn an_unknown_parameter_is_refused_with_the_nearest_name() {
        let schema = json!({"properties": {"compression": {"type": "string"}}});
        let plugin = PluginSchema { plugin: "qcow2", schema: Some(&schema) };
        let found = problems(&object(json!({"compresion": "zstd"})), &[plugin]);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].hint().as_deref(), Some("did you mean `compression`?"));
    }

    #[test]
    fn a_value_of_the_wrong_type_is_named_by_its_key_path() {
        let schema = json!({"properties": {
            "users": {"type": "array", "items": {"properties": {"uid": {"type": "integer"}}}}}});
        let plugin = PluginSchema { plugin: "debian", schema: Some(&schema) };
        let found = problems(&object(json!({"users": [{"uid": "x"}]})), &[plugin]);
        assert!(found[0].to_string().starts_with("parameter `users[0].uid`: "), "{}", found[0]);
    }

    #[test]
    fn what_is_wrong_with_a_secret_is_told_without_it() {
        let schema = json!({
            "properties": {"pin": {"type": "string", "x-secret": true}, "size": {"type": "integer"}},
            "not": {"required": ["size"]}});
        let plugin = PluginSchema { plugin: "debian", schema: Some(&schema) };
        let told = |given| {
            let found = problems(&object(given), &[plugin]);
            assert!(!found.is_empty());
            found.iter().map(ToString::to_string).collect::<String>()
        };
        let pin = told(json!({"pin": ["hunter2"]}));
        assert!(pin.contains("`pin`") && !pin.contains("hunter2"), "{pin}");
        let both = told(json!({"pin": "hunter2", "size": 7}));
        assert!(!both.contains("hunter2"), "{both}");
        assert!(told(json!({"size": "big"})).contains("big"));
    }

    #[test]
    fn of_a_record_a_plugin_gets_what_it_reads_and_no_masked_secret() {
        let schema = json!({"properties": {
            "fast": {"type": "boolean"}, "pin": {"type": "string", "x-secret": true}}});
        let plugin = PluginSchema { plugin: "oci", schema: Some(&schema) };
        let recorded = object(json!({"fast": "yes", "pin": "<redacted>", "other": 1}));
        assert_eq!(plugin.select_recorded(&recorded), object(json!({"fast": true})));
    }

    #[test]
    fn a_plugin_without_a_schema_reads_every_parameter() {
        let open = PluginSchema { plugin: "old", schema: None };
        let given = object(json!({"anything": 1}));
        assert_eq!(problems(&given, &[open]), []);
        assert_eq!(open.select(&given), given);
    }
}

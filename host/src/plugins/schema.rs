//! The JSON Schemas of an `.info` file: are they schemas at all, and ones that can be checked in time?

use std::collections::HashMap;

use jsonschema::Draft;
use plugin_api::info::{PluginInfo, printable};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

/// Most schemas that one may consist of, each counted wherever it is referred to.
const MAX_SCHEMAS: u64 = 10_000;
/// Most references that may lead from one to the next.
const MAX_REFERENCES: usize = 64;

/// What a plugin may be told, as JSON Schemas; missing where its `.info` declares none.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
#[non_exhaustive]
pub struct Schemas {
    /// Of the parameters of a build that it reads.
    #[schema(value_type = Option<Object>)]
    pub parameters: Option<Value>,
    /// Of its own settings, the table `[plugin.NAME]`.
    #[schema(value_type = Option<Object>)]
    pub configuration: Option<Value>,
    /// Of what is written as provider.
    #[schema(value_type = Option<Object>)]
    pub provider: Option<Value>,
    /// Of what is written as credentials.
    #[schema(value_type = Option<Object>)]
    pub credentials: Option<Value>,
}

impl Schemas {
    /// Those of an `.info` file.
    pub(super) fn of(info: &PluginInfo) -> Self {
        Self {
            parameters: info.parameters.clone(),
            configuration: info.configuration.clone(),
            provider: info.provider.clone(),
            credentials: info.credentials.clone(),
        }
    }
}

/// What is wrong with the schemas of a plugin, each with the path of its key.
pub(super) fn problems(info: &PluginInfo) -> Vec<String> {
    let schemas = [
        ("parameters", &info.parameters),
        ("configuration", &info.configuration),
        ("provider", &info.provider),
        ("credentials", &info.credentials),
    ];
    schemas
        .into_iter()
        .filter_map(|(field, schema)| schema.as_ref().and_then(|schema| problem(field, schema)))
        .collect()
}

fn problem(field: &str, schema: &Value) -> Option<String> {
    if let Err(why) = (Weight { root: schema, known: HashMap::new() }).check() {
        return Some(format!("{field}: {why}"));
    }
    // References to other documents are never fetched: such a schema does not compile.
    let options = jsonschema::options().with_draft(Draft::Draft202012);
    let error = options.build(schema).err()?;
    let path = dotted(error.instance_path().as_str());
    Some(printable(&format!("{field}{path}: not a valid JSON Schema: {error}")))
}

/// Counts what a validator may have to look at: forty schemas that refer to the next one twice are
/// more than it ever could, and the host would hang for the author of one `.info` file.
struct Weight<'s> {
    root: &'s Value,
    /// Sizes of what is referred to; nothing while it is counted, since a circle is walked once.
    known: HashMap<&'s str, Size>,
}

#[derive(Clone, Copy, Default)]
struct Size {
    schemas: u64,
    /// References that lead from one to the next.
    references: usize,
}

impl<'s> Weight<'s> {
    fn check(mut self) -> Result<(), String> {
        if self.of(self.root, 0)?.schemas > MAX_SCHEMAS {
            return Err(format!("its references make more than {MAX_SCHEMAS} schemas of it"));
        }
        Ok(())
    }

    fn of(&mut self, schema: &'s Value, references: usize) -> Result<Size, String> {
        let mut size = Size { schemas: 1, references: 0 };
        let mut add = |more: Size| {
            size.schemas = size.schemas.saturating_add(more.schemas);
            size.references = size.references.max(more.references);
        };
        match schema {
            Value::Array(items) => {
                for item in items {
                    add(self.of(item, references)?);
                }
            },
            Value::Object(fields) => {
                for (key, value) in fields {
                    match (key.as_str(), value) {
                        ("$ref" | "$dynamicRef", Value::String(to)) => {
                            add(self.referred(to, references + 1)?);
                        },
                        _ => add(self.of(value, references)?),
                    }
                }
            },
            _ => {},
        }
        Ok(size)
    }

    fn referred(&mut self, to: &'s str, references: usize) -> Result<Size, String> {
        let size = match self.known.get(to) {
            Some(known) => *known,
            None if references > MAX_REFERENCES => Size { schemas: 0, references },
            None => {
                let target = to.strip_prefix('#').and_then(|pointer| self.root.pointer(pointer));
                let target = target.ok_or_else(|| {
                    let to = printable(to);
                    format!("reference \"{to}\" leads nowhere; it must be like `#/$defs/name`")
                })?;
                self.known.insert(to, Size::default());
                let mut size = self.of(target, references)?;
                size.references += 1;
                self.known.insert(to, size);
                size
            },
        };
        if size.references > MAX_REFERENCES {
            return Err(format!("more than {MAX_REFERENCES} references lead from one to the next"));
        }
        Ok(size)
    }
}

/// `/properties/size/type` as `.properties.size.type`.
fn dotted(pointer: &str) -> String {
    pointer.replace('/', ".").replace("~1", "/").replace("~0", "~")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(parameters: &Value) -> Vec<String> {
        let text = serde_json::json!({
            "type": "os", "targets": [["x"]], "parameters": parameters
        });
        problems(&PluginInfo::from_json(text.to_string().as_bytes()).unwrap())
    }

    #[test]
    fn a_schema_that_compiles_is_no_problem() {
        let schema = serde_json::json!({
            "type": "object",
            "properties": {"size": {"type": "integer", "minimum": 1, "x-secret": true}}
        });
        assert_eq!(of(&schema), Vec::<String>::new());
    }

    #[test]
    fn a_wrong_schema_is_told_with_its_path() {
        let found = of(&serde_json::json!({"properties": {"size": {"type": "megabytes"}}}));
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].starts_with("parameters.properties.size.type: "), "{found:?}");
    }

    #[test]
    fn a_schema_that_would_be_checked_for_ever_is_refused() {
        let doubled = |depth: usize| {
            let mut defs = serde_json::json!({"x0": {"type": "string"}});
            for number in 1..=depth {
                let below = serde_json::json!({"$ref": format!("#/$defs/x{}", number - 1)});
                defs[format!("x{number}")] = serde_json::json!({"allOf": [below, below]});
            }
            of(&serde_json::json!({"$defs": defs, "$ref": format!("#/$defs/x{depth}")}))
        };
        assert_eq!(doubled(4), Vec::<String>::new());
        assert!(doubled(40)[0].contains("more than 10000 schemas"));
        assert!(doubled(70)[0].contains("more than 64 references"));
    }

    #[test]
    fn a_schema_may_refer_to_itself() {
        let tree = serde_json::json!({"properties": {"below": {"items": {"$ref": "#"}}}});
        assert_eq!(of(&tree), Vec::<String>::new());
    }

    #[test]
    fn a_reference_to_another_document_is_refused_and_not_fetched() {
        let found = of(&serde_json::json!({"$ref": "http://127.0.0.1:1/schema.json"}));
        assert_eq!(found.len(), 1, "{found:?}");
    }
}

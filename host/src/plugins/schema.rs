//! The JSON Schemas of an `.info` file: are they schemas at all?

use jsonschema::Draft;
use plugin_api::info::{PluginInfo, printable};
use serde_json::Value;

/// What is wrong with the schemas of a plugin, each with the path of its key.
pub(super) fn problems(info: &PluginInfo) -> Vec<String> {
    [("parameters", &info.parameters), ("configuration", &info.configuration)]
        .into_iter()
        .filter_map(|(field, schema)| schema.as_ref().and_then(|schema| problem(field, schema)))
        .collect()
}

fn problem(field: &str, schema: &Value) -> Option<String> {
    // References to other documents are never fetched: such a schema does not compile.
    let options = jsonschema::options().with_draft(Draft::Draft202012);
    let error = options.build(schema).err()?;
    let path = dotted(error.instance_path().as_str());
    Some(printable(&format!("{field}{path}: not a valid JSON Schema: {error}")))
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
    fn a_reference_to_another_document_is_refused_and_not_fetched() {
        let found = of(&serde_json::json!({"$ref": "http://127.0.0.1:1/schema.json"}));
        assert_eq!(found.len(), 1, "{found:?}");
    }
}

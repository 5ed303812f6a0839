//! Build parameters against a schema that a plugin's author wrote.

use imageforge::factory::parameters::{ParameterProblem, PluginSchema, problems};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::assert_fit_for_a_terminal;

#[derive(Deserialize)]
struct Case {
    schema: Value,
    given: Map<String, Value>,
}

/// Reads `input` as `{"schema": …, "given": {…}}` and checks the one against the other: casting
/// twice changes nothing, every problem names its parameter, and one that is not read is told.
///
/// # Panics
/// When a promise is broken.
pub fn parameters(input: &[u8]) {
    let Ok(Case { schema, given }) = serde_json::from_slice(input) else {
        return;
    };
    let plugin = PluginSchema { plugin: "p", schema: Some(&schema) };
    let selected = plugin.select(&given);
    assert!(selected.keys().all(|name| given.contains_key(name)));
    assert_eq!(plugin.select(&selected), selected, "a second cast changes what the first made");
    for problem in problems(&given, &[plugin]) {
        assert_fit_for_a_terminal(&problem.to_string());
        match problem {
            ParameterProblem::Unknown { name, .. } => {
                assert!(given.contains_key(&name) && !selected.contains_key(&name));
            },
            ParameterProblem::Invalid { path, .. } => assert!(!path.is_empty()),
            ParameterProblem::BadSchema { .. } => {},
        }
    }
}

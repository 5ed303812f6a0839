//! The canonical form of a template: equal templates have equal text.

use plugin_api::template::Template;
use serde_json::Value;

/// The template as JSON with sorted keys and without blanks: the part of a reuse key that stands
/// for the template. How the document was written (syntax, order of elements, comments, blanks)
/// leaves no trace; the order of packages, files and commands does.
pub fn canonical_json(template: &Template) -> String {
    let mut value = serde_json::to_value(template).unwrap_or_default();
    // Maps keep the order of insertion here; a sorted one survives reordered fields of the model.
    value.sort_all_objects();
    Value::to_string(&value)
}

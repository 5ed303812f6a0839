//! Tests that concern both syntaxes; `tests/conformance.rs` has one document per promise of TDL.

mod conformance;
mod document;
mod robustness;
mod toml_syntax;

use super::*;

/// The message of a document that must be refused.
fn refusal(text: &str) -> String {
    match parse(text, &Origin::named("t")) {
        Ok(_) => panic!("accepted: {text}"),
        Err(error) => error.to_string(),
    }
}

fn accepted(text: &str) -> LoadedTemplate {
    parse(text, &Origin::named("t")).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

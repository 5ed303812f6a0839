//! Named values that a user wrote, as JSON, YAML or XML, read with every mistake at once.
//!
//! XML and the environment know only texts, so texts are cast where numbers and truths are wanted.

use plugin_api::DelegateError;
use serde_json::{Map, Value};

/// How alike names must be for one to be proposed for the other, 0 to 1.
const ALIKE: f64 = 0.8;

/// Values by name; each is taken once, what is left over is a mistake.
pub(crate) struct Fields<'p> {
    /// What they belong to: `provider`, `credentials: clouds.prod`.
    place: String,
    values: Map<String, Value>,
    known: Vec<&'static str>,
    hides_values: bool,
    /// What a mistake was found in.
    refused: Vec<String>,
    problems: &'p mut Vec<DelegateError>,
}

impl<'p> Fields<'p> {
    pub(crate) fn new(
        place: impl Into<String>,
        values: Map<String, Value>,
        problems: &'p mut Vec<DelegateError>,
    ) -> Self {
        Self {
            place: place.into(),
            values,
            known: Vec::new(),
            hides_values: false,
            refused: Vec::new(),
            problems,
        }
    }

    /// Repeats no value in a message.
    pub(crate) fn of_secrets(mut self) -> Self {
        self.hides_values = true;
        self
    }

    /// Takes the value of the first of `names` that has one.
    pub(crate) fn value(&mut self, names: &[&'static str]) -> Option<(&'static str, Value)> {
        self.known.extend(names);
        let mut found = None;
        for name in names {
            match self.values.shift_remove(*name) {
                None | Some(Value::Null) => {},
                Some(_) if found.is_some() => {
                    self.problem(name, "means the same as another key that is there");
                },
                Some(value) => found = Some((*name, value)),
            }
        }
        found
    }

    /// A text. Whole numbers are texts too, but not among secrets: a parser may have changed how they are written.
    pub(crate) fn text(&mut self, names: &[&'static str]) -> Option<String> {
        self.named_text(names).map(|(_, text)| text)
    }

    /// The same, with the name that it is given by.
    pub(crate) fn named_text(&mut self, names: &[&'static str]) -> Option<(&'static str, String)> {
        let (name, value) = self.value(names)?;
        match value {
            Value::String(text) if text.is_empty() => None,
            Value::String(text) => Some((name, text)),
            Value::Number(number) if !number.is_f64() && !self.hides_values => {
                Some((name, number.to_string()))
            },
            other => self.wrong(name, "a text in quotes", &other),
        }
    }

    /// A whole number, not negative.
    pub(crate) fn number(&mut self, names: &[&'static str]) -> Option<u64> {
        let (name, value) = self.value(names)?;
        let number = match &value {
            Value::Number(number) => number.as_u64(),
            Value::String(text) => text.trim().parse().ok(),
            _ => None,
        };
        number.or_else(|| self.wrong(name, "a whole number", &value))
    }

    /// True or false, in the words that `Parameters::bool` knows too.
    pub(crate) fn truth(&mut self, names: &[&'static str]) -> Option<bool> {
        let (name, value) = self.value(names)?;
        let word = match &value {
            Value::Bool(truth) => return Some(*truth),
            Value::String(text) => text.trim().to_lowercase(),
            other => other.to_string(),
        };
        match word.as_str() {
            "yes" | "true" | "on" | "1" => Some(true),
            "no" | "false" | "off" | "0" => Some(false),
            _ => self.wrong(name, "a boolean", &value),
        }
    }

    /// One of `choices`.
    pub(crate) fn choice(
        &mut self,
        names: &[&'static str],
        choices: &[&'static str],
    ) -> Option<&'static str> {
        let (name, value) = self.value(names)?;
        let text = value.as_str().unwrap_or_default();
        if let Some(choice) = choices.iter().find(|choice| **choice == text) {
            return Some(choice);
        }
        let words: Vec<String> = choices.iter().map(|choice| format!("`{choice}`")).collect();
        self.wrong(name, &format!("one of {}", words.join(", ")), &value)
    }

    /// A list of texts; one text is a list separated by commas.
    pub(crate) fn texts(&mut self, names: &[&'static str]) -> Option<Vec<String>> {
        let (name, value) = self.value(names)?;
        let texts: Option<Vec<String>> = match &value {
            Value::String(text) => {
                let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
                Some(parts.map(str::to_owned).collect())
            },
            Value::Array(items) => {
                items.iter().map(|item| item.as_str().map(str::to_owned)).collect()
            },
            _ => None,
        };
        texts.or_else(|| self.wrong(name, "a list of texts", &value))
    }

    /// Texts by name. Numbers and booleans become texts, since Glance knows nothing else.
    pub(crate) fn properties(&mut self, names: &[&'static str]) -> Map<String, Value> {
        let Some((name, value)) = self.value(names) else { return Map::new() };
        let Value::Object(members) = value else {
            self.wrong::<()>(name, "an object of texts", &value);
            return Map::new();
        };
        let mut properties = Map::new();
        for (key, value) in members {
            let text = match value {
                Value::String(text) => text,
                Value::Number(number) => number.to_string(),
                // As Nova and others write it.
                Value::Bool(truth) => if truth { "True" } else { "False" }.to_owned(),
                other => {
                    self.wrong::<()>(&format!("{name}.{key}"), "a text", &other);
                    continue;
                },
            };
            properties.insert(key, text.into());
        }
        properties
    }

    /// Says that the value of `name` is a mistake, unless that is said already.
    pub(crate) fn problem(&mut self, name: &str, reason: &str) {
        if self.refused.iter().any(|refused| refused == name) {
            return;
        }
        self.refused.push(name.to_owned());
        self.problems
            .push(DelegateError::invalid_input(format!("{}: `{name}` {reason}", self.place)));
    }

    fn wrong<T>(&mut self, name: &str, expected: &str, found: &Value) -> Option<T> {
        let found = if self.hides_values { String::new() } else { format!(", found {found}") };
        let message = format!("{}: `{name}`: expected {expected}{found}", self.place);
        self.refused.push(name.to_owned());
        self.problems.push(DelegateError::invalid_input(message));
        None
    }

    /// Every key that nobody asked for is a mistake.
    pub(crate) fn finish(self) {
        for name in self.values.keys() {
            let problem = DelegateError::invalid_input(format!(
                "{}: `{name}` is no key that is known here",
                self.place
            ));
            self.problems.push(match nearest(name, &self.known) {
                Some(known) => problem.hint(format!("did you mean `{known}`?")),
                None => problem.hint(format!("known are: {}", self.known.join(", "))),
            });
        }
    }
}

fn nearest(given: &str, known: &[&'static str]) -> Option<&'static str> {
    let alike = |name: &&'static str| strsim::jaro_winkler(&given.to_lowercase(), name);
    known
        .iter()
        .copied()
        .filter(|name| alike(name) >= ALIKE)
        .max_by(|a, b| alike(a).total_cmp(&alike(b)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read<T>(values: Value, read: impl FnOnce(&mut Fields<'_>) -> T) -> (T, Vec<String>) {
        let Value::Object(values) = values else { unreachable!("the tests give objects") };
        let mut problems = Vec::new();
        let mut fields = Fields::new("provider", values, &mut problems);
        let got = read(&mut fields);
        fields.finish();
        (got, problems.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn texts_are_cast_and_every_mistake_is_told() {
        let values = json!({
            "a": "12", "b": "yes", "c": "x, y", "d": {"e": 1, "f": true, "g": []}, "h": "?", "min_dsk": 1,
        });
        let (got, problems) = read(values, |fields| {
            fields.known.push("min_disk");
            let number = fields.number(&["a"]);
            let truth = fields.truth(&["b"]);
            let texts = fields.texts(&["c"]);
            let properties = fields.properties(&["d"]);
            (number, truth, texts, properties, fields.number(&["h"]))
        });
        let texts = vec!["x".to_owned(), "y".to_owned()];
        let properties = json!({"e": "1", "f": "True"}).as_object().unwrap().clone();
        assert_eq!(got, (Some(12), Some(true), Some(texts), properties, None));
        assert_eq!(
            problems,
            [
                "provider: `d.g`: expected a text, found []",
                "provider: `h`: expected a whole number, found \"?\"",
                "provider: `min_dsk` is no key that is known here",
            ]
        );
    }

    #[test]
    fn two_names_for_one_thing_are_refused() {
        let (got, problems) = read(json!({"a": "1", "b": "2"}), |fields| fields.text(&["a", "b"]));
        assert_eq!(got.as_deref(), Some("1"));
        assert_eq!(problems, ["provider: `b` means the same as another key that is there"]);
    }
}

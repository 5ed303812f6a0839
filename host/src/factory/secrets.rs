//! Texts that must never be seen.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Replaces secrets in everything that is shown or stored.
#[derive(Clone, Default)]
pub(crate) struct Secrets {
    texts: Vec<String>,
}

/// Shorter texts would blank out half of a log without hiding anything.
const SHORTEST_SECRET: usize = 4;
/// The same for one line of a text that is secret as a whole.
const SHORTEST_LINE: usize = 8;

impl Secrets {
    /// Hides each of `texts`, longest first so that one inside another is hidden as well. Logs come line
    /// by line: the lines of a key are hidden too.
    pub(crate) fn new(texts: impl IntoIterator<Item = String>) -> Self {
        let mut texts: Vec<String> =
            texts.into_iter().filter(|text| text.len() >= SHORTEST_SECRET).collect();
        let lines = texts.iter().filter(|text| text.contains('\n')).flat_map(|text| text.lines());
        let lines: Vec<String> = lines
            .map(|line| line.trim().to_owned())
            .filter(|line| line.len() >= SHORTEST_LINE)
            .collect();
        texts.extend(lines);
        texts.sort_by_key(|text| std::cmp::Reverse(text.len()));
        texts.dedup();
        Self { texts }
    }

    /// The same and `more`.
    pub(crate) fn with(&self, more: &[String]) -> Self {
        Self::new(self.texts.iter().chain(more).cloned())
    }

    /// `text` with every secret replaced by `<redacted>`.
    pub(crate) fn mask(&self, text: &str) -> String {
        self.texts.iter().fold(text.to_owned(), |text, secret| text.replace(secret, "<redacted>"))
    }

    /// `document` with every secret in any of its texts replaced.
    pub(crate) fn mask_document<T: Serialize + DeserializeOwned>(&self, document: T) -> T {
        if self.texts.is_empty() {
            return document;
        }
        let masked = serde_json::to_value(&document).and_then(|mut value| {
            self.mask_value(&mut value);
            serde_json::from_value(value)
        });
        masked.unwrap_or(document)
    }

    fn mask_value(&self, value: &mut Value) {
        match value {
            Value::String(text) => *text = self.mask(text),
            Value::Array(values) => values.iter_mut().for_each(|value| self.mask_value(value)),
            Value::Object(fields) => fields.values_mut().for_each(|value| self.mask_value(value)),
            Value::Null | Value::Bool(_) | Value::Number(_) => {},
        }
    }

    /// The secrets, for handing them to a worker.
    pub(crate) fn texts(&self) -> &[String] {
        &self.texts
    }
}

/// What is secret in credentials: their text, and in a JSON document what its keys call a secret.
/// A user name is none: it is shown with the images of its account.
pub(crate) fn credential_texts(credentials: &str) -> Vec<String> {
    let mut texts = vec![credentials.trim().to_owned()];
    if let Ok(document) = serde_json::from_str(credentials) {
        collect(&document, false, &mut texts);
    }
    texts
}

/// All texts in a value that is secret.
pub(crate) fn all_texts(value: &Value) -> Vec<String> {
    let mut texts = Vec::new();
    collect(value, true, &mut texts);
    texts
}

fn collect(value: &Value, is_secret: bool, texts: &mut Vec<String>) {
    const SECRET_KEYS: [&str; 6] = ["pass", "secret", "token", "key", "private", "cert"];
    match value {
        Value::String(text) if is_secret => texts.push(text.clone()),
        Value::Array(values) => values.iter().for_each(|value| collect(value, is_secret, texts)),
        Value::Object(fields) => {
            for (name, value) in fields {
                let name = name.to_lowercase();
                let names_secret = SECRET_KEYS.iter().any(|key| name.contains(key));
                collect(value, is_secret || names_secret, texts);
            }
        },
        _ => {},
    }
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Secrets({} redacted)", self.texts.len())
    }
}

#[cfg(test)]
mod tests {
    use super::{Secrets, credential_texts};

    #[test]
    fn a_secret_inside_another_is_hidden_too() {
        let secrets = Secrets::new(["hunter2".to_owned(), "hunter2-and-more".to_owned()]);
        let masked = secrets.mask("login hunter2-and-more, then hunter2");
        assert_eq!(masked, "login <redacted>, then <redacted>");
        assert!(!format!("{secrets:?}").contains("hunter2"));
    }

    #[test]
    fn each_line_of_a_key_is_hidden() {
        let secrets = Secrets::new(["-- BEGIN --\n  MIIEvQIBADANBg\nend\n".to_owned()]);
        assert_eq!(secrets.mask("key: MIIEvQIBADANBg"), "key: <redacted>");
        assert_eq!(secrets.mask("the end"), "the end");
    }

    #[test]
    fn the_password_in_credentials_is_secret_and_the_user_name_is_not() {
        let credentials = r#"{"username": "lovelace", "auth": {"password": "hunter2"}}"#;
        let secrets = Secrets::new(credential_texts(credentials));
        let masked = secrets.mask_document(vec!["lovelace: hunter2".to_owned()]);
        assert_eq!(masked, ["lovelace: <redacted>"]);
        assert_eq!(secrets.mask(credentials), "<redacted>");
    }
}

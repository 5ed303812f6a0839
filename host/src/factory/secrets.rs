//! Texts that must never be seen.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Replaces secrets in everything that is shown or stored.
#[derive(Clone, Default)]
pub(crate) struct Secrets {
    /// As they were given.
    given: Vec<String>,
    /// In every form in which they may be seen, longest first so that one inside another is hidden as
    /// well.
    hidden: Vec<String>,
}

/// Shorter texts would blank out half of a log without hiding anything.
const SHORTEST_SECRET: usize = 4;
/// The same for one line of a text that is secret as a whole.
const SHORTEST_LINE: usize = 8;

/// What percent-encoding leaves alone everywhere (RFC 3986 §2.3).
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// What it leaves alone in a path or a query as well.
const PATH: &AsciiSet = &UNRESERVED
    .remove(b'!')
    .remove(b'$')
    .remove(b'&')
    .remove(b'\'')
    .remove(b'(')
    .remove(b')')
    .remove(b'*')
    .remove(b'+')
    .remove(b',')
    .remove(b';')
    .remove(b'=')
    .remove(b':')
    .remove(b'@')
    .remove(b'/')
    .remove(b'?');

impl Secrets {
    /// Hides each of `texts`, as it stands and as documents and addresses write it. Logs come line by
    /// line: the lines of a key are hidden too.
    pub(crate) fn new(texts: impl IntoIterator<Item = String>) -> Self {
        let mut given: Vec<String> =
            texts.into_iter().filter(|text| text.len() >= SHORTEST_SECRET).collect();
        given.sort_unstable();
        given.dedup();
        let lines = given.iter().filter(|text| text.contains('\n')).flat_map(|text| text.lines());
        let lines = lines.map(str::trim).filter(|line| line.len() >= SHORTEST_LINE);
        let mut hidden: Vec<String> =
            given.iter().map(String::as_str).chain(lines).flat_map(forms).collect();
        hidden.sort_unstable_by(|one, other| {
            other.len().cmp(&one.len()).then_with(|| one.cmp(other))
        });
        hidden.dedup();
        Self { given, hidden }
    }

    /// The same and `more`.
    pub(crate) fn with(&self, more: &[String]) -> Self {
        Self::new(self.given.iter().chain(more).cloned())
    }

    /// `text` with every secret replaced by `<redacted>`.
    pub(crate) fn mask(&self, text: &str) -> String {
        self.hidden.iter().fold(text.to_owned(), |text, secret| {
            if text.contains(secret) { text.replace(secret, "<redacted>") } else { text }
        })
    }

    /// `document` with every secret in any of its texts replaced.
    pub(crate) fn mask_document<T: Serialize + DeserializeOwned>(&self, document: T) -> T {
        if self.hidden.is_empty() {
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
        &self.given
    }
}

/// A secret as it stands, and as JSON, XML, addresses, forms and base64 write it.
fn forms(secret: &str) -> Vec<String> {
    let json = Value::from(secret).to_string();
    let mut forms = vec![
        secret.to_owned(),
        json[1..json.len() - 1].to_owned(),
        quick_xml::escape::escape(secret).into_owned(),
        quick_xml::escape::partial_escape(secret).into_owned(),
        utf8_percent_encode(secret, UNRESERVED).to_string(),
        utf8_percent_encode(secret, PATH).to_string(),
        utf8_percent_encode(secret, UNRESERVED).to_string().replace("%20", "+"),
    ];
    // Of a shorter one, too little would be left to be sure of it.
    if secret.len() >= SHORTEST_LINE {
        forms.extend([STANDARD_NO_PAD.encode(secret), URL_SAFE_NO_PAD.encode(secret)]);
    }
    forms
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Secrets({} redacted)", self.given.len())
    }
}

#[cfg(test)]
mod tests {
    use super::super::credentials::credential_texts;
    use super::Secrets;

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

//! Texts that are sent and never shown.

use std::fmt;

use serde::Deserialize;

/// What stands for a secret wherever something is shown.
const REDACTED: &str = "<redacted>";

/// A text that is sent to a server and shown nowhere: a password, a token.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Keeps `text` from being shown.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text, for sending it.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether there is nothing to keep.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(REDACTED)
    }
}

/// The texts to be replaced in what is shown, the longest first: one may be a part of another.
#[derive(Clone, Default)]
pub(super) struct Mask(Vec<String>);

impl Mask {
    pub(super) fn add(&mut self, secret: &Secret) {
        let plain = secret.expose().to_owned();
        // As a server repeats it inside JSON.
        let quoted = serde_json::Value::from(plain.as_str()).to_string();
        let quoted = quoted[1..quoted.len() - 1].to_owned();
        for form in [plain, quoted] {
            if !form.is_empty() && !self.0.contains(&form) {
                self.0.push(form);
            }
        }
        self.0.sort_by_key(|form| std::cmp::Reverse(form.len()));
    }

    pub(super) fn hide(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, secret| text.replace(secret, REDACTED))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_hidden_in_every_form_and_whole() {
        let mut mask = Mask::default();
        for secret in ["swordfish", "swordfish-2", "with \"quotes\"", ""] {
            mask.add(&Secret::new(secret));
        }
        assert_eq!(mask.hide("swordfish-2 and swordfish"), "<redacted> and <redacted>");
        assert_eq!(mask.hide(r#"{"a":"with \"quotes\""}"#), r#"{"a":"<redacted>"}"#);
        assert_eq!(mask.hide("nothing"), "nothing");
    }

    #[test]
    fn debug_shows_nothing() {
        assert_eq!(format!("{:?}", Secret::new("swordfish")), "<redacted>");
    }
}

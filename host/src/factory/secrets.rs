//! Texts that must never be seen.

/// Replaces secrets in everything that is shown or stored.
#[derive(Clone, Default)]
pub(crate) struct Secrets {
    texts: Vec<String>,
}

/// Shorter texts would blank out half of a log without hiding anything.
const SHORTEST_SECRET: usize = 4;

impl Secrets {
    /// Hides each of `texts`, longest first so that one inside another is hidden as well.
    pub(crate) fn new(texts: impl IntoIterator<Item = String>) -> Self {
        let mut texts: Vec<String> =
            texts.into_iter().filter(|text| text.len() >= SHORTEST_SECRET).collect();
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

    /// The secrets, for handing them to a worker.
    pub(crate) fn texts(&self) -> &[String] {
        &self.texts
    }
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Secrets({} redacted)", self.texts.len())
    }
}

#[cfg(test)]
mod tests {
    use super::Secrets;

    #[test]
    fn a_secret_inside_another_is_hidden_too() {
        let secrets = Secrets::new(["hunter2".to_owned(), "hunter2-and-more".to_owned()]);
        let masked = secrets.mask("login hunter2-and-more, then hunter2");
        assert_eq!(masked, "login <redacted>, then <redacted>");
        assert!(!format!("{secrets:?}").contains("hunter2"));
    }
}

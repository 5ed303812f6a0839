//! What a reader gathers beside the template: problems, warnings, and where each part stands.
//!
//! Rules speak of the model (`files.0.name`). The reader of a syntax has noted the place of every
//! part, so that a rule's message names the element and the line that the author wrote.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use plugin_api::info::printable;

use super::error::Problem;
use crate::nearest::nearest;

/// Where something stands in a document.
#[derive(Clone, Debug, Default)]
pub(super) struct Place {
    /// The included file, when it is not the template itself.
    pub(super) file: Option<Arc<str>>,
    /// Line, counted from 1.
    pub(super) line: Option<usize>,
    /// Path in the words of the syntax.
    pub(super) path: String,
}

/// Problems, warnings and places of one document.
#[derive(Debug, Default)]
pub(super) struct Report {
    pub(super) problems: Vec<Problem>,
    pub(super) warnings: Vec<Problem>,
    places: HashMap<String, Place>,
    missing: HashSet<String>,
}

impl Report {
    /// Notes where the part `key` of the model stands.
    pub(super) fn note(&mut self, key: impl Into<String>, place: Place) {
        self.places.insert(key.into(), place);
    }

    /// Notes that the part `key` could not be read, which was reported: rules have nothing to say
    /// about it any more.
    pub(super) fn miss(&mut self, key: impl Into<String>) {
        self.missing.insert(key.into());
    }

    /// Whether `key`, or a part around it, could not be read.
    pub(super) fn is_missing(&self, key: &str) -> bool {
        let mut part = key;
        loop {
            if self.missing.contains(part) {
                return true;
            }
            match part.rsplit_once('.') {
                Some((outer, _)) => part = outer,
                None => return false,
            }
        }
    }

    /// The place of `key`, or of the nearest part around it, or the key itself.
    pub(super) fn place(&self, key: &str) -> Place {
        let mut part = key;
        loop {
            if let Some(place) = self.places.get(part) {
                return place.clone();
            }
            match part.rsplit_once('.') {
                Some((outer, _)) => part = outer,
                None => break,
            }
        }
        Place { path: key.to_owned(), ..Place::default() }
    }

    /// Adds a problem at `place`.
    pub(super) fn problem(&mut self, place: &Place, message: impl Into<String>) {
        self.problems.push(problem(place, message.into(), None));
    }

    /// Adds a problem at `place` with a remedy, if there is one.
    pub(super) fn problem_with(
        &mut self,
        place: &Place,
        message: impl Into<String>,
        hint: Option<String>,
    ) {
        self.problems.push(problem(place, message.into(), hint));
    }

    /// Adds a warning at `place`.
    pub(super) fn warning(&mut self, place: &Place, message: impl Into<String>) {
        self.warnings.push(problem(place, message.into(), None));
    }
}

fn problem(place: &Place, message: String, hint: Option<String>) -> Problem {
    Problem {
        file: place.file.as_deref().map(ToOwned::to_owned),
        line: place.line,
        path: place.path.clone(),
        message,
        hint,
    }
}

/// A remedy that names the candidate most like `word`, if one is near.
pub(super) fn did_you_mean(word: &str, candidates: &[&str]) -> Option<String> {
    nearest(word, candidates.iter().copied()).map(|name| format!("did you mean `{name}`?"))
}

/// `a`, `b` or `c`, each in backticks.
pub(super) fn one_of(words: &[&str]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
    match quoted.split_last() {
        None => "nothing".into(),
        Some((only, [])) => only.clone(),
        Some((last, others)) => format!("{} or {last}", others.join(", ")),
    }
}

/// What a parser says as a message of ours: one line, not endless, nothing that a terminal obeys.
pub(super) fn said(text: &str) -> String {
    const LONGEST: usize = 300;
    let said = printable(&text.chars().take(LONGEST).collect::<String>().replace('\n', ", "));
    if text.chars().nth(LONGEST).is_some() { said + "…" } else { said }
}

/// `text` in backticks, shortened and with control characters escaped, for a message.
pub(super) fn quoted(text: &str) -> String {
    const LONGEST: usize = 60;
    let mut short: String = text.chars().take(LONGEST).flat_map(char::escape_debug).collect();
    if text.chars().nth(LONGEST).is_some() {
        short.push('…');
    }
    format!("`{short}`")
}

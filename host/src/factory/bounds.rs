//! How much of what a plugin says is taken: texts without end must fill neither memory nor store.
//!
//! A worker cuts what it sends, so that its lines stay short; the supervisor cuts what it reads,
//! because a plugin can write to the channel behind the worker's back.

use std::fmt::Write as _;

use camino::Utf8Path;
use plugin_api::host::LogRecord;
use plugin_api::{DelegateError, ProviderIdentity};
use serde_json::Value;

use super::protocol::{Message, Outcome};

/// Longest line of a log, in bytes.
pub(super) const LINE: usize = 64 << 10;
/// Longest activity, key or identifier, in bytes.
pub(super) const PHRASE: usize = 4 << 10;
/// Longest sentence of an error, in bytes.
const SENTENCE: usize = 2 << 10;
/// Most causes, hints or spans.
const LIST: usize = 32;
/// Most errors of one `check`.
const PROBLEMS: usize = 100;
/// Longest value of a property, and all fields of a log record, as JSON in bytes.
pub(super) const DOCUMENT: usize = 256 << 10;
/// Longest content that a cloud plugin asks for while a request is planned, as JSON in bytes.
pub(super) const CONTENT: usize = 1 << 20;
/// Most properties, and most artifacts, of one image.
pub(super) const ENTRIES: usize = 1000;

/// Room for the words that say what was cut, so that nothing is cut twice.
const NOTE: usize = 64;

/// Cuts `text` to about `limit` bytes, and says so at its end.
pub(super) fn cut(text: &mut String, limit: usize) {
    if text.len() > limit + NOTE {
        let length = text.len();
        text.truncate(text.floor_char_boundary(limit));
        // Writing to a string cannot fail.
        let _ = write!(text, " … (cut, it had {length} bytes)");
    }
}

/// Length of `value` as JSON, in bytes.
pub(super) fn length(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len(),
        Value::Array(values) => values.iter().map(length).sum(),
        Value::Object(fields) => fields.iter().map(|(key, value)| key.len() + length(value)).sum(),
        Value::Null | Value::Bool(_) | Value::Number(_) => 8,
    }
}

/// `message` without anything that is too long.
pub(super) fn bounded(mut message: Message) -> Message {
    match &mut message {
        Message::Log(record) => cut_record(record),
        Message::Output(text) => cut(text, LINE),
        Message::Activity(text) => cut(text, PHRASE),
        Message::Done(outcome) => cut_outcome(outcome),
        Message::Method { .. }
        | Message::Progress(_)
        | Message::Artifact { .. }
        | Message::Property { .. }
        | Message::Delivered(_)
        | Message::Exited(_) => {},
    }
    message
}

fn cut_record(record: &mut LogRecord) {
    cut(&mut record.message, LINE);
    cut(&mut record.target, PHRASE);
    record.spans.truncate(LIST);
    record.spans.iter_mut().for_each(|span| cut(span, PHRASE));
    let fields: usize = record.fields.iter().map(|(key, value)| key.len() + length(value)).sum();
    if fields > LINE {
        record.fields.clear();
        record.fields.insert("cut".to_owned(), format!("fields of {fields} bytes").into());
    }
}

fn cut_outcome(outcome: &mut Outcome) {
    match outcome {
        Outcome::Complete { .. } => {},
        Outcome::Skipped(reason) => cut(reason, PHRASE),
        Outcome::Failed { error, .. } => *error = shortened(error),
        Outcome::Checked { problems, .. } => {
            problems.truncate(PROBLEMS);
            for problem in problems {
                problem.error = shortened(&problem.error);
            }
        },
    }
}

fn shortened(error: &DelegateError) -> DelegateError {
    let text = |text: &str, limit| {
        let mut text = text.to_owned();
        cut(&mut text, limit);
        text
    };
    let mut short = DelegateError::new(error.kind(), text(error.message(), SENTENCE));
    for cause in error.causes().iter().take(LIST) {
        short = short.because(text(cause, PHRASE));
    }
    for hint in error.hints().iter().take(LIST) {
        short = short.hint(text(hint, PHRASE));
    }
    short
}

/// Whether the file `path` lies in `folder`, links followed. What a plugin wants kept is moved, so
/// it must be its own.
pub(super) fn is_in(path: &Utf8Path, folder: &Utf8Path) -> bool {
    let real = |path: &Utf8Path| fs_err::canonicalize(path);
    let (Ok(path), Ok(folder)) = (real(path), real(folder)) else {
        return false;
    };
    path.starts_with(folder)
}

/// What a provider calls an image is kept as it is, so it must be something that can be kept.
///
/// # Errors
/// When it is empty, too long, or more than one line.
pub(super) fn check_identity(identity: &ProviderIdentity) -> Result<(), DelegateError> {
    let names =
        [Some(&identity.identifier_on_provider), identity.provider_account_identifier.as_ref()];
    for name in names.into_iter().flatten() {
        let wrong = match name.len() {
            0 => "is empty",
            length if length > PHRASE => "is longer than 4 KiB",
            _ if name.chars().any(char::is_control) => "holds control characters",
            _ => continue,
        };
        return Err(DelegateError::bug_in_plugin(format!(
            "the identifier that the plugin gave of the image on its provider {wrong}"
        ))
        .hint("the image may be at the provider all the same: look there"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_between_characters_and_says_so() {
        let mut text = "ä".repeat(100);
        cut(&mut text, 101);
        assert_eq!(text, format!("{} … (cut, it had 200 bytes)", "ä".repeat(50)));
        let once = text.clone();
        cut(&mut text, 101);
        assert_eq!(text, once);
    }

    #[test]
    fn an_error_without_end_keeps_its_beginning() {
        let error = (0..1000).fold(DelegateError::failed("x".repeat(1 << 20)), |error, number| {
            error.because(number.to_string())
        });
        let message =
            Message::Done(Outcome::Failed { plugin: String::new(), method: String::new(), error });
        assert!(serde_json::to_string(&bounded(message)).unwrap().len() < 2 * SENTENCE);
    }

    #[test]
    fn an_identifier_must_be_one_line_of_text() {
        for wrong in ["", "two\nlines", "\u{1b}[2J", &"long".repeat(2000)] {
            check_identity(&ProviderIdentity::new(wrong)).unwrap_err();
        }
        check_identity(&ProviderIdentity::new("ami-1234")).unwrap();
    }
}

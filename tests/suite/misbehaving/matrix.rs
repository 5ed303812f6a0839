//! `docs/fault-matrix.md`, made from the cases.

use std::fmt::Write as _;

use super::cases::{CASES, Case, Then};
use crate::support::checkout;

const HEAD: &str = "\
# What becomes of plugins that misbehave

Made from `tests/suite/misbehaving/cases.rs` by the suite, which tries every line with the real
executable while a healthy build runs beside it and completes. `UPDATE_GOLDEN=1` writes it anew.

| plugin | in | does | settings | image | probe | exit code | the user reads |
|---|---|---|---|---|---|---|---|
";

/// The document is the one in the checkout.
///
/// # Panics
/// When it is another.
pub(super) fn assert_current() {
    let path = checkout().join("docs/fault-matrix.md");
    let made = CASES.iter().fold(HEAD.to_owned(), |text, case| text + &line(case));
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs_err::write(&path, &made).unwrap();
    }
    assert_eq!(fs_err::read_to_string(&path).unwrap(), made, "set UPDATE_GOLDEN=1");
}

fn line(case: &Case) -> String {
    let mut words = String::new();
    for text in case.words {
        let separator = if words.is_empty() { "" } else { " … " };
        write!(words, "{separator}{text}").unwrap();
    }
    let shown = |text: &str| if text.is_empty() { "-".to_owned() } else { format!("`{text}`") };
    let when = match (case.when, case.then) {
        ("", _) => "constructor".to_owned(),
        (when, Then::Nothing) => format!("`{when}`"),
        (when, Then::Cancelled) => format!("`{when}`, then cancelled"),
    };
    format!(
        "| `{}` | {when} | {} | {} | {} | {} | {} | {words} |\n",
        case.plugin,
        shown(case.how),
        shown(&case.settings.replace('\n', " ")),
        case.state,
        shown(case.probe),
        case.exit
    )
}

//! `docs/fault-matrix.md`, made from the cases.

use std::fmt::Write as _;

use super::cases::{Case, FAMILIES, Then};
use crate::support::checkout;

const HEAD: &str = "\
# What becomes of plugins that misbehave

Made from `tests/suite/misbehaving/cases` by the suite, which tries every line with the real
executable while a healthy build works beside it for as long, and completes with the same bytes as
ever. `UPDATE_GOLDEN=1` writes it anew. Every message of a failure names the plugin, the delegate
method if one was running, and a hint; the last columns show what it says besides.
";

const COLUMNS: &str = "
| plugin | in | does | settings | image | probe | exit code | the user reads | its log holds |
|---|---|---|---|---|---|---|---|---|
";

/// The document is the one in the checkout.
///
/// # Panics
/// When it is another.
pub(super) fn assert_current() {
    let path = checkout().join("docs/fault-matrix.md");
    let mut made = HEAD.to_owned();
    for family in FAMILIES {
        write!(made, "\n## {}\n{COLUMNS}", family.title).unwrap();
        family.cases.iter().for_each(|case| made.push_str(&line(case)));
    }
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs_err::write(&path, &made).unwrap();
    }
    assert_eq!(fs_err::read_to_string(&path).unwrap(), made, "set UPDATE_GOLDEN=1");
}

fn line(case: &Case) -> String {
    let shown = |text: &str| if text.is_empty() { "-".to_owned() } else { format!("`{text}`") };
    let pieces = |pieces: &[&str]| match pieces {
        [] => "-".to_owned(),
        pieces => pieces.join(" … "),
    };
    let when = match case.when {
        method if method.contains('_') => format!("`{method}`"),
        moment => moment.to_owned(),
    };
    let then = match case.then {
        Then::Cancelled => ", then cancelled",
        _ => "",
    };
    format!(
        "| `{}` | {when} | {}{then} | {} | {} | {} | {} | {} | {} |\n",
        case.plugin,
        case.how,
        shown(&case.settings.replace('\n', " ")),
        case.state,
        shown(case.probe),
        case.exit,
        pieces(case.words),
        pieces(case.log),
    )
}

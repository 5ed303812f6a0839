//! Commands in their order, and the content that files and commands share.

use plugin_api::template::{Command, Source};

use super::trimmed_name_of;
use crate::template::content::At;
use crate::template::report::{Place, Report, one_of, quoted};
use crate::template::rules::canonical_base64;

/// The content of a file or a command, by its attribute `type`.
pub(super) fn read_source(at: &At<'_>, key: &str, report: &mut Report) -> Source {
    let text = at.text(report);
    let trimmed = text.trim();
    match at.element.attribute("type") {
        None | Some("raw") => Source::Raw(trimmed.to_owned()),
        Some("url") => Source::Url(trimmed.to_owned()),
        Some("base64") if trimmed.is_empty() => Source::Base64(String::new()),
        // Oz does not trim here: its schema sees the text as it stands.
        Some("base64") => canonical_base64(&text).map_or_else(
            || {
                let hint = "base64 stands on one line without blanks: base64 -w0 FILE";
                report.problem_with(&at.place(), "is not base64", Some(hint.into()));
                report.miss(format!("{key}.source"));
                Source::Base64(String::new())
            },
            Source::Base64,
        ),
        Some(other) => {
            let words = one_of(&["raw", "base64", "url"]);
            let message = format!("expected {words}, found {}", quoted(other));
            report.problem(&at.attribute_place("type"), message);
            report.miss(format!("{key}.source"));
            Source::Raw(trimmed.to_owned())
        },
    }
}

/// Commands in the order of their positions, or of the document where none has a position.
pub(super) fn read_commands(list: &str, items: &[At<'_>], report: &mut Report) -> Vec<Command> {
    let positions = read_positions(items, report);
    let mut order: Vec<usize> = (0..items.len()).collect();
    order.sort_by_key(|index| positions[*index]);
    order
        .into_iter()
        .enumerate()
        .map(|(index, item)| {
            let at = &items[item];
            let key = format!("{list}.{index}");
            at.attributes(&[("name", true), ("position", false), ("type", false)], report);
            let name = trimmed_name_of(at, &key, report);
            Command::new(name, read_source(at, &key, report))
        })
        .collect()
}

/// The positions of `items`: all or none, from 1, without gaps and duplicates.
fn read_positions(items: &[At<'_>], report: &mut Report) -> Vec<Option<usize>> {
    let written: Vec<Option<&str>> =
        items.iter().map(|at| at.element.attribute("position")).collect();
    if written.iter().all(Option::is_none) {
        return vec![None; items.len()];
    }
    let mut taken: Vec<Option<usize>> = vec![None; items.len()];
    let mut positions = Vec::with_capacity(items.len());
    for (index, (at, text)) in items.iter().zip(&written).enumerate() {
        let place: Place = at.attribute_place("position");
        let Some(text) = text else {
            let message = "the attribute `position` is missing, other commands have one";
            report.problem(&at.place(), message);
            positions.push(None);
            continue;
        };
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let position = text.parse().ok().filter(|_| digits);
        positions.push(position);
        let slot = position.and_then(|position: usize| taken.get_mut(position.wrapping_sub(1)));
        match slot {
            Some(Some(other)) => {
                let line = items[*other].element.line;
                let message = format!("position {text} is taken by the command in line {line}");
                report.problem(&place, message);
            },
            Some(free) => *free = Some(index),
            None => {
                let message = format!(
                    "positions run from 1 to {} without gaps, found {}",
                    items.len(),
                    quoted(text)
                );
                report.problem(&place, message);
            },
        }
    }
    positions
}

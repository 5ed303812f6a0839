//! Reads `target_content.xml`: what images get besides their template, for each cloud and system.
//!
//! Upstream's document with the grammar of TDL below each `include`; files and commands are ours.

use plugin_api::template::Template;

use super::read_lists;
use crate::template::content::At;
use crate::template::content::Occurs::{AtMostOnce, Often};
use crate::template::report::{Report, quoted};
use crate::template::rules;
use crate::template::target_content::{CHOICE, Entry, RawChoice};
use crate::template::xml::Element;

/// Reads the tree below `root`; problems go to `report`.
pub(in crate::template) fn read(root: &Element, report: &mut Report) -> Vec<Entry> {
    let at = At { element: root, path: root.name.clone() };
    if root.name != "template_includes" || root.namespace.is_some() {
        let found = quoted(&root.name);
        let message = format!("the root element is `template_includes`, found {found}");
        report.problem(&at.place(), message);
        return Vec::new();
    }
    at.attributes(&[], report);
    let includes = at.children(&[("include", Often)], report);
    includes.iter().map(|include| entry(include, report)).collect()
}

fn entry(at: &At<'_>, report: &mut Report) -> Entry {
    at.attributes(&CHOICE.map(|name| (name, false)), report);
    let choice: RawChoice = CHOICE.map(|name| {
        let value = at.element.attribute(name)?;
        Some((value.to_owned(), at.attribute_place(name)))
    });
    // Places are those of this entry: all of them have a first package.
    let mut own = Report::default();
    let mut template = Template::default();
    let lists = ["packages", "repositories", "files", "commands"];
    let content = at.children(&lists.map(|list| (list, AtMostOnce)), &mut own);
    read_lists(&content, &mut template, &mut own);
    rules::check_lists(&template, &mut own);
    report.problems.append(&mut own.problems);
    Entry::new(choice, &at.place(), template, report)
}

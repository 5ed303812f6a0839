//! Reads target content from TOML: an array of tables `include`, each with the choice and the lists
//! of a template.

use plugin_api::template::Template;
use toml::de::{DeTable, Error};

use super::table::{Reader, Table};
use crate::template::lines::Lines;
use crate::template::report::Report;
use crate::template::rules;
use crate::template::target_content::{CHOICE, Entry, RawChoice};

const LISTS: [&str; 4] = ["packages", "repositories", "files", "commands"];

/// Reads `text`; problems go to `report`.
pub(in crate::template) fn read(text: &str, report: &mut Report) -> Result<Vec<Entry>, Error> {
    let document = DeTable::parse(text)?;
    let root = Table { entries: document.get_ref(), line: 1, path: String::new() };
    let mut reader = Reader { lines: Lines::new(text), report };
    reader.keys(&root, &["include"]);
    let includes = reader.tables(&root, "include");
    Ok(includes.iter().map(|include| entry(include, text, report)).collect())
}

fn entry(table: &Table<'_>, text: &str, report: &mut Report) -> Entry {
    // Places are those of this entry: all of them have a first package.
    let mut own = Report::default();
    let mut reader = Reader { lines: Lines::new(text), report: &mut own };
    reader.keys(table, &[&CHOICE[..], &LISTS].concat());
    let choice: RawChoice = CHOICE.map(|name| {
        let value = reader.string(table, name, name)?;
        Some((value, reader.place_of(table, name)))
    });
    let mut template = Template::default();
    reader.lists(table, &mut template);
    rules::check_lists(&template, &mut own);
    report.problems.append(&mut own.problems);
    Entry::new(choice, &table.place(), template, report)
}

//! Values of a TOML document with their places: the part of the reader that knows no template.

use plugin_api::info::printable;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::template::lines::Lines;
use crate::template::report::{Place, Report, did_you_mean, one_of};

/// A table and its place.
pub(super) struct Table<'d> {
    pub(super) entries: &'d DeTable<'d>,
    pub(super) line: usize,
    pub(super) path: String,
}

impl<'d> Table<'d> {
    pub(super) fn get(&self, key: &str) -> Option<&'d Spanned<DeValue<'d>>> {
        self.entries.iter().find(|(name, _)| name.get_ref() == key).map(|(_, value)| value)
    }

    pub(super) fn place(&self) -> Place {
        Place { file: None, line: Some(self.line), path: self.path.clone() }
    }

    pub(super) fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }
}

pub(super) struct Reader<'t, 'r> {
    pub(super) lines: Lines<'t>,
    pub(super) report: &'r mut Report,
}

impl Reader<'_, '_> {
    /// Reports keys of `table` that are not in `known`.
    pub(super) fn keys(&mut self, table: &Table<'_>, known: &[&str]) {
        for (key, _) in table.entries {
            if !known.contains(&key.get_ref().as_ref()) {
                let place = Place {
                    file: None,
                    line: Some(self.lines.line(key.span().start)),
                    path: printable(&table.path_of(key.get_ref())),
                };
                self.report.problem_with(
                    &place,
                    format!("unknown key, expected {}", one_of(known)),
                    did_you_mean(key.get_ref(), known),
                );
            }
        }
    }

    /// The string at `name`, noted at `key`; numbers count as their text.
    pub(super) fn string(&mut self, table: &Table<'_>, name: &str, key: &str) -> Option<String> {
        let value = table.get(name)?;
        let place = self.place_of(table, name);
        self.report.note(key, place.clone());
        match value.get_ref() {
            DeValue::String(text) => Some(text.clone().into_owned()),
            DeValue::Integer(integer) if name == "version" && integer.radix() == 10 => {
                Some(integer.as_str().to_owned())
            },
            DeValue::Float(float) if name == "version" => Some(float.as_str().to_owned()),
            other => {
                let found = article(other.type_str());
                self.report.problem(&place, format!("expected a string, found {found}"));
                self.report.miss(key);
                None
            },
        }
    }

    pub(super) fn required(&mut self, table: &Table<'_>, name: &str, key: &str) -> String {
        if table.get(name).is_none() {
            self.report.problem(&table.place(), format!("the key `{name}` is missing"));
            self.report.miss(key);
        }
        self.string(table, name, key).unwrap_or_default()
    }

    pub(super) fn flag(&mut self, table: &Table<'_>, name: &str, default: bool) -> bool {
        let Some(value) = table.get(name) else {
            return default;
        };
        value.get_ref().as_bool().unwrap_or_else(|| {
            let found = article(value.get_ref().type_str());
            let place = self.place_of(table, name);
            self.report.problem(&place, format!("expected `true` or `false`, found {found}"));
            default
        })
    }

    /// The items of the array at `name`, each with its path.
    pub(super) fn items<'d>(
        &mut self,
        table: &Table<'d>,
        name: &str,
    ) -> Vec<(&'d Spanned<DeValue<'d>>, String)> {
        let Some(value) = table.get(name) else {
            return Vec::new();
        };
        let path = table.path_of(name);
        if let Some(array) = value.get_ref().as_array() {
            let paths = (1..).map(|number| format!("{path}[{number}]"));
            return array.iter().zip(paths).collect();
        }
        let found = article(value.get_ref().type_str());
        let place = self.at(value, path);
        self.report.problem(&place, format!("expected an array, found {found}"));
        Vec::new()
    }

    pub(super) fn tables<'d>(&mut self, table: &Table<'d>, name: &str) -> Vec<Table<'d>> {
        let items = self.items(table, name);
        items.into_iter().filter_map(|(value, path)| self.table(value, path)).collect()
    }

    pub(super) fn table<'d>(
        &mut self,
        value: &'d Spanned<DeValue<'d>>,
        path: String,
    ) -> Option<Table<'d>> {
        let place = self.at(value, path);
        if let Some(entries) = value.get_ref().as_table() {
            return Some(Table { entries, line: place.line.unwrap_or(1), path: place.path });
        }
        let found = article(value.get_ref().type_str());
        self.report.problem(&place, format!("expected a table, found {found}"));
        None
    }

    pub(super) fn at(&self, value: &Spanned<DeValue<'_>>, path: String) -> Place {
        Place { file: None, line: Some(self.lines.line(value.span().start)), path }
    }

    /// The place of the key `name`, or of the table when it has none.
    pub(super) fn place_of(&self, table: &Table<'_>, name: &str) -> Place {
        let key = table.entries.iter().find(|(key, _)| key.get_ref() == name);
        Place {
            file: None,
            line: Some(key.map_or(table.line, |(key, _)| self.lines.line(key.span().start))),
            path: table.path_of(name),
        }
    }
}

/// The name of a TOML type with its article.
pub(super) fn article(kind: &str) -> String {
    match kind {
        "array" | "integer" | "offset datetime" => format!("an {kind}"),
        kind => format!("a {kind}"),
    }
}

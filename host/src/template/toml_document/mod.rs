//! Reads a template from TOML.
//!
//! The document tree keeps the place of every key and value, so problems name key and line and
//! all of them are found in one reading. Text is taken as it stands.

mod entries;
mod table;

use plugin_api::template::{
    Checksum, Command, Extra, File, Install, Package, Repository, Source, Template,
};
use toml::de::{DeTable, DeValue, Error};

use super::lines::Lines;
use super::report::{Report, one_of, quoted};
use super::rules::{CHECKSUMS, canonical_base64};
use super::size::parse_disk_size;
use table::{Reader, Table, article};

pub(super) use entries::read as read_entries;

/// Reads `text`; problems go to `report`.
pub(super) fn read(text: &str, report: &mut Report) -> Result<Template, Error> {
    let document = DeTable::parse(text)?;
    let mut reader = Reader { lines: Lines::new(text), report };
    let root = Table { entries: document.get_ref(), line: 1, path: String::new() };
    Ok(reader.template(&root))
}

const PACKAGE: [&str; 4] = ["name", "repository", "file", "arguments"];

impl Reader<'_, '_> {
    fn template(&mut self, root: &Table<'_>) -> Template {
        let known = [
            "name",
            "description",
            "os",
            "packages",
            "files",
            "commands",
            "precommands",
            "repositories",
            "disk_size",
        ];
        self.keys(root, &known);
        let mut template = Template::default();
        template.name = self.required(root, "name", "name");
        template.description = self.string(root, "description", "description");
        match root.get("os").map(|value| self.table(value, "os".into())) {
            Some(Some(os)) => self.os(&os, &mut template),
            Some(None) => self.report.miss("os"),
            None => {
                let message = "the table `[os]` is missing";
                self.report.problem(&root.place(), message);
                self.report.miss("os");
            },
        }
        self.lists(root, &mut template);
        template.precommands = self.commands(root, "precommands");
        template.disk_size_bytes = self.disk_size(root);
        template
    }

    /// What goes into the image, whatever system it has.
    fn lists(&mut self, root: &Table<'_>, template: &mut Template) {
        self.packages(root, template);
        for (index, table) in self.tables(root, "repositories").iter().enumerate() {
            let repository = self.repository(table, &format!("repositories.{index}"));
            template.repositories.push(repository);
        }
        for (index, table) in self.tables(root, "files").iter().enumerate() {
            let key = format!("files.{index}");
            self.keys(table, &["name", "content", "base64", "url", "mode"]);
            self.report.note(key.clone(), table.place());
            let name = self.required(table, "name", &format!("{key}.name"));
            let mut file = File::new(name, self.source(table, "content", &key));
            file.mode = self.mode(table, &format!("{key}.mode"));
            template.files.push(file);
        }
        template.commands = self.commands(root, "commands");
    }

    fn os(&mut self, table: &Table<'_>, template: &mut Template) {
        let mut known = vec![
            "name",
            "version",
            "arch",
            "url",
            "iso",
            "extras",
            "root_password",
            "key",
            "kernel_parameters",
            "icicle_extra_command",
        ];
        known.extend(CHECKSUMS);
        self.keys(table, &known);
        self.report.note("os", table.place());
        let os = &mut template.os;
        os.name = self.required(table, "name", "os.name");
        os.version = self.required(table, "version", "os.version");
        os.arch = self.required(table, "arch", "os.arch");
        os.root_password = self.string(table, "root_password", "os.root_password");
        os.key = self.string(table, "key", "os.key");
        os.kernel_parameters = self.string(table, "kernel_parameters", "os.kernel_parameters");
        os.icicle_extra_command =
            self.string(table, "icicle_extra_command", "os.icicle_extra_command");
        os.install = self.install(table);
    }

    fn install(&mut self, table: &Table<'_>) -> Install {
        let url = self.string(table, "url", "os.install.url");
        let iso = self.string(table, "iso", "os.install.iso");
        if url.is_some() && iso.is_some() {
            self.report.problem(&table.place(), "only one of `url` and `iso` may be given");
        }
        let Some(iso) = iso else {
            for key in CHECKSUMS.iter().chain(&["extras"]) {
                if table.get(key).is_some() {
                    let place = self.place_of(table, key);
                    self.report.problem(&place, "belongs to a medium, there is no `iso`");
                }
            }
            if url.is_none() {
                if table.get("url").is_none() && table.get("iso").is_none() {
                    self.report.problem(&table.place(), "the key `url` or `iso` is missing");
                }
                self.report.miss("os.install");
            }
            return Install::Url { url: url.unwrap_or_default() };
        };
        let given: Vec<&str> =
            CHECKSUMS.into_iter().filter(|key| table.get(key).is_some()).collect();
        if given.len() > 1 {
            let message = format!("only {} may be given", one_of(&CHECKSUMS));
            self.report.problem(&table.place(), message);
        }
        let checksum = given.first().and_then(|algorithm| {
            let url = self.string(table, algorithm, "os.install.checksum")?;
            let algorithm = (*algorithm).to_owned();
            Some(Checksum { algorithm, url })
        });
        let extras = self.extras(table);
        Install::Iso { iso, checksum, extras }
    }

    fn extras(&mut self, os: &Table<'_>) -> Vec<Extra> {
        let tables = self.tables(os, "extras");
        let mut extras = Vec::new();
        for (index, table) in tables.iter().enumerate() {
            let key = format!("os.install.extras.{index}");
            self.keys(table, &["file", "directory", "destination"]);
            self.report.note(key.clone(), table.place());
            let source_key = format!("{key}.source");
            let file = self.string(table, "file", &source_key);
            let directory = self.string(table, "directory", &source_key);
            if file.is_some() == directory.is_some() {
                let message = "expected exactly one of `file` and `directory`";
                self.report.problem(&table.place(), message);
                self.report.miss(source_key);
            }
            extras.push(Extra {
                directory: directory.is_some(),
                source: file.or(directory).unwrap_or_default(),
                destination: self.required(table, "destination", &format!("{key}.destination")),
            });
        }
        extras
    }

    fn packages(&mut self, root: &Table<'_>, template: &mut Template) {
        for (index, (value, path)) in self.items(root, "packages").into_iter().enumerate() {
            let key = format!("packages.{index}");
            let mut package = Package::default();
            match value.get_ref() {
                DeValue::String(name) => {
                    let place = self.at(value, path);
                    self.report.note(key, place);
                    package.name = name.clone().into_owned();
                },
                DeValue::Table(_) => {
                    if let Some(table) = self.table(value, path) {
                        self.keys(&table, &PACKAGE);
                        self.report.note(key.clone(), table.place());
                        let name = |part: &str| format!("{key}.{part}");
                        package.name = self.required(&table, "name", &name("name"));
                        package.repository = self.string(&table, "repository", &name("repository"));
                        package.file = self.string(&table, "file", &name("file"));
                        package.arguments = self.string(&table, "arguments", &name("arguments"));
                    }
                },
                other => {
                    let message =
                        format!("expected a name or a table, found {}", article(other.type_str()));
                    let place = self.at(value, path);
                    self.report.problem(&place, message);
                    self.report.miss(key);
                },
            }
            template.packages.push(package);
        }
    }

    fn repository(&mut self, table: &Table<'_>, key: &str) -> Repository {
        self.keys(table, &["name", "url", "signed", "persisted", "ssl_verify", "key"]);
        self.report.note(key, table.place());
        let mut repository = Repository::default();
        repository.name = self.required(table, "name", &format!("{key}.name"));
        repository.url = self.required(table, "url", &format!("{key}.url"));
        repository.key = self.string(table, "key", &format!("{key}.key"));
        // A repository with a key is there to be trusted by it.
        repository.signed = self.flag(table, "signed", repository.key.is_some());
        repository.persisted = self.flag(table, "persisted", true);
        repository.ssl_verify = self.flag(table, "ssl_verify", false);
        repository
    }

    fn commands(&mut self, root: &Table<'_>, list: &str) -> Vec<Command> {
        let tables = self.tables(root, list);
        let mut commands = Vec::new();
        for (index, table) in tables.iter().enumerate() {
            let key = format!("{list}.{index}");
            self.keys(table, &["name", "script", "base64", "url"]);
            self.report.note(key.clone(), table.place());
            let name = self.required(table, "name", &format!("{key}.name"));
            commands.push(Command::new(name, self.source(table, "script", &key)));
        }
        commands
    }

    /// The one of `raw` (`content` or `script`), `base64` and `url` that is given.
    fn source(&mut self, table: &Table<'_>, raw: &str, key: &str) -> Source {
        let names = [raw, "base64", "url"];
        let given: Vec<&str> = names.into_iter().filter(|name| table.get(name).is_some()).collect();
        let source_key = format!("{key}.source");
        let [name] = given.as_slice() else {
            let message = format!("expected exactly one of the keys {}", one_of(&names));
            self.report.problem(&table.place(), message);
            self.report.miss(source_key);
            return Source::Raw(String::new());
        };
        let Some(text) = self.string(table, name, &source_key) else {
            self.report.miss(source_key);
            return Source::Raw(String::new());
        };
        match *name {
            "url" => Source::Url(text),
            "base64" => {
                let packed: String = text.split_whitespace().collect();
                if packed.is_empty() {
                    return Source::Base64(packed);
                }
                Source::Base64(canonical_base64(&packed).unwrap_or(text))
            },
            _ => Source::Raw(text),
        }
    }

    fn mode(&mut self, table: &Table<'_>, key: &str) -> Option<u32> {
        let value = table.get("mode")?;
        let place = self.place_of(table, "mode");
        self.report.note(key, place.clone());
        let mode = match value.get_ref() {
            DeValue::String(text) => {
                let digits = text.strip_prefix("0o").unwrap_or(text);
                let octal = digits.bytes().all(|byte| byte.is_ascii_digit());
                u32::from_str_radix(digits, 8).ok().filter(|_| octal)
            },
            DeValue::Integer(integer) if integer.radix() == 8 => {
                u32::from_str_radix(integer.as_str(), 8).ok()
            },
            _ => None,
        };
        if mode.is_none() {
            let message = "expected permission bits in octal, like `\"0755\"` or `0o755`";
            self.report.problem(&place, message);
        }
        mode
    }

    fn disk_size(&mut self, root: &Table<'_>) -> Option<u64> {
        let value = root.get("disk_size")?;
        let place = self.place_of(root, "disk_size");
        self.report.note("disk_size_bytes", place.clone());
        let text = match value.get_ref() {
            DeValue::String(text) => text.trim().to_owned(),
            DeValue::Integer(integer) if integer.radix() == 10 => integer.as_str().to_owned(),
            other => article(other.type_str()),
        };
        let Some(size) = parse_disk_size(&text) else {
            let found = quoted(&text);
            let message = format!("expected a size like `10`, `16 GiB` or `10TB`, found {found}");
            self.report.problem(&place, message);
            return None;
        };
        if size.capped {
            let message =
                format!("{} is more than a disk can have, taken as 16 EiB", quoted(&text));
            self.report.warning(&place, message);
        }
        Some(size.bytes)
    }
}

//! From a JSON value to [`PluginInfo`]: every field is read even when another one is wrong, so
//! that an author sees all problems at once.

use std::collections::BTreeMap;
use std::fmt;

use camino::{Utf8Component, Utf8PathBuf};
use semver::VersionReq;
use serde_json::{Map, Value};

use super::{
    InfoError, InfoProblem, Maintainer, OsTarget, PluginInfo, PluginName, PluginVersion, Requires,
    Targets, json,
};

/// Longest excerpt of a text in a message, in characters.
const EXCERPT: usize = 40;

/// Reads and validates the text of an `.info` file.
pub(super) fn plugin_info(text: &[u8]) -> Result<PluginInfo, InfoError> {
    let mut duplicates = Vec::new();
    let value = json::parse(text, &mut duplicates)
        .map_err(|problem| InfoError { problems: vec![problem], targets: None })?;
    let mut reader = Reader::default();
    for path in duplicates {
        let path = if path.is_empty() { "\"\"".to_owned() } else { printable(&path) };
        reader.problems.push(InfoProblem { path, message: "the key is given twice".to_owned() });
    }
    let info = reader.info(value);
    match info {
        Some(info) if reader.problems.is_empty() => Ok(info),
        info => {
            Err(InfoError { problems: reader.problems, targets: info.map(|info| info.targets) })
        },
    }
}

/// Where a value stands; becomes text only when something is wrong with it.
#[derive(Clone, Copy)]
enum Key<'a> {
    Root,
    Field(&'a Self, &'a str),
    Index(&'a Self, usize),
}

impl Key<'_> {
    fn field<'a>(&'a self, name: &'a str) -> Key<'a> {
        Key::Field(self, name)
    }

    fn index(&self, index: usize) -> Key<'_> {
        Key::Index(self, index)
    }
}

impl fmt::Display for Key<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => Ok(()),
            Self::Field(Self::Root, name) => f.write_str(name),
            Self::Field(parent, name) => write!(f, "{parent}.{name}"),
            Self::Index(parent, index) => write!(f, "{parent}[{index}]"),
        }
    }
}

/// Collects problems while it reads.
#[derive(Default)]
struct Reader {
    problems: Vec<InfoProblem>,
    unknown: Map<String, Value>,
}

impl Reader {
    fn info(&mut self, value: Value) -> Option<PluginInfo> {
        let object = self.object(Key::Root, value)?;
        let mut kind = None;
        let mut targets = None;
        let mut info = PluginInfo {
            targets: Targets::Os(Vec::new()),
            description: None,
            maintainer: None,
            version: None,
            license: None,
            library: None,
            delegate: None,
            priority: 0,
            parameters: None,
            configuration: None,
            provider: None,
            credentials: None,
            requires: Requires::default(),
            depends: BTreeMap::new(),
            unknown: Map::new(),
        };
        for (name, value) in object {
            let key = Key::Root.field(&name);
            match name.as_str() {
                "type" => kind = Some(value),
                "targets" => targets = Some(value),
                // An optional field that is null counts as missing.
                "description" | "maintainer" | "version" | "license" | "library" | "delegate"
                | "priority" | "parameters" | "configuration" | "provider" | "credentials"
                | "requires" | "depends"
                    if value.is_null() => {},
                "description" => info.description = self.string(key, value),
                "maintainer" => info.maintainer = self.maintainer(key, value),
                "version" => {
                    info.version = self.word(key, value).map(|text| PluginVersion::new(&text));
                },
                "license" => info.license = self.string(key, value),
                "library" => info.library = self.library(key, value),
                "delegate" => info.delegate = self.word(key, value),
                "priority" => info.priority = self.integer(key, &value).unwrap_or_default(),
                "parameters" => info.parameters = self.object(key, value).map(Value::Object),
                "configuration" => info.configuration = self.object(key, value).map(Value::Object),
                "provider" => info.provider = self.object(key, value).map(Value::Object),
                "credentials" => info.credentials = self.object(key, value).map(Value::Object),
                "requires" => info.requires = self.requires(key, value).unwrap_or_default(),
                "depends" => info.depends = self.depends(key, value),
                _ => {
                    self.unknown.insert(name, value);
                },
            }
        }
        info.targets = self.claims(kind, targets)?;
        info.unknown = std::mem::take(&mut self.unknown);
        Some(info)
    }

    /// `type` and `targets` together, because the first says how the second is read.
    fn claims(&mut self, kind: Option<Value>, targets: Option<Value>) -> Option<Targets> {
        let root = Key::Root;
        let (kind_key, key) = (root.field("type"), root.field("targets"));
        let kind = match kind {
            None => {
                self.problem(kind_key, "missing; expected `os` or `cloud`");
                None
            },
            Some(Value::String(text)) if text.eq_ignore_ascii_case("os") => Some(true),
            Some(Value::String(text)) if text.eq_ignore_ascii_case("cloud") => Some(false),
            Some(other) => {
                self.unexpected(kind_key, "`os` or `cloud`", &other);
                None
            },
        };
        let list = match targets {
            None => {
                self.problem(key, "missing; expected a list of targets");
                return None;
            },
            Some(Value::Array(list)) if list.is_empty() => {
                self.problem(key, "expected at least one target, found an empty list");
                return None;
            },
            Some(Value::Array(list)) => list,
            Some(other) => {
                self.unexpected(key, "a list of targets", &other);
                return None;
            },
        };
        let elements = list.into_iter().enumerate();
        if kind? {
            let read = elements.filter_map(|(i, value)| self.os_target(key.index(i), value));
            Some(Targets::Os(read.collect()))
        } else {
            let read = elements.filter_map(|(i, value)| self.cloud_target(key.index(i), value));
            Some(Targets::Cloud(read.collect()))
        }
    }

    fn os_target(&mut self, key: Key<'_>, value: Value) -> Option<OsTarget> {
        let tuple = match value {
            Value::Array(tuple) => tuple,
            other => {
                self.unexpected(key, "a tuple `[name, version, arch]`", &other);
                return None;
            },
        };
        if tuple.is_empty() || tuple.len() > 3 {
            let found = tuple.len();
            self.problem(key, format!("expected one to three elements, found {found}"));
            return None;
        }
        let mut elements = [const { None }; 3];
        let mut valid = true;
        for (i, (element, value)) in elements.iter_mut().zip(tuple).enumerate() {
            match value {
                Value::Null => {},
                Value::String(text) if !text.is_empty() => *element = Some(text),
                other => {
                    valid = false;
                    self.unexpected(key.index(i), "a string or null", &other);
                },
            }
        }
        valid.then_some(OsTarget(elements))
    }

    fn cloud_target(&mut self, key: Key<'_>, value: Value) -> Option<String> {
        match value {
            Value::Array(mut tuple) if tuple.len() == 1 => {
                let value = tuple.pop()?;
                self.word(key.index(0), value)
            },
            Value::Array(tuple) => {
                let found = tuple.len();
                self.problem(
                    key,
                    format!("expected a string or a list of one string, found a list of {found}"),
                );
                None
            },
            other => self.word(key, other),
        }
    }

    fn maintainer(&mut self, key: Key<'_>, value: Value) -> Option<Maintainer> {
        let mut maintainer = Maintainer::default();
        for (name, value) in self.object(key, value)? {
            let key = key.field(&name);
            let field = match name.as_str() {
                "name" => &mut maintainer.name,
                "email" => &mut maintainer.email,
                "url" => &mut maintainer.url,
                _ => {
                    self.unknown.insert(key.to_string(), value);
                    continue;
                },
            };
            if !value.is_null() {
                *field = self.string(key, value);
            }
        }
        Some(maintainer)
    }

    fn requires(&mut self, key: Key<'_>, value: Value) -> Option<Requires> {
        let mut requires = Requires::default();
        for (name, value) in self.object(key, value)? {
            let key = key.field(&name);
            match name.as_str() {
                "commands" => requires.commands = self.words(key, value),
                "api" => requires.api = self.range(key, value),
                _ => {
                    self.unknown.insert(key.to_string(), value);
                },
            }
        }
        Some(requires)
    }

    fn depends(&mut self, key: Key<'_>, value: Value) -> BTreeMap<PluginName, VersionReq> {
        let mut depends = BTreeMap::new();
        for (name, value) in self.object(key, value).unwrap_or_default() {
            let key = key.field(&name);
            let range = self.range(key, value);
            match name.parse::<PluginName>() {
                Ok(name) => depends.extend(range.map(|range| (name, range))),
                Err(error) => self.problem(key, error.to_string()),
            }
        }
        depends
    }

    fn library(&mut self, key: Key<'_>, value: Value) -> Option<Utf8PathBuf> {
        let text = self.word(key, value)?;
        let path = Utf8PathBuf::from(&text);
        let relative = path.components().all(|component| {
            !matches!(component, Utf8Component::RootDir | Utf8Component::Prefix(_))
        });
        let names_a_file = path.file_name().is_some() && !text.ends_with(['/', '.']);
        if relative && names_a_file && !text.contains('\0') {
            return Some(path);
        }
        let found = Value::String(text);
        self.unexpected(key, "a file name or a path relative to this file", &found);
        None
    }

    fn range(&mut self, key: Key<'_>, value: Value) -> Option<VersionReq> {
        let text = self.word(key, value)?;
        match VersionReq::parse(&text) {
            Ok(range) => Some(range),
            Err(error) => {
                self.problem(key, format!("expected a version range, found {text:?}: {error}"));
                None
            },
        }
    }

    fn words(&mut self, key: Key<'_>, value: Value) -> Vec<String> {
        match value {
            Value::Null => Vec::new(),
            Value::Array(list) => list
                .into_iter()
                .enumerate()
                .filter_map(|(i, value)| self.word(key.index(i), value))
                .collect(),
            other => {
                self.unexpected(key, "a list of strings", &other);
                Vec::new()
            },
        }
    }

    fn word(&mut self, key: Key<'_>, value: Value) -> Option<String> {
        let text = self.string(key, value)?;
        if text.trim().is_empty() {
            self.problem(key, format!("expected a string that is not empty, found {text:?}"));
            return None;
        }
        Some(text)
    }

    fn string(&mut self, key: Key<'_>, value: Value) -> Option<String> {
        match value {
            Value::String(text) => Some(text),
            other => {
                self.unexpected(key, "a string", &other);
                None
            },
        }
    }

    fn integer(&mut self, key: Key<'_>, value: &Value) -> Option<i64> {
        let integer = value.as_i64();
        if integer.is_none() {
            self.unexpected(key, "an integer", value);
        }
        integer
    }

    fn object(&mut self, key: Key<'_>, value: Value) -> Option<Map<String, Value>> {
        match value {
            Value::Object(object) => Some(object),
            other => {
                self.unexpected(key, "an object", &other);
                None
            },
        }
    }

    fn unexpected(&mut self, key: Key<'_>, expected: &str, found: &Value) {
        self.problem(key, format!("expected {expected}, found {}", described(found)));
    }

    fn problem(&mut self, key: Key<'_>, message: impl Into<String>) {
        let (path, message) = (printable(&key.to_string()), printable(&message.into()));
        self.problems.push(InfoProblem { path, message });
    }
}

/// `text` as a message may quote it: on one line, and with control characters, which a terminal would
/// obey, and invisible ones as escapes. The texts of a plugin are an author's, who may not be trusted.
pub fn printable(text: &str) -> String {
    let mut printable = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '"' | '\'' | '\\' => printable.push(c),
            c => printable.extend(c.escape_debug()),
        }
    }
    printable
}

/// A value as a message shows it: short, and what it is rather than all that it holds.
fn described(value: &Value) -> String {
    match value {
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "an object".to_owned(),
        Value::String(text) if text.chars().count() > EXCERPT => {
            let excerpt: String = text.chars().take(EXCERPT).collect();
            format!("{:?}", excerpt + "…")
        },
        other => other.to_string(),
    }
}

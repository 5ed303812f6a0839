//! Reads TDL 1.0: the element tree becomes the model.
//!
//! The grammar is that of Oz's schema: elements of a group in any order, unknown elements and
//! attributes refused, fixed values compared exactly. White space around text is dropped, as Oz
//! does for the content of files and commands.

mod commands;
mod entries;
mod os;

use plugin_api::template::{File, Package, Repository, Template};

use super::content::{At, Content, Occurs};
use super::report::{Report, one_of, quoted};
use super::size::parse_disk_size;
use super::xml::{Element, Node};

use Occurs::{AtMostOnce, Often, Once};
use commands::{read_commands, read_source};
use os::read_os;

pub(super) use entries::read as read_entries;

/// Reads the tree below `root`; problems go to `report`.
pub(super) fn read(root: &Element, report: &mut Report) -> Template {
    let at = At { element: root, path: root.name.clone() };
    let mut template = Template::default();
    if root.name != "template" || root.namespace.is_some() {
        let found = match &root.namespace {
            Some(namespace) => format!("an element of the namespace {}", quoted(namespace)),
            None => quoted(&root.name),
        };
        let message = format!("the root element of a template is `template`, found {found}");
        report.problem(&at.place(), message);
        report.miss("name");
        report.miss("os");
        return template;
    }
    at.attributes(&[("version", false)], report);
    if let Some(version) = root.attribute("version").filter(|version| version.trim() != "1.0") {
        let message = format!("expected `1.0`, found {}", quoted(version));
        report.problem(&at.attribute_place("version"), message);
    }
    let model = [
        ("name", Once),
        ("os", Once),
        ("description", AtMostOnce),
        ("packages", AtMostOnce),
        ("files", AtMostOnce),
        ("commands", AtMostOnce),
        ("precommands", AtMostOnce),
        ("repositories", AtMostOnce),
        ("disk", AtMostOnce),
    ];
    let content = at.children(&model, report);
    template.name = required(&content, "name", "name", report);
    template.description = optional(&content, "description", "description", report);
    match content.get("os") {
        Some(os) => read_os(os, &mut template, report),
        None => report.miss("os"),
    }
    read_lists(&content, &mut template, report);
    if let Some(disk) = content.get("disk") {
        template.disk_size_bytes = read_disk(disk, report);
    }
    template
}

fn read_lists(content: &Content<'_>, template: &mut Template, report: &mut Report) {
    for (index, at) in items(content, "packages", "package", report).iter().enumerate() {
        let package = read_package(at, &format!("packages.{index}"), report);
        template.packages.push(package);
    }
    for (index, at) in items(content, "repositories", "repository", report).iter().enumerate() {
        let repository = read_repository(at, &format!("repositories.{index}"), report);
        template.repositories.push(repository);
    }
    for (index, at) in items(content, "files", "file", report).iter().enumerate() {
        let key = format!("files.{index}");
        at.attributes(&[("name", true), ("type", false)], report);
        let name = name_of(at, &key, report);
        let source = read_source(at, &key, report);
        template.files.push(File::new(name, source));
    }
    let precommands = items(content, "precommands", "command", report);
    template.precommands = read_commands("precommands", &precommands, report);
    let commands = items(content, "commands", "command", report);
    template.commands = read_commands("commands", &commands, report);
}

/// The children `item` of the child `list`.
fn items<'e>(
    content: &Content<'e>,
    list: &str,
    item: &'static str,
    report: &mut Report,
) -> Vec<At<'e>> {
    let Some(at) = content.get(list) else {
        return Vec::new();
    };
    at.attributes(&[], report);
    at.children(&[(item, Often)], report).iter().cloned().collect()
}

fn read_package(at: &At<'_>, key: &str, report: &mut Report) -> Package {
    at.attributes(&[("name", true)], report);
    let model = [("repository", AtMostOnce), ("file", AtMostOnce), ("arguments", AtMostOnce)];
    let content = at.children(&model, report);
    let mut package = Package::default();
    package.name = trimmed_name_of(at, key, report);
    package.repository = optional(&content, "repository", &format!("{key}.repository"), report);
    package.file = optional(&content, "file", &format!("{key}.file"), report);
    package.arguments = optional(&content, "arguments", &format!("{key}.arguments"), report);
    package
}

fn read_repository(at: &At<'_>, key: &str, report: &mut Report) -> Repository {
    at.attributes(&[("name", true)], report);
    let model = [
        ("url", Once),
        ("signed", AtMostOnce),
        ("persisted", AtMostOnce),
        ("sslverify", AtMostOnce),
    ];
    let content = at.children(&model, report);
    let mut repository = Repository::default();
    repository.name = trimmed_name_of(at, key, report);
    repository.url = required(&content, "url", &format!("{key}.url"), report);
    repository.signed = read_bool(content.get("signed"), false, report);
    repository.persisted = read_bool(content.get("persisted"), true, report);
    repository.ssl_verify = read_bool(content.get("sslverify"), false, report);
    repository
}

fn read_bool(at: Option<&At<'_>>, default: bool, report: &mut Report) -> bool {
    let Some(at) = at else { return default };
    at.attributes(&[], report);
    let text = at.text(report);
    match text.to_ascii_lowercase().as_str() {
        "true" | "yes" => true,
        "false" | "no" => false,
        _ => {
            let words = one_of(&["true", "false", "yes", "no"]);
            report.problem(&at.place(), format!("expected {words}, found {}", quoted(&text)));
            default
        },
    }
}

fn read_disk(at: &At<'_>, report: &mut Report) -> Option<u64> {
    at.attributes(&[], report);
    let content = at.children(&[("size", Once)], report);
    let size = content.get("size")?;
    let text = noted_text(size, "disk_size_bytes", report);
    if text.is_empty() {
        return None;
    }
    let Some(parsed) = parse_disk_size(&text) else {
        let message =
            format!("expected a size like `10`, `16 GiB` or `10TB`, found {}", quoted(&text));
        report.problem(&size.place(), message);
        return None;
    };
    if parsed.capped {
        let message = format!("{} is more than a disk can have, taken as 16 EiB", quoted(&text));
        report.warning(&size.place(), message);
    }
    Some(parsed.bytes)
}

/// The attribute `name`, noted at `key.name`; its absence was reported with the attributes.
fn name_of(at: &At<'_>, key: &str, report: &mut Report) -> String {
    report.note(key, at.place());
    let name = at.element.attribute("name");
    if name.is_some() {
        report.note(format!("{key}.name"), at.attribute_place("name"));
    } else {
        report.miss(format!("{key}.name"));
    }
    name.unwrap_or_default().to_owned()
}

/// The attribute `name` of everything but a file, whose name may have blanks at its ends.
fn trimmed_name_of(at: &At<'_>, key: &str, report: &mut Report) -> String {
    name_of(at, key, report).trim().to_owned()
}

/// The text of `at` as it stands, noted at `key`.
fn noted_text(at: &At<'_>, key: &str, report: &mut Report) -> String {
    report.note(key, at.place());
    at.attributes(&[], report);
    if at.element.children.iter().any(|node| matches!(node, Node::Element(_))) {
        report.miss(key);
    }
    at.text(report)
}

/// The trimmed text of the child `name`; its absence was reported with the children.
fn required(content: &Content<'_>, name: &str, key: &str, report: &mut Report) -> String {
    if content.get(name).is_none() {
        report.miss(key);
    }
    optional(content, name, key, report).unwrap_or_default()
}

/// The trimmed text of the child `name`, if there is any.
fn optional(content: &Content<'_>, name: &str, key: &str, report: &mut Report) -> Option<String> {
    let at = content.get(name)?;
    let text = noted_text(at, key, report);
    let trimmed = text.trim();
    (!trimmed.is_empty()).then(|| trimmed.to_owned())
}

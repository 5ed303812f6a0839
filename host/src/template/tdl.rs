//! Reads TDL 1.0: the element tree becomes the model.
//!
//! The grammar is that of Oz's schema: elements of a group in any order, unknown elements and
//! attributes refused, fixed values compared exactly. White space around text is dropped, as Oz
//! does for the content of files and commands.

use plugin_api::template::{
    Checksum, Command, Extra, File, Install, Package, Repository, Source, Template,
};

use super::content::{At, Content, Occurs};
use super::report::{Place, Report, one_of, quoted};
use super::rules::{CHECKSUMS, canonical_base64};
use super::size::parse_disk_size;
use super::xml::{Element, Node};

use Occurs::{AtMostOnce, Often, Once};

/// Reads the tree below `root`; problems go to `report`.
pub(super) fn read(root: &Element, report: &mut Report) -> Template {
    let at = At {
        element: root,
        path: root.name.clone(),
    };
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
    if let Some(version) = root
        .attribute("version")
        .filter(|version| version.trim() != "1.0")
    {
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
    let list = |name: &str, item: &'static str, report: &mut Report| {
        let Some(at) = content.get(name) else {
            return Vec::new();
        };
        at.attributes(&[], report);
        let items = at.children(&[(item, Often)], report);
        items.iter().cloned().collect::<Vec<_>>()
    };
    for (index, at) in list("packages", "package", report).iter().enumerate() {
        template
            .packages
            .push(read_package(at, &format!("packages.{index}"), report));
    }
    for (index, at) in list("repositories", "repository", report)
        .iter()
        .enumerate()
    {
        template.repositories.push(read_repository(
            at,
            &format!("repositories.{index}"),
            report,
        ));
    }
    for (index, at) in list("files", "file", report).iter().enumerate() {
        let key = format!("files.{index}");
        at.attributes(&[("name", true), ("type", false)], report);
        let name = name_of(at, &key, report);
        let source = read_source(at, &key, report);
        template.files.push(File::new(name, source));
    }
    template.precommands = read_commands(
        "precommands",
        &list("precommands", "command", report),
        report,
    );
    template.commands = read_commands("commands", &list("commands", "command", report), report);
    if let Some(disk) = content.get("disk") {
        template.disk_size_bytes = read_disk(disk, report);
    }
    template
}

fn read_os(at: &At<'_>, template: &mut Template, report: &mut Report) {
    at.attributes(&[], report);
    report.note("os", at.place());
    let model = [
        ("name", Once),
        ("version", Once),
        ("arch", Once),
        ("install", Once),
        ("kernelparam", AtMostOnce),
        ("rootpw", AtMostOnce),
        ("key", AtMostOnce),
        ("icicle", AtMostOnce),
    ];
    let content = at.children(&model, report);
    let os = &mut template.os;
    os.name = required(&content, "name", "os.name", report);
    os.version = required(&content, "version", "os.version", report);
    match content.get("arch") {
        // Oz compares the text as it stands, blanks and all.
        Some(arch) => os.arch = noted_text(arch, "os.arch", report),
        None => report.miss("os.arch"),
    }
    os.kernel_parameters = optional(&content, "kernelparam", "os.kernel_parameters", report);
    os.root_password = optional(&content, "rootpw", "os.root_password", report);
    os.key = optional(&content, "key", "os.key", report);
    if let Some(icicle) = content.get("icicle") {
        icicle.attributes(&[], report);
        let inner = icicle.children(&[("extra_command", Once)], report);
        os.icicle_extra_command =
            optional(&inner, "extra_command", "os.icicle_extra_command", report);
    }
    match content.get("install") {
        Some(install) => {
            report.note("os.install", install.place());
            match read_install(install, report) {
                Some(read) => os.install = read,
                None => report.miss("os.install"),
            }
        },
        None => report.miss("os.install"),
    }
}

fn read_install(at: &At<'_>, report: &mut Report) -> Option<Install> {
    at.attributes(&[("type", true)], report);
    match at.element.attribute("type")? {
        "url" => {
            let content = at.children(&[("url", Once), ("extras", AtMostOnce)], report);
            if let Some(extras) = content.get("extras") {
                let message = "extras can be taken from a medium only, not from a url";
                report.problem(&extras.place(), message);
            }
            let url = required(&content, "url", "os.install.url", report);
            Some(Install::Url { url })
        },
        "iso" => {
            let mut model = vec![("iso", Once), ("extras", AtMostOnce)];
            model.extend(CHECKSUMS.map(|name| (name, AtMostOnce)));
            let content = at.children(&model, report);
            let iso = required(&content, "iso", "os.install.iso", report);
            let sums: Vec<&At<'_>> = content
                .iter()
                .filter(|child| CHECKSUMS.contains(&child.element.name.as_str()))
                .collect();
            for surplus in sums.iter().skip(1) {
                let message = format!("only {} may be given", one_of(&CHECKSUMS));
                report.problem(&surplus.place(), message);
            }
            let checksum = sums.first().and_then(|sum| {
                let url = noted_text(sum, "os.install.checksum", report)
                    .trim()
                    .to_owned();
                let algorithm = sum.element.name.clone();
                (!url.is_empty()).then_some(Checksum { algorithm, url })
            });
            let extras = read_extras(at, &content, report);
            Some(Install::Iso {
                iso,
                checksum,
                extras,
            })
        },
        other => {
            let message = format!("expected `url` or `iso`, found {}", quoted(other));
            report.problem(&at.attribute_place("type"), message);
            None
        },
    }
}

fn read_extras(install: &At<'_>, content: &Content<'_>, report: &mut Report) -> Vec<Extra> {
    let Some(at) = content.get("extras") else {
        return Vec::new();
    };
    // The one place where the schema has an order.
    let last = content.iter().last();
    if last.is_some_and(|last| last.element.name != "extras") {
        report.problem(
            &at.place(),
            format!("must be the last element of `{}`", install.path),
        );
    }
    at.attributes(&[], report);
    let items = at.children(&[("file", Often), ("directory", Often)], report);
    let extras: Vec<Extra> = items
        .iter()
        .enumerate()
        .map(|(index, item)| {
            item.attributes(&[("source", true), ("destination", true)], report);
            item.children(&[], report);
            let key = format!("os.install.extras.{index}");
            report.note(key.clone(), item.place());
            let mut value = |name: &str| match item.element.attribute(name) {
                Some(value) => value.to_owned(),
                None => {
                    report.miss(format!("{key}.{name}"));
                    String::new()
                },
            };
            Extra {
                directory: item.element.name == "directory",
                source: value("source"),
                destination: value("destination"),
            }
        })
        .collect();
    if extras.is_empty() {
        report.problem(&at.place(), "expected at least one `file` or `directory`");
    }
    extras
}

fn read_package(at: &At<'_>, key: &str, report: &mut Report) -> Package {
    at.attributes(&[("name", true)], report);
    let model = [
        ("repository", AtMostOnce),
        ("file", AtMostOnce),
        ("arguments", AtMostOnce),
    ];
    let content = at.children(&model, report);
    let mut package = Package::default();
    package.name = name_of(at, key, report).trim().to_owned();
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
    repository.name = name_of(at, key, report).trim().to_owned();
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
            report.problem(
                &at.place(),
                format!("expected {words}, found {}", quoted(&text)),
            );
            default
        },
    }
}

/// The content of a file or a command, by its attribute `type`.
fn read_source(at: &At<'_>, key: &str, report: &mut Report) -> Source {
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
fn read_commands(list: &str, items: &[At<'_>], report: &mut Report) -> Vec<Command> {
    let positions = read_positions(items, report);
    let mut order: Vec<usize> = (0..items.len()).collect();
    order.sort_by_key(|index| positions[*index]);
    order
        .into_iter()
        .enumerate()
        .map(|(index, item)| {
            let at = &items[item];
            let key = format!("{list}.{index}");
            at.attributes(
                &[("name", true), ("position", false), ("type", false)],
                report,
            );
            let name = name_of(at, &key, report).trim().to_owned();
            Command::new(name, read_source(at, &key, report))
        })
        .collect()
}

/// The positions of `items`: all or none, from 1, without gaps and duplicates.
fn read_positions(items: &[At<'_>], report: &mut Report) -> Vec<Option<usize>> {
    let written: Vec<Option<&str>> = items
        .iter()
        .map(|at| at.element.attribute("position"))
        .collect();
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

fn read_disk(at: &At<'_>, report: &mut Report) -> Option<u64> {
    at.attributes(&[], report);
    let content = at.children(&[("size", Once)], report);
    let size = content.get("size")?;
    let text = noted_text(size, "disk_size_bytes", report);
    if text.is_empty() {
        return None;
    }
    let Some(parsed) = parse_disk_size(&text) else {
        let message = format!(
            "expected a size like `10`, `16 GiB` or `10TB`, found {}",
            quoted(&text)
        );
        report.problem(&size.place(), message);
        return None;
    };
    if parsed.capped {
        let message = format!(
            "{} is more than a disk can have, taken as 16 EiB",
            quoted(&text)
        );
        report.warning(&size.place(), message);
    }
    Some(parsed.bytes)
}

/// The attribute `name`, noted at `key.name`; its absence was reported with the attributes.
fn name_of(at: &At<'_>, key: &str, report: &mut Report) -> String {
    report.note(key, at.place());
    match at.element.attribute("name") {
        Some(name) => {
            report.note(format!("{key}.name"), at.attribute_place("name"));
            name.to_owned()
        },
        None => {
            report.miss(format!("{key}.name"));
            String::new()
        },
    }
}

/// The text of `at` as it stands, noted at `key`.
fn noted_text(at: &At<'_>, key: &str, report: &mut Report) -> String {
    report.note(key, at.place());
    at.attributes(&[], report);
    if at
        .element
        .children
        .iter()
        .any(|node| matches!(node, Node::Element(_)))
    {
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

//! The element `os` and where it is installed from.

use plugin_api::template::{Checksum, Extra, Install, Template};

use super::{noted_text, optional, required};
use crate::template::content::Occurs::{AtMostOnce, Often, Once};
use crate::template::content::{At, Content};
use crate::template::report::{Report, one_of, quoted};
use crate::template::rules::CHECKSUMS;

pub(super) fn read_os(at: &At<'_>, template: &mut Template, report: &mut Report) {
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
                let url = noted_text(sum, "os.install.checksum", report).trim().to_owned();
                let algorithm = sum.element.name.clone();
                (!url.is_empty()).then_some(Checksum { algorithm, url })
            });
            let extras = read_extras(at, &content, report);
            Some(Install::Iso { iso, checksum, extras })
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
        report.problem(&at.place(), format!("must be the last element of `{}`", install.path));
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
            let mut value = |name: &str| {
                let value = item.element.attribute(name);
                if value.is_none() {
                    report.miss(format!("{key}.{name}"));
                }
                value.unwrap_or_default().to_owned()
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

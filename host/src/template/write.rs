//! Writes a template as TDL 1.0.

use std::fmt::Write as _;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use plugin_api::template::{Command, Install, Package, Repository, Source, Template};

use super::xml::is_xml_char;

/// The template as a TDL 1.0 document that [`super::parse_tdl`] reads back.
///
/// Text that XML cannot carry as it stands (control characters, blanks at the ends) is written as
/// base64. What TDL has no place for, the mode of a file and the key of a repository, becomes a
/// comment.
pub fn to_tdl(template: &Template) -> String {
    let mut out =
        Writer { text: String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"), depth: 0 };
    out.open("template", &[("version", "1.0")]);
    out.leaf("name", &[], &template.name);
    out.optional("description", template.description.as_deref());
    os(&mut out, template);
    if let Some(bytes) = template.disk_size_bytes {
        out.open("disk", &[]);
        out.leaf("size", &[], &size(bytes));
        out.close("disk");
    }
    out.list("repositories", &template.repositories, repository);
    out.list("packages", &template.packages, package);
    out.list("precommands", &template.precommands, command);
    out.list("files", &template.files, |out, file| {
        if let Some(mode) = file.mode {
            out.comment(&format!("mode {mode:04o}: TDL has no place for it"));
        }
        out.source("file", &file.name, &file.source);
    });
    out.list("commands", &template.commands, command);
    out.close("template");
    out.text
}

fn os(out: &mut Writer, template: &Template) {
    let os = &template.os;
    out.open("os", &[]);
    out.leaf("name", &[], &os.name);
    out.leaf("version", &[], &os.version);
    out.leaf("arch", &[], &os.arch);
    match &os.install {
        Install::Iso { iso, checksum, extras } => {
            out.open("install", &[("type", "iso")]);
            out.leaf("iso", &[], iso);
            if let Some(checksum) = checksum {
                out.leaf(&checksum.algorithm, &[], &checksum.url);
            }
            out.list("extras", extras, |out, extra| {
                let kind = if extra.directory { "directory" } else { "file" };
                let attributes = [
                    ("source", extra.source.as_str()),
                    ("destination", extra.destination.as_str()),
                ];
                out.leaf(kind, &attributes, "");
            });
        },
        Install::Url { url } => {
            out.open("install", &[("type", "url")]);
            out.leaf("url", &[], url);
        },
        _ => out.open("install", &[]),
    }
    out.close("install");
    out.optional("rootpw", os.root_password.as_deref());
    out.optional("key", os.key.as_deref());
    out.optional("kernelparam", os.kernel_parameters.as_deref());
    if let Some(command) = &os.icicle_extra_command {
        out.open("icicle", &[]);
        out.leaf("extra_command", &[], command);
        out.close("icicle");
    }
    out.close("os");
}

fn package(out: &mut Writer, package: &Package) {
    let attributes = [("name", package.name.as_str())];
    let parts = [
        ("repository", &package.repository),
        ("file", &package.file),
        ("arguments", &package.arguments),
    ];
    if parts.iter().all(|(_, part)| part.is_none()) {
        out.leaf("package", &attributes, "");
        return;
    }
    out.open("package", &attributes);
    for (name, part) in parts {
        out.optional(name, part.as_deref());
    }
    out.close("package");
}

fn repository(out: &mut Writer, repository: &Repository) {
    let word = |flag: bool| if flag { "yes" } else { "no" };
    if repository.key.is_some() {
        out.comment("the key of this repository: TDL has no place for it");
    }
    out.open("repository", &[("name", &repository.name)]);
    out.leaf("url", &[], &repository.url);
    out.leaf("signed", &[], word(repository.signed));
    out.leaf("persisted", &[], word(repository.persisted));
    out.leaf("sslverify", &[], word(repository.ssl_verify));
    out.close("repository");
}

fn command(out: &mut Writer, command: &Command) {
    out.source("command", &command.name, &command.source);
}

/// The largest binary unit that divides `bytes`.
fn size(bytes: u64) -> String {
    for (shift, unit) in [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")] {
        if bytes != 0 && bytes.trailing_zeros() >= shift {
            return format!("{} {unit}", bytes >> shift);
        }
    }
    format!("{bytes} B")
}

struct Writer {
    text: String,
    depth: usize,
}

impl Writer {
    fn indent(&mut self) {
        for _ in 0..self.depth {
            self.text.push_str("  ");
        }
    }

    fn tag(&mut self, name: &str, attributes: &[(&str, &str)]) {
        self.indent();
        self.text.push('<');
        self.text.push_str(name);
        for (key, value) in attributes {
            self.text.push(' ');
            self.text.push_str(key);
            self.text.push_str("=\"");
            escape(value, true, &mut self.text);
            self.text.push('"');
        }
    }

    fn open(&mut self, name: &str, attributes: &[(&str, &str)]) {
        self.tag(name, attributes);
        self.text.push_str(">\n");
        self.depth += 1;
    }

    fn close(&mut self, name: &str) {
        self.depth = self.depth.saturating_sub(1);
        self.indent();
        self.text.push_str("</");
        self.text.push_str(name);
        self.text.push_str(">\n");
    }

    fn leaf(&mut self, name: &str, attributes: &[(&str, &str)], text: &str) {
        self.tag(name, attributes);
        if text.is_empty() {
            self.text.push_str("/>\n");
            return;
        }
        self.text.push('>');
        escape(text, false, &mut self.text);
        self.text.push_str("</");
        self.text.push_str(name);
        self.text.push_str(">\n");
    }

    fn optional(&mut self, name: &str, text: Option<&str>) {
        if let Some(text) = text {
            self.leaf(name, &[], text);
        }
    }

    fn list<T>(&mut self, name: &str, items: &[T], mut item: impl FnMut(&mut Self, &T)) {
        if items.is_empty() {
            return;
        }
        self.open(name, &[]);
        for each in items {
            item(self, each);
        }
        self.close(name);
    }

    fn comment(&mut self, text: &str) {
        self.indent();
        self.text.push_str("<!-- ");
        self.text.push_str(text);
        self.text.push_str(" -->\n");
    }

    fn source(&mut self, element: &str, name: &str, source: &Source) {
        let (kind, text) = match source {
            Source::Raw(text) if text.trim() == text && text.chars().all(is_xml_char) => {
                ("raw", text.clone())
            },
            Source::Raw(text) => ("base64", STANDARD.encode(text)),
            Source::Base64(text) => ("base64", text.clone()),
            Source::Url(url) => ("url", url.clone()),
            _ => return,
        };
        self.leaf(element, &[("name", name), ("type", kind)], &text);
    }
}

/// Writes `text` so that a parser gives it back unchanged.
fn escape(text: &str, attribute: bool, out: &mut String) {
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' if attribute => out.push_str("&quot;"),
            '\r' => out.push_str("&#13;"),
            '\n' | '\t' if attribute => {
                // Writing into a string cannot fail.
                _ = write!(out, "&#{};", u32::from(c));
            },
            c if is_xml_char(c) => out.push(c),
            _ => out.push('\u{fffd}'),
        }
    }
}

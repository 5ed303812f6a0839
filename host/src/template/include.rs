//! `XInclude`, as far as templates use it: whole files beside the template.
//!
//! `parse="text"` puts a script or a file into its element, `parse="xml"` an element into the
//! tree. Only relative paths that stay below the template's directory, symbolic links resolved,
//! and only within limits of size, number and depth.

use std::io::Read;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use super::content::At;
use super::error::Origin;
use super::report::{Report, quoted};
use super::xml::{self, Element, Node};

const NAMESPACE: &str = "http://www.w3.org/2001/XInclude";
/// Most includes of one template.
const MAX_INCLUDES: usize = 256;
/// Deepest chain of files that include files.
const MAX_DEPTH: usize = 8;

/// Replaces every `xi:include` below `root` by what it names; what fails is reported and removed.
pub(super) fn resolve(root: &mut Element, origin: &Origin, bytes: u64, report: &mut Report) {
    let mut resolver =
        Resolver { directory: origin.directory.as_deref(), included: 0, bytes, report };
    let path = root.name.clone();
    resolver.walk(root, &path, 0);
}

struct Resolver<'r> {
    directory: Option<&'r Path>,
    included: usize,
    bytes: u64,
    report: &'r mut Report,
}

impl Resolver<'_> {
    fn walk(&mut self, element: &mut Element, path: &str, depth: usize) {
        let has_include = element.children.iter().any(is_include);
        let children = if has_include {
            std::mem::take(&mut element.children)
        } else {
            for child in &mut element.children {
                if let Node::Element(child) = child {
                    let path = format!("{path}/{}", child.name);
                    self.walk(child, &path, depth);
                }
            }
            return;
        };
        for child in children {
            match child {
                Node::Element(child) if is_include_element(&child) => {
                    let at = At { element: &child, path: format!("{path}/xi:include") };
                    match self.include(&child, path, depth) {
                        Ok(node) => element.children.push(node),
                        Err(message) => self.report.problem(&at.place(), message),
                    }
                },
                Node::Element(mut child) => {
                    let path = format!("{path}/{}", child.name);
                    self.walk(&mut child, &path, depth);
                    element.children.push(Node::Element(child));
                },
                text @ Node::Text { .. } => element.children.push(text),
            }
        }
    }

    fn include(&mut self, include: &Element, path: &str, depth: usize) -> Result<Node, String> {
        self.included += 1;
        if self.included > MAX_INCLUDES {
            return Err(format!("a template may include {MAX_INCLUDES} files at most"));
        }
        if depth == MAX_DEPTH {
            return Err(format!("files include each other deeper than {MAX_DEPTH}"));
        }
        for (name, _) in &include.attributes {
            if !["href", "parse", "encoding"].contains(&name.as_str()) {
                return Err(format!("the attribute {} is not supported", quoted(name)));
            }
        }
        let href = include.attribute("href").unwrap_or_default();
        let file = self.locate(href, include.file.as_deref())?;
        let text = self.read(&file, href)?;
        match include.attribute("parse") {
            Some("text") => Ok(Node::Text { text: text.replace("\r\n", "\n"), line: include.line }),
            None | Some("xml") => {
                let name: Arc<str> = self.shown(&file).into();
                let mut root = xml::parse(&text, Some(&name)).map_err(|error| {
                    format!(
                        "{} line {}, column {}: {}",
                        quoted(&name),
                        error.line,
                        error.column,
                        error.message
                    )
                })?;
                if is_include_element(&root) {
                    return self.include(&root, path, depth + 1);
                }
                let path = format!("{path}/{}", root.name);
                self.walk(&mut root, &path, depth + 1);
                Ok(Node::Element(root))
            },
            Some(other) => Err(format!("parse is `text` or `xml`, found {}", quoted(other))),
        }
    }

    /// The file that `href` names, seen from the file that it stands in.
    fn locate(&self, href: &str, from: Option<&str>) -> Result<PathBuf, String> {
        let Some(directory) = self.directory else {
            return Err("a template without a directory cannot include files".into());
        };
        let relative = Path::new(href);
        let inside = relative
            .components()
            .all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
        if href.is_empty() || href.contains(':') || !inside {
            let found = quoted(href);
            return Err(format!("only files below the template's directory, found {found}"));
        }
        let directory = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
        let beside = from.and_then(|from| Path::new(from).parent());
        let wanted = directory.join(beside.unwrap_or(Path::new(""))).join(relative);
        let unreadable =
            |error: std::io::Error| format!("cannot include {}: {}", quoted(href), reason(&error));
        let top = fs_err::canonicalize(directory).map_err(unreadable)?;
        let real = fs_err::canonicalize(wanted).map_err(unreadable)?;
        if !real.starts_with(&top) {
            return Err(format!("{} leads out of the template's directory", quoted(href)));
        }
        Ok(real)
    }

    fn read(&mut self, file: &Path, href: &str) -> Result<String, String> {
        let unreadable =
            |error: std::io::Error| format!("cannot include {}: {}", quoted(href), reason(&error));
        if !fs_err::metadata(file).map_err(unreadable)?.is_file() {
            return Err(format!("cannot include {}: not a file", quoted(href)));
        }
        let mut bytes = Vec::new();
        let left = super::MAX_BYTES.saturating_sub(self.bytes);
        fs_err::File::open(file)
            .map_err(unreadable)?
            .take(left + 1)
            .read_to_end(&mut bytes)
            .map_err(unreadable)?;
        self.bytes += bytes.len() as u64;
        if bytes.len() as u64 > left {
            let limit = super::MAX_BYTES >> 20;
            return Err(format!("the template and what it includes are larger than {limit} MiB"));
        }
        String::from_utf8(bytes).map_err(|_| format!("{} is not UTF-8", quoted(href)))
    }

    /// The path below the template's directory, for messages.
    fn shown(&self, file: &Path) -> String {
        self.directory
            .map(
                |directory| {
                    if directory.as_os_str().is_empty() { Path::new(".") } else { directory }
                },
            )
            .and_then(|directory| fs_err::canonicalize(directory).ok())
            .and_then(|top| file.strip_prefix(top).ok().map(Path::to_path_buf))
            .unwrap_or_else(|| file.to_path_buf())
            .display()
            .to_string()
    }
}

/// The cause without the path, which the message names already.
fn reason(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => "no such file".into(),
        std::io::ErrorKind::PermissionDenied => "permission denied".into(),
        _ => error.to_string(),
    }
}

fn is_include(node: &Node) -> bool {
    matches!(node, Node::Element(element) if is_include_element(element))
}

fn is_include_element(element: &Element) -> bool {
    element.name == "include" && element.namespace.as_deref() == Some(NAMESPACE)
}

//! A small XML tree with line numbers, read with limits.
//!
//! Entities are never declared, so nothing expands: a document type with an internal subset is
//! refused. Depth, elements and attributes are bounded; memory stays in proportion to the text.
//! What quick-xml leaves to its caller (legal characters, one root, blanks between attributes,
//! the place of the declaration) is checked here.

use std::sync::Arc;

use super::lines::Lines;
use super::report::said;
use quick_xml::events::{BytesDecl, BytesStart, Event};
use quick_xml::name::ResolveResult;
use quick_xml::{NsReader, XmlVersion};

/// Deepest nesting; TDL itself needs 5.
pub(super) const MAX_DEPTH: usize = 64;
/// Most elements in a document.
pub(super) const MAX_ELEMENTS: usize = 100_000;
/// Most attributes of one element; TDL itself needs 3.
const MAX_ATTRIBUTES: usize = 64;

/// A well-formedness error and where it is.
#[derive(Debug)]
pub(super) struct XmlError {
    pub(super) line: usize,
    pub(super) column: usize,
    pub(super) message: String,
}

/// An element.
#[derive(Debug, Default)]
pub(super) struct Element {
    /// Local name.
    pub(super) name: String,
    /// Namespace; TDL has none.
    pub(super) namespace: Option<String>,
    /// Attributes in the order of the document, without namespace declarations.
    pub(super) attributes: Vec<(String, String)>,
    pub(super) children: Vec<Node>,
    /// Line of its start tag.
    pub(super) line: usize,
    /// The included file that it stands in.
    pub(super) file: Option<Arc<str>>,
}

/// What an element contains.
#[derive(Debug)]
pub(super) enum Node {
    Element(Element),
    Text { text: String, line: usize },
}

impl Element {
    /// The value of the attribute `name`.
    pub(super) fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// All text directly inside, joined across comments and CDATA sections.
    pub(super) fn text(&self) -> String {
        self.children
            .iter()
            .filter_map(|node| match node {
                Node::Text { text, .. } => Some(text.as_str()),
                Node::Element(_) => None,
            })
            .collect()
    }

    fn push_text(&mut self, text: &str, line: usize) {
        if let Some(Node::Text { text: last, .. }) = self.children.last_mut() {
            last.push_str(text);
        } else {
            self.children.push(Node::Text { text: text.to_owned(), line });
        }
    }
}

/// Reads `text` into a tree.
pub(super) fn parse(text: &str, file: Option<&Arc<str>>) -> Result<Element, XmlError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let lines = Lines::new(text);
    if let Some((offset, illegal)) = text.char_indices().find(|(_, c)| !is_xml_char(*c)) {
        let message = format!("the character U+{:04X} is not allowed in XML", u32::from(illegal));
        return Err(lines.error(offset, message));
    }
    let mut reader = NsReader::from_str(text);
    reader.config_mut().check_comments = true;
    let mut builder = Builder { lines, file, open: Vec::new(), root: None, elements: 0 };
    loop {
        let start = offset(reader.buffer_position());
        let event = match reader.read_event() {
            Ok(event) => event,
            Err(error) => {
                let at = offset(reader.error_position()).max(start);
                return Err(builder.lines.error(at, error.to_string()));
            },
        };
        if matches!(event, Event::Eof) {
            return builder.finish(text.len());
        }
        builder.event(&event, start, &reader)?;
    }
}

/// Every text and attribute of a document with the names of what it stands in, the outermost first;
/// nothing when it is not XML.
pub(crate) fn texts(text: &str) -> Option<Vec<(Vec<String>, String)>> {
    let mut found = Vec::new();
    collect_texts(&parse(text, None).ok()?, &[], &mut found);
    Some(found)
}

fn collect_texts(element: &Element, around: &[String], found: &mut Vec<(Vec<String>, String)>) {
    let names = [around, std::slice::from_ref(&element.name)].concat();
    for (name, value) in &element.attributes {
        found.push(([&names[..], std::slice::from_ref(name)].concat(), value.clone()));
    }
    let text = element.text();
    if !text.trim_matches(BLANKS).is_empty() {
        found.push((names.clone(), text));
    }
    for child in &element.children {
        if let Node::Element(child) = child {
            collect_texts(child, &names, found);
        }
    }
}

/// A byte offset of the reader; documents are far smaller than the address space.
fn offset(position: u64) -> usize {
    usize::try_from(position).unwrap_or(usize::MAX)
}

struct Builder<'t> {
    lines: Lines<'t>,
    file: Option<&'t Arc<str>>,
    open: Vec<Element>,
    root: Option<Element>,
    elements: usize,
}

impl Builder<'_> {
    fn event(
        &mut self,
        event: &Event<'_>,
        start: usize,
        reader: &NsReader<&[u8]>,
    ) -> Result<(), XmlError> {
        match event {
            Event::Start(tag) => {
                let element = self.element(tag, start, reader)?;
                self.open.push(element);
            },
            Event::Empty(tag) => {
                let element = self.element(tag, start, reader)?;
                self.close(element);
            },
            Event::End(_) => {
                if let Some(element) = self.open.pop() {
                    self.close(element);
                }
            },
            Event::Text(text) => {
                if let Some(at) = text.find("]]>") {
                    return Err(self.lines.error(start + at, "`]]>` is not allowed in text"));
                }
                self.text(&text.xml10_content(), start)?;
            },
            Event::CData(text) => {
                if self.open.is_empty() {
                    return Err(self.outside(start));
                }
                self.text(&text.xml10_content(), start)?;
            },
            Event::GeneralRef(reference) => {
                let name: &str = reference.as_ref();
                let resolved = self.entity(name, start)?;
                if self.open.is_empty() {
                    return Err(self.outside(start));
                }
                self.text(&resolved, start)?;
            },
            Event::Decl(declaration) => self.declaration(declaration, start)?,
            Event::DocType(content) => {
                if self.root.is_some() || !self.open.is_empty() {
                    return Err(self.lines.error(start, "DOCTYPE is allowed only before the root"));
                }
                if content.contains('[') {
                    let message = "a DOCTYPE with declarations of its own is not supported \
                                   (entities are never expanded)";
                    return Err(self.lines.error(start, message));
                }
            },
            Event::PI(instruction) => {
                if instruction.target().eq_ignore_ascii_case("xml") {
                    let message = "the XML declaration is allowed only at the very start";
                    return Err(self.lines.error(start, message));
                }
            },
            Event::Comment(_) | Event::Eof => {},
        }
        Ok(())
    }

    fn declaration(&self, declaration: &BytesDecl<'_>, start: usize) -> Result<(), XmlError> {
        if start != 0 {
            let message = "the XML declaration is allowed only at the very start";
            return Err(self.lines.error(start, message));
        }
        let fail = |message: String| self.lines.error(start, message);
        let known = ["version", "encoding", "standalone"];
        let tag = BytesStart::from_content(&**declaration, "xml".len());
        let well_formed = !blank_is_missing(tag.attributes_raw())
            && tag.attributes().all(|attribute| {
                attribute.is_ok_and(|attribute| known.contains(&attribute.key.into_inner()))
            });
        if !well_formed {
            return Err(fail("the XML declaration is not well-formed".into()));
        }
        let version = declaration.version().map_err(|error| fail(error.to_string()))?;
        if !version.starts_with("1.") {
            return Err(fail(format!("XML version `{version}` is not supported")));
        }
        if let Some(encoding) = declaration.encoding() {
            let encoding = encoding.map_err(|error| fail(error.to_string()))?;
            let known = ["utf-8", "utf8", "us-ascii", "ascii"];
            if !known.iter().any(|name| encoding.eq_ignore_ascii_case(name)) {
                let message = format!("the encoding `{encoding}` is not supported, UTF-8 is");
                return Err(fail(message));
            }
        }
        Ok(())
    }

    fn element(
        &mut self,
        tag: &BytesStart<'_>,
        start: usize,
        reader: &NsReader<&[u8]>,
    ) -> Result<Element, XmlError> {
        if self.open.is_empty() && self.root.is_some() {
            return Err(self
                .lines
                .error(start, "a document has one root element, this is a second"));
        }
        if self.open.len() >= MAX_DEPTH {
            let message = format!("elements are nested deeper than {MAX_DEPTH}");
            return Err(self.lines.error(start, message));
        }
        self.elements += 1;
        if self.elements > MAX_ELEMENTS {
            let message = format!("the document has more than {MAX_ELEMENTS} elements");
            return Err(self.lines.error(start, message));
        }
        let (namespace, name) = reader.resolver().resolve_element(tag.name());
        let namespace = match namespace {
            ResolveResult::Unbound => None,
            ResolveResult::Bound(namespace) => Some(namespace.0.to_owned()),
            ResolveResult::Unknown(prefix) => {
                let message = format!("the namespace prefix `{prefix}` is not declared");
                return Err(self.lines.error(start, message));
            },
        };
        let name = name.into_inner();
        if !is_name(name) {
            let message = format!("`{}` is not a name of an element", name.escape_debug());
            return Err(self.lines.error(start, message));
        }
        Ok(Element {
            name: name.to_owned(),
            namespace: namespace.filter(|name| !name.is_empty()),
            attributes: self.attributes(tag, start)?,
            children: Vec::new(),
            line: self.lines.line(start),
            file: self.file.cloned(),
        })
    }

    fn attributes(
        &self,
        tag: &BytesStart<'_>,
        start: usize,
    ) -> Result<Vec<(String, String)>, XmlError> {
        let fail = |message: String| self.lines.error(start, message);
        if blank_is_missing(tag.attributes_raw()) {
            return Err(fail("attributes must be separated by blanks".into()));
        }
        let mut attributes = Vec::new();
        for (count, attribute) in tag.attributes().enumerate() {
            if count == MAX_ATTRIBUTES {
                return Err(fail(format!("an element has more than {MAX_ATTRIBUTES} attributes")));
            }
            let attribute = attribute.map_err(|error| fail(error.to_string()))?;
            let name = attribute.key.into_inner();
            if attribute.value.contains('<') {
                return Err(fail(format!("`<` is not allowed in the value of `{name}`")));
            }
            if name == "xmlns" || name.starts_with("xmlns:") {
                continue;
            }
            if !is_name(attribute.key.local_name().into_inner()) {
                return Err(fail(format!(
                    "`{}` is not a name of an attribute",
                    name.escape_debug()
                )));
            }
            let value = attribute
                .normalized_value(XmlVersion::Implicit1_0)
                .map_err(|error| fail(error.to_string()))?;
            if let Some(illegal) = value.chars().find(|c| !is_xml_char(*c)) {
                return Err(fail(format!("U+{:04X} is not allowed in XML", u32::from(illegal))));
            }
            attributes.push((name.to_owned(), value.into_owned()));
        }
        Ok(attributes)
    }

    /// The text of `&name;`.
    fn entity(&self, name: &str, start: usize) -> Result<String, XmlError> {
        if let Some(number) = name.strip_prefix('#') {
            let (digits, radix) = match number.strip_prefix('x') {
                Some(digits) => (digits, 16),
                None => (number, 10),
            };
            let unsigned = digits.chars().all(|digit| digit.is_digit(radix));
            return u32::from_str_radix(digits, radix)
                .ok()
                .filter(|_| unsigned)
                .and_then(char::from_u32)
                .filter(|c| is_xml_char(*c))
                .map(String::from)
                .ok_or_else(|| {
                    let message = format!("`&{name};` is not a character of XML");
                    self.lines.error(start, message)
                });
        }
        quick_xml::escape::resolve_predefined_entity(name).map(ToOwned::to_owned).ok_or_else(|| {
            let name = name.escape_debug();
            self.lines.error(start, format!("the entity `&{name};` is not defined"))
        })
    }

    fn text(&mut self, text: &str, start: usize) -> Result<(), XmlError> {
        match self.open.last_mut() {
            Some(element) => element.push_text(text, self.lines.line(start)),
            None if text.trim_matches(BLANKS).is_empty() => {},
            None => {
                let blanks = text.len() - text.trim_start_matches(BLANKS).len();
                return Err(self.outside(start + blanks));
            },
        }
        Ok(())
    }

    fn outside(&self, start: usize) -> XmlError {
        self.lines.error(start, "text outside of the root element")
    }

    fn close(&mut self, element: Element) {
        match self.open.last_mut() {
            Some(parent) => parent.children.push(Node::Element(element)),
            None => self.root = Some(element),
        }
    }

    fn finish(mut self, end: usize) -> Result<Element, XmlError> {
        if let Some(open) = self.open.pop() {
            let message = format!(
                "the document ends before `</{}>` (opened in line {})",
                open.name, open.line
            );
            return Err(self.lines.error(end, message));
        }
        self.root.ok_or_else(|| self.lines.error(end, "the document has no element"))
    }
}

/// White space as XML means it.
pub(super) const BLANKS: [char; 4] = [' ', '\t', '\r', '\n'];

/// `Char` of XML 1.0 (fifth edition), section 2.2.
pub(super) fn is_xml_char(c: char) -> bool {
    !matches!(c, '\0'..='\u{8}' | '\u{b}' | '\u{c}' | '\u{e}'..='\u{1f}' | '\u{fffe}' | '\u{ffff}')
}

/// Roughly `NCName`: what may not stand in a name is what would make messages unreadable.
fn is_name(name: &str) -> bool {
    let mut chars = name.chars();
    chars.next().is_some_and(|c| c.is_alphabetic() || c == '_')
        && chars.all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '\u{b7}'))
}

/// Whether a quoted value is followed by something other than a blank or the end.
fn blank_is_missing(attributes: &str) -> bool {
    let mut quote = None;
    let mut closed = false;
    for c in attributes.chars() {
        match quote {
            Some(open) if c == open => {
                quote = None;
                closed = true;
            },
            Some(_) => {},
            None => {
                if closed && !BLANKS.contains(&c) {
                    return true;
                }
                closed = false;
                if c == '"' || c == '\'' {
                    quote = Some(c);
                }
            },
        }
    }
    false
}

impl Lines<'_> {
    fn error(&self, offset: usize, message: impl Into<String>) -> XmlError {
        XmlError {
            line: self.line(offset),
            column: self.column(offset),
            message: said(&message.into()),
        }
    }
}

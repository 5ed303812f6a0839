//! Content models: which elements and attributes an element may have.
//!
//! TDL's schema interleaves nearly everything, so a model is a list of names with how often each
//! may occur. Whatever is wrong is reported and skipped; reading goes on to find the rest.

use std::collections::HashMap;

use super::report::{Place, Report, did_you_mean, one_of, quoted};
use super::xml::{BLANKS, Element, Node};

/// How often a child may occur.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Occurs {
    Once,
    AtMostOnce,
    Often,
}

/// An element and its path.
#[derive(Clone, Debug)]
pub(super) struct At<'e> {
    pub(super) element: &'e Element,
    pub(super) path: String,
}

impl<'e> At<'e> {
    pub(super) fn place(&self) -> Place {
        self.place_of(self.element.line, self.path.clone())
    }

    /// The place of the attribute `name`: the line of the element, its path with `@name`.
    pub(super) fn attribute_place(&self, name: &str) -> Place {
        self.place_of(self.element.line, format!("{}/@{name}", self.path))
    }

    fn place_of(&self, line: usize, path: String) -> Place {
        Place { file: self.element.file.clone(), line: Some(line), path }
    }

    /// Checks the attributes against `model`: names, and whether each is required.
    pub(super) fn attributes(&self, model: &[(&str, bool)], report: &mut Report) {
        let names: Vec<&str> = model.iter().map(|(name, _)| *name).collect();
        for (name, _) in &self.element.attributes {
            if !names.contains(&name.as_str()) {
                let expected = match names.as_slice() {
                    [] => "the element has none".to_owned(),
                    names => format!("expected {}", one_of(names)),
                };
                report.problem_with(
                    &self.place(),
                    format!("unknown attribute {}, {expected}", quoted(name)),
                    did_you_mean(name, &names),
                );
            }
        }
        for (name, required) in model {
            if *required && self.element.attribute(name).is_none() {
                report.problem(&self.place(), format!("the attribute `{name}` is missing"));
            }
        }
    }

    /// Checks the children against `model` and returns those that fit.
    pub(super) fn children(
        &self,
        model: &[(&'static str, Occurs)],
        report: &mut Report,
    ) -> Content<'e> {
        let names: Vec<&str> = model.iter().map(|(name, _)| *name).collect();
        let mut found: Vec<(&'static str, At<'e>)> = Vec::new();
        // A list may have many items, of which none is to be compared with all others.
        let mut counts: HashMap<&str, usize> = HashMap::new();
        for node in &self.element.children {
            let child = match node {
                Node::Element(child) => child,
                Node::Text { text, line } => {
                    self.no_text(text, *line, report);
                    continue;
                },
            };
            let known =
                model.iter().find(|(name, _)| *name == child.name && child.namespace.is_none());
            let Some((name, occurs)) = known else {
                self.unknown(child, &names, report);
                continue;
            };
            let count = counts.entry(name).or_default();
            *count += 1;
            let path = match occurs {
                Occurs::Often => format!("{}/{name}[{count}]", self.path),
                Occurs::Once | Occurs::AtMostOnce => format!("{}/{name}", self.path),
            };
            let child = At { element: child, path };
            let once = *occurs != Occurs::Often;
            let first = once.then(|| found.iter().find(|(other, _)| other == name)).flatten();
            match first {
                Some((_, first)) => {
                    let line = first.element.line;
                    let message = format!("the element is given twice, first in line {line}");
                    report.problem(&child.place(), message);
                },
                _ => found.push((name, child)),
            }
        }
        for (name, occurs) in model {
            if *occurs == Occurs::Once && !found.iter().any(|(other, _)| other == name) {
                report.problem(&self.place(), format!("the element `{name}` is missing"));
            }
        }
        Content { found }
    }

    /// The text inside; child elements are reported.
    pub(super) fn text(&self, report: &mut Report) -> String {
        for node in &self.element.children {
            if let Node::Element(child) = node {
                self.unknown(child, &[], report);
            }
        }
        self.element.text()
    }

    fn no_text(&self, text: &str, line: usize, report: &mut Report) {
        let blanks = text.len() - text.trim_start_matches(BLANKS).len();
        let rest = text.trim_matches(BLANKS);
        if !rest.is_empty() {
            let line = line + text[..blanks].matches('\n').count();
            let place = self.place_of(line, self.path.clone());
            report.problem(&place, format!("text is not allowed here: {}", quoted(rest)));
        }
    }

    fn unknown(&self, child: &Element, names: &[&str], report: &mut Report) {
        let at = At { element: child, path: format!("{}/{}", self.path, child.name) };
        let message = match (&child.namespace, names) {
            (Some(namespace), _) => {
                format!("the element belongs to the namespace {}, TDL has none", quoted(namespace))
            },
            (None, []) => "an element is not allowed here, only text".to_owned(),
            (None, names) => format!("unknown element, expected {}", one_of(names)),
        };
        report.problem_with(&at.place(), message, did_you_mean(&child.name, names));
    }
}

/// The children of an element that fit its model.
#[derive(Debug)]
pub(super) struct Content<'e> {
    found: Vec<(&'static str, At<'e>)>,
}

impl<'e> Content<'e> {
    /// The child `name`.
    pub(super) fn get(&self, name: &str) -> Option<&At<'e>> {
        self.iter().find(|at| at.element.name == name)
    }

    /// All children in the order of the document.
    pub(super) fn iter(&self) -> impl Iterator<Item = &At<'e>> {
        self.found.iter().map(|(_, at)| at)
    }
}

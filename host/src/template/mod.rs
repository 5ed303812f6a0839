//! The template: what image is wanted, read from TDL 1.0 (XML) or from TOML.
//!
//! Both syntaxes become the one model of [`plugin_api::template`] and obey the same rules. Reading
//! a document finds everything that is wrong with it, each with its path and line. [`canonical_json`]
//! is the form that keys of reuse are made of; [`to_tdl`] writes a template for people and other
//! tools. `docs/templates.md` is the reference of both syntaxes.

mod canonical;
mod content;
mod error;
mod include;
mod lines;
mod merge;
mod report;
mod rules;
mod size;
mod target_content;
mod tdl;
mod toml_document;
mod write;
mod xml;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::io::Read;
use std::path::Path;

use plugin_api::Content;
use plugin_api::template::Template;

use lines::Lines;
use report::{Report, said};
use xml::BLANKS;

pub use canonical::canonical_json;
pub use error::{Origin, Problem, TemplateError};
pub use merge::{merge_packages, merge_repositories};
pub use rules::ARCHITECTURES;
pub use size::{DiskSize, parse_disk_size};
pub use target_content::{Entry, TargetContent, TargetContentError};
pub use write::to_tdl;
pub(crate) use xml::texts as xml_texts;

/// Largest template with everything that it includes, in bytes.
pub const MAX_BYTES: u64 = 16 << 20;

/// The syntax of a template.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Format {
    /// TDL 1.0, an XML vocabulary.
    Tdl,
    /// The same model in TOML.
    Toml,
}

impl Format {
    /// The syntax of `text`: XML starts with `<`. A name with the extension `tdl`, `xml` or
    /// `toml` decides where the text does not.
    pub fn detect(text: &str, name: &str) -> Self {
        let extension = Path::new(name)
            .extension()
            .and_then(|extension| extension.to_str())
            .map(str::to_ascii_lowercase);
        match text.trim_start_matches('\u{feff}').trim_start().chars().next() {
            Some('<') => Self::Tdl,
            Some('#' | '[' | '"' | '\'') => Self::Toml,
            _ if matches!(extension.as_deref(), Some("tdl" | "xml")) => Self::Tdl,
            _ => Self::Toml,
        }
    }
}

/// A template and the text that it was read from.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LoadedTemplate {
    /// The model.
    pub template: Template,
    /// The text, without what it includes.
    pub source: String,
    /// Its syntax.
    pub format: Format,
    /// What is allowed and probably not meant.
    pub warnings: Vec<Problem>,
}

/// Reads the template at `path`. It may include files below its own directory.
///
/// # Errors
/// [`TemplateError`]: the file cannot be read, or is not a template.
pub fn load(path: impl AsRef<Path>) -> Result<LoadedTemplate, TemplateError> {
    let path = path.as_ref();
    let origin = Origin {
        name: path.display().to_string(),
        directory: Some(path.parent().map(Path::to_path_buf).unwrap_or_default()),
    };
    let unreadable = |source| TemplateError::Read { name: origin.name.clone(), source };
    if fs_err::metadata(path).map_err(unreadable)?.is_dir() {
        return Err(unreadable(std::io::ErrorKind::IsADirectory.into()));
    }
    let file = fs_err::File::open(path).map_err(unreadable)?;
    read(file, &origin)
}

/// Reads a template from `reader`, for example standard input.
///
/// # Errors
/// [`TemplateError`]: reading fails, or the text is not a template.
pub fn read(reader: impl Read, origin: &Origin) -> Result<LoadedTemplate, TemplateError> {
    let mut bytes = Vec::new();
    reader
        .take(MAX_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(|source| TemplateError::Read { name: origin.name.clone(), source })?;
    if bytes.len() as u64 > MAX_BYTES {
        let name = origin.name.clone();
        return Err(TemplateError::TooLarge { name });
    }
    parse(&decode(bytes, &origin.name)?, origin)
}

/// Parses `text` in the syntax that it is in.
///
/// # Errors
/// [`TemplateError`]: it is not a template.
pub fn parse(text: &str, origin: &Origin) -> Result<LoadedTemplate, TemplateError> {
    match Format::detect(text, &origin.name) {
        Format::Tdl => parse_tdl(text, origin),
        Format::Toml => parse_toml(text, origin),
    }
}

/// Parses `text` as TDL 1.0.
///
/// # Errors
/// [`TemplateError`]: the text is not well-formed, or not a template.
pub fn parse_tdl(text: &str, origin: &Origin) -> Result<LoadedTemplate, TemplateError> {
    check_text(text, origin)?;
    let mut root = xml::parse(text, None).map_err(|error| TemplateError::Syntax {
        name: origin.name.clone(),
        line: error.line,
        column: error.column,
        message: error.message,
        hint: None,
    })?;
    let mut report = Report::default();
    include::resolve(&mut root, origin, text.len() as u64, &mut report);
    let template = tdl::read(&root, &mut report);
    finish(template, report, text, Format::Tdl, origin)
}

/// Parses `text` as TOML.
///
/// # Errors
/// [`TemplateError`]: the text is not TOML, or not a template.
pub fn parse_toml(text: &str, origin: &Origin) -> Result<LoadedTemplate, TemplateError> {
    check_text(text, origin)?;
    let mut report = Report::default();
    let template = toml_document::read(text, &mut report).map_err(|error| {
        let lines = Lines::new(text);
        let start = error.span().map_or(0, |span| span.start);
        TemplateError::Syntax {
            name: origin.name.clone(),
            line: lines.line(start),
            column: lines.column(start),
            message: said(error.message()),
            hint: None,
        }
    })?;
    finish(template, report, text, Format::Toml, origin)
}

/// Checks a template that was not read from a document against the rules that hold for all.
///
/// # Errors
/// [`TemplateError::Invalid`] with every problem; paths are those of the model.
pub fn validate(template: &Template, name: &str) -> Result<(), TemplateError> {
    let mut report = Report::default();
    rules::check(template, &mut report);
    if report.problems.is_empty() {
        return Ok(());
    }
    Err(TemplateError::Invalid { name: name.to_owned(), problems: report.problems })
}

/// Checks content that was not read from a document against the rules of templates.
///
/// # Errors
/// Every problem; paths are those of the model.
pub fn validate_content(content: &Content) -> Result<(), Vec<Problem>> {
    let mut report = Report::default();
    let mut template = Template::default();
    template.packages.clone_from(&content.packages);
    template.repositories.clone_from(&content.repositories);
    template.files.clone_from(&content.files);
    template.commands.clone_from(&content.commands);
    rules::check_lists(&template, &mut report);
    if report.problems.is_empty() { Ok(()) } else { Err(report.problems) }
}

fn check_text(text: &str, origin: &Origin) -> Result<(), TemplateError> {
    let name = || origin.name.clone();
    if text.len() as u64 > MAX_BYTES {
        return Err(TemplateError::TooLarge { name: name() });
    }
    if text.trim_start_matches('\u{feff}').trim_matches(BLANKS).is_empty() {
        return Err(TemplateError::Empty { name: name() });
    }
    Ok(())
}

fn decode(bytes: Vec<u8>, name: &str) -> Result<String, TemplateError> {
    let fail = |line: usize, message: &str| TemplateError::Encoding {
        name: name.to_owned(),
        line,
        message: message.to_owned(),
    };
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return Err(fail(1, "the text is UTF-16, not UTF-8"));
    }
    String::from_utf8(bytes).map_err(|error| {
        let good = error.utf8_error().valid_up_to();
        let before = error.as_bytes().iter().take(good);
        let line = before.filter(|byte| **byte == b'\n').count() + 1;
        fail(line, "the text is not UTF-8")
    })
}

/// Applies the rules, then what Oz does with names that occur twice.
fn finish(
    mut template: Template,
    mut report: Report,
    text: &str,
    format: Format,
    origin: &Origin,
) -> Result<LoadedTemplate, TemplateError> {
    rules::check(&template, &mut report);
    if !report.problems.is_empty() {
        report.problems.sort();
        report.problems.dedup();
        return Err(TemplateError::Invalid {
            name: origin.name.clone(),
            problems: report.problems,
        });
    }
    let packages = template.packages.iter().map(|package| package.name.as_str());
    for (_, later) in repeated(packages) {
        let place = report.place(&format!("packages.{later}"));
        report.warning(&place, "the package is listed twice");
    }
    let files = std::mem::take(&mut template.files);
    template.files = last_of_each(files, |file| &file.name, "files", "file", &mut report);
    let repositories = std::mem::take(&mut template.repositories);
    template.repositories =
        last_of_each(repositories, |item| &item.name, "repositories", "repository", &mut report);
    report.warnings.sort();
    Ok(LoadedTemplate { template, source: text.to_owned(), format, warnings: report.warnings })
}

/// Pairs of positions of names that were seen before: the first and the repetition.
fn repeated<'n>(names: impl Iterator<Item = &'n str>) -> Vec<(usize, usize)> {
    let mut first: HashMap<&str, usize> = HashMap::new();
    let mut pairs = Vec::new();
    for (index, name) in names.enumerate() {
        let before = *first.entry(name).or_insert(index);
        if before != index {
            pairs.push((before, index));
        }
    }
    pairs
}

/// Keeps the last item of each name, in the place of the first.
fn last_of_each<T>(
    items: Vec<T>,
    name: impl Fn(&T) -> &str,
    list: &str,
    what: &str,
    report: &mut Report,
) -> Vec<T> {
    let pairs = repeated(items.iter().map(&name));
    let mut kept: Vec<Option<T>> = items.into_iter().map(Some).collect();
    for (first, later) in pairs {
        let place = report.place(&format!("{list}.{later}"));
        report.warning(&place, format!("replaces the {what} of the same name above"));
        kept.swap(first, later);
        if let Some(slot) = kept.get_mut(later) {
            *slot = None;
        }
    }
    kept.into_iter().flatten().collect()
}

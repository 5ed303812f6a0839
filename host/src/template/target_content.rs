//! What images get besides their template, for each cloud and system, as an operator wants it.
//!
//! Upstream's `target_content.xml`, or the same in TOML. Of all entries that fit an image the most
//! specific one counts, and nothing of the others: with target, system, version and architecture;
//! then without the last of them, and so on, down to an entry for every image.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::io::Read as _;

use camino::{Utf8Path, Utf8PathBuf};
use plugin_api::Content;
use plugin_api::info::printable;
use plugin_api::template::{Os, Template};

use super::error::{Problem, list};
use super::lines::Lines;
use super::report::{Place, Report, quoted, said};
use super::rules::{ARCHITECTURES, architecture_hint};
use super::{Format, MAX_BYTES, tdl, toml_document, xml};

/// What an entry may name, each only together with those before it.
pub(super) const CHOICE: [&str; 4] = ["target", "os", "version", "arch"];

/// The values of [`CHOICE`] as a document gives them, with their places.
pub(super) type RawChoice = [Option<(String, Place)>; CHOICE.len()];

/// What a file says of all targets and systems.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetContent {
    path: Utf8PathBuf,
    entries: Vec<Entry>,
}

/// What a file says of one target and system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Values of target, operating system, version and architecture, as many as are named.
    choice: Vec<String>,
    line: usize,
    content: Content,
}

/// Why a file of target content cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TargetContentError {
    /// It cannot be read.
    #[error("cannot read the target content `{path}`")]
    Read {
        /// The file.
        path: Utf8PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It is larger than [`MAX_BYTES`].
    #[error("the target content `{path}` is larger than {} MiB", MAX_BYTES >> 20)]
    TooLarge {
        /// The file.
        path: Utf8PathBuf,
    },
    /// It is neither XML nor TOML.
    #[error("`{path}`: line {line}, column {column}: {message}")]
    Syntax {
        /// The file.
        path: Utf8PathBuf,
        /// Line, counted from 1.
        line: usize,
        /// Column in characters, counted from 1.
        column: usize,
        /// What is so.
        message: String,
    },
    /// It says what it may not say.
    #[error("{}", list(path.as_str(), problems))]
    Invalid {
        /// The file.
        path: Utf8PathBuf,
        /// Everything that was found, by line.
        problems: Vec<Problem>,
    },
}

impl TargetContentError {
    /// What to do about it, one sentence each.
    pub fn hints(&self) -> Vec<String> {
        let known = "docs/settings.md describes the file in both syntaxes";
        match self {
            Self::Read { .. } => {
                vec!["mend `target_content` of the settings, or leave it out".to_owned()]
            },
            Self::Invalid { problems, .. } => {
                let mut hints: Vec<String> =
                    problems.iter().filter_map(|problem| problem.hint.clone()).collect();
                hints.push(known.to_owned());
                hints.dedup();
                hints
            },
            Self::TooLarge { .. } | Self::Syntax { .. } => vec![known.to_owned()],
        }
    }
}

impl TargetContent {
    /// Reads the file `path`, XML or TOML.
    ///
    /// # Errors
    /// [`TargetContentError`].
    pub fn read(path: &Utf8Path) -> Result<Self, TargetContentError> {
        let unreadable = |source| TargetContentError::Read { path: path.to_owned(), source };
        let mut bytes = Vec::new();
        let file = fs_err::File::open(path).map_err(unreadable)?;
        file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(unreadable)?;
        if bytes.len() as u64 > MAX_BYTES {
            return Err(TargetContentError::TooLarge { path: path.to_owned() });
        }
        let not_text = |_| unreadable(std::io::ErrorKind::InvalidData.into());
        Self::parse(&String::from_utf8(bytes).map_err(not_text)?, path)
    }

    /// Parses `text`, which came from `path`.
    ///
    /// # Errors
    /// [`TargetContentError`], without `Read` and `TooLarge`.
    pub fn parse(text: &str, path: &Utf8Path) -> Result<Self, TargetContentError> {
        let syntax = |line, column, message: &str| TargetContentError::Syntax {
            path: path.to_owned(),
            line,
            column,
            message: said(message),
        };
        let mut report = Report::default();
        let entries = match Format::detect(text, path.as_str()) {
            Format::Tdl => {
                let root = xml::parse(text, None)
                    .map_err(|error| syntax(error.line, error.column, &error.message))?;
                tdl::read_entries(&root, &mut report)
            },
            Format::Toml => toml_document::read_entries(text, &mut report).map_err(|error| {
                let lines = Lines::new(text);
                let start = error.span().map_or(0, |span| span.start);
                syntax(lines.line(start), lines.column(start), error.message())
            })?,
        };
        refuse_repeated(&entries, &mut report);
        if report.problems.is_empty() {
            return Ok(Self { path: path.to_owned(), entries });
        }
        report.problems.sort();
        Err(TargetContentError::Invalid { path: path.to_owned(), problems: report.problems })
    }

    /// The file that it was read from.
    pub fn path(&self) -> &Utf8Path {
        &self.path
    }

    /// The targets that it names, each with the line of its first entry.
    pub fn targets(&self) -> Vec<(&str, usize)> {
        let mut seen = HashSet::new();
        let named =
            self.entries.iter().filter_map(|entry| Some((&**entry.choice.first()?, entry.line)));
        named.filter(|(target, _)| seen.insert(*target)).collect()
    }

    /// The entry for images of `os` for `target`: the most specific one that fits.
    pub fn find(&self, target: &str, os: &Os) -> Option<&Entry> {
        let image = [target, &os.name, &os.version, &os.arch];
        (0..=image.len()).rev().find_map(|named| {
            self.entries.iter().find(|entry| entry.choice.iter().eq(&image[..named]))
        })
    }
}

impl Entry {
    /// An entry with the lists of `template`; what is wrong with `choice` goes to `report`.
    pub(super) fn new(
        choice: RawChoice,
        place: &Place,
        template: Template,
        report: &mut Report,
    ) -> Self {
        let mut named = Vec::new();
        let mut missing = None;
        for (name, value) in CHOICE.into_iter().zip(choice) {
            match (value, missing) {
                (None, None) => missing = Some(name),
                (None, Some(_)) => {},
                (Some((_, place)), Some(missing)) => {
                    let message = format!("`{name}` without `{missing}` would never be used");
                    let hint = format!("an entry names {}, from left to right", CHOICE.join(", "));
                    report.problem_with(&place, message, Some(hint));
                },
                (Some((value, place)), None) => {
                    if value.is_empty() || value.contains(char::is_control) {
                        report.problem(&place, "must be one line that is not empty");
                    } else if name == "arch" && !ARCHITECTURES.contains(&value.as_str()) {
                        let message =
                            format!("no template has the architecture {}", quoted(&value));
                        report.problem_with(&place, message, architecture_hint(&value));
                    }
                    named.push(value);
                },
            }
        }
        let mut content = Content::default();
        content.packages = template.packages;
        content.repositories = template.repositories;
        content.files = template.files;
        content.commands = template.commands;
        Self { choice: named, line: place.line.unwrap_or(1), content }
    }

    /// The line of the file where it begins, counted from 1.
    pub fn line(&self) -> usize {
        self.line
    }

    /// What the image gets.
    pub fn content(&self) -> &Content {
        &self.content
    }
}

/// What it is for: `target mock, os Debian, version 12`.
impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.choice.is_empty() {
            return f.write_str("every target");
        }
        let named = CHOICE.iter().zip(&self.choice);
        let named: Vec<String> =
            named.map(|(name, value)| format!("{name} {}", printable(value))).collect();
        f.write_str(&named.join(", "))
    }
}

/// Of two entries for the same images, the second would never be used.
fn refuse_repeated(entries: &[Entry], report: &mut Report) {
    let mut lines = HashMap::new();
    for entry in entries {
        let first = *lines.entry(&entry.choice).or_insert(entry.line);
        if first != entry.line {
            let place = Place { line: Some(entry.line), ..Place::default() };
            report
                .problem(&place, format!("an entry for {entry} is there already, in line {first}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<TargetContent, TargetContentError> {
        TargetContent::parse(text, Utf8Path::new("content"))
    }

    fn refusal(text: &str) -> String {
        parse(text).unwrap_err().to_string()
    }

    fn os(name: &str, version: &str, arch: &str) -> Os {
        let mut os = Os::default();
        (os.name, os.version, os.arch) = (name.into(), version.into(), arch.into());
        os
    }

    const LEVELS: &str = "<template_includes>
        <include><packages><package name='every'/></packages></include>
        <include target='a'><packages><package name='target'/></packages></include>
        <include target='a' os='D'><packages><package name='os'/></packages></include>
        <include target='a' os='D' version='12'><packages><package name='version'/></packages></include>
        <include target='a' os='D' version='12' arch='x86_64'><packages><package name='arch'/></packages></include>
        </template_includes>";

    #[test]
    fn the_most_specific_entry_counts_and_nothing_of_the_others() {
        let content = parse(LEVELS).unwrap();
        let found = |target, os: Os| {
            let packages = &content.find(target, &os).unwrap().content().packages;
            packages.iter().map(|package| package.name.clone()).collect::<Vec<_>>()
        };
        assert_eq!(found("a", os("D", "12", "x86_64")), ["arch"]);
        assert_eq!(found("a", os("D", "12", "aarch64")), ["version"]);
        assert_eq!(found("a", os("D", "11", "x86_64")), ["os"]);
        assert_eq!(found("a", os("E", "12", "x86_64")), ["target"]);
        assert_eq!(found("b", os("D", "12", "x86_64")), ["every"]);
        let only = parse("[[include]]\ntarget = 'a'").unwrap();
        assert_eq!(only.find("b", &os("D", "12", "x86_64")), None);
    }

    #[test]
    fn both_syntaxes_say_the_same() {
        let xml = parse(
            "<template_includes><include target='a' os='D' version='12'>
            <packages><package name='agent'><repository>extra</repository></package></packages>
            <repositories><repository name='extra'><url>http://extra.example/</url></repository></repositories>
            <files><file name='/etc/a'>text</file></files>
            <commands><command name='c'>true</command></commands>
            </include></template_includes>",
        );
        let toml = parse(
            "[[include]]\ntarget = 'a'\nos = 'D'\nversion = 12\n
            packages = [{ name = 'agent', repository = 'extra' }]
            repositories = [{ name = 'extra', url = 'http://extra.example/' }]
            files = [{ name = '/etc/a', content = 'text' }]
            commands = [{ name = 'c', script = 'true' }]",
        );
        let (xml, toml) = (xml.unwrap(), toml.unwrap());
        assert_eq!(xml.entries[0].content, toml.entries[0].content);
        assert_eq!(xml.entries[0].choice, toml.entries[0].choice);
        assert_eq!(xml.entries[0].to_string(), "target a, os D, version 12");
    }

    #[test]
    fn what_is_unknown_is_refused_with_its_line_and_the_nearest_name() {
        let error = parse("<template_includes>\n<include tarjet='a'/>\n</template_includes>");
        let error = error.unwrap_err();
        assert!(error.to_string().contains("line 2: template_includes/include[1]: "), "{error}");
        assert_eq!(error.hints()[0], "did you mean `target`?");
        let error = parse("[[include]]\ntarget = 'a'\npakages = []").unwrap_err();
        assert!(error.to_string().contains("line 3: include[1].pakages: "), "{error}");
        assert_eq!(error.hints()[0], "did you mean `packages`?");
        assert!(refusal("<template/>").contains("`template_includes`"));
        assert!(refusal("[[include]\n").contains("line 1, column"));
    }

    #[test]
    fn an_entry_that_would_never_be_used_is_refused() {
        let skipped = refusal("[[include]]\ntarget = 'a'\nversion = '12'");
        assert!(skipped.contains("include[1].version: `version` without `os`"), "{skipped}");
        let twice = refusal("[[include]]\ntarget = 'a'\n[[include]]\ntarget = 'a'");
        assert!(
            twice.contains("line 3: an entry for target a is there already, in line 1"),
            "{twice}"
        );
        let arch =
            parse("[[include]]\ntarget='a'\nos='D'\nversion='12'\narch='amd64'").unwrap_err();
        assert!(arch.hints()[0].contains("x86_64"), "{arch}");
    }

    #[test]
    fn each_entry_has_the_places_of_its_own() {
        let text = "[[include]]\ntarget = 'a'\nfiles = [{ name = '/a', content = '' }]\n\n\
                    [[include]]\ntarget = 'b'\nfiles = [{ name = 'b', content = '' }]\n";
        assert!(refusal(text).contains("line 7: include[2].files[1].name: "), "{}", refusal(text));
    }
}

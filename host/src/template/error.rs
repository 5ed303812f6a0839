//! What can be wrong with a template.
//!
//! A document that cannot be parsed has one error with line and column. A document that parses
//! but is not a template has a list of [`Problem`]s, all that were found, each with its place.

use std::fmt;
use std::path::PathBuf;

/// One thing that is wrong with a template, and where.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub struct Problem {
    /// The included file, when it is not the template itself.
    pub file: Option<String>,
    /// Line in the file, counted from 1; `None` for a template that was not read from text.
    pub line: Option<usize>,
    /// Where in the document: `template/os/arch` in TDL, `os.arch` in TOML. Repeated elements are
    /// counted from 1: `template/files/file[2]`, `files[2]`.
    pub path: String,
    /// What is so.
    pub message: String,
    /// What to do about it, where that is known.
    pub hint: Option<String>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(file) = &self.file {
            write!(f, "`{file}` ")?;
        }
        if let Some(line) = self.line {
            write!(f, "line {line}: ")?;
        }
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.message)
    }
}

/// A template that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TemplateError {
    /// The file cannot be read.
    #[error("cannot read the template `{name}`")]
    Read {
        /// The template, as the user named it.
        name: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The document is larger than [`super::MAX_BYTES`].
    #[error("`{name}` is larger than {} MiB", super::MAX_BYTES >> 20)]
    TooLarge {
        /// The template, as the user named it.
        name: String,
    },
    /// Nothing but blanks.
    #[error("`{name}` is empty")]
    Empty {
        /// The template, as the user named it.
        name: String,
    },
    /// The bytes are not UTF-8, or say that they are not.
    #[error("`{name}`: line {line}: {message}")]
    Encoding {
        /// The template, as the user named it.
        name: String,
        /// Line of the first bad byte.
        line: usize,
        /// What is so.
        message: String,
    },
    /// The document is not well-formed XML, or not TOML.
    #[error("`{name}`: line {line}, column {column}: {message}")]
    Syntax {
        /// The template, as the user named it.
        name: String,
        /// Line, counted from 1.
        line: usize,
        /// Column in characters, counted from 1.
        column: usize,
        /// What is so.
        message: String,
        /// What to do about it.
        hint: Option<String>,
    },
    /// The document is well-formed, and not a template.
    #[error("{}", list(name, problems))]
    Invalid {
        /// The template, as the user named it.
        name: String,
        /// Everything that was found, by line.
        problems: Vec<Problem>,
    },
}

impl TemplateError {
    /// What to do about it, one sentence each.
    pub fn hints(&self) -> Vec<String> {
        match self {
            Self::Invalid { problems, .. } => {
                let mut hints: Vec<String> = Vec::new();
                for hint in problems.iter().filter_map(|problem| problem.hint.as_ref()) {
                    if !hints.contains(hint) {
                        hints.push(hint.clone());
                    }
                }
                hints
            },
            Self::Syntax { hint, .. } => vec![hint.clone().unwrap_or_else(|| {
                "docs/templates.md describes both syntaxes; `<` as first character means TDL".into()
            })],
            Self::Encoding { .. } => vec![
                "save the template as UTF-8, for example: iconv -f ISO-8859-1 -t UTF-8 OLD > NEW"
                    .into(),
            ],
            Self::Empty { .. } => {
                vec!["docs/templates.md has a complete template in both syntaxes".into()]
            },
            Self::Read { .. } => {
                vec!["name a file that you may read; `-` is standard input".into()]
            },
            Self::TooLarge { .. } => {
                vec!["keep large files beside the template and name them in it".into()]
            },
        }
    }

    /// The problems of a document that parses; none for the other errors.
    pub fn problems(&self) -> &[Problem] {
        match self {
            Self::Invalid { problems, .. } => problems,
            _ => &[],
        }
    }
}

/// All of `problems` of the document `name`, one a line.
pub(super) fn list(name: &str, problems: &[Problem]) -> String {
    match problems {
        [one] => format!("`{name}`: {one}"),
        many => {
            many.iter().fold(format!("`{name}` has {} problems", many.len()), |text, problem| {
                format!("{text}\n  {problem}")
            })
        },
    }
}

/// Where a document comes from: its name in messages, and the directory that it may include from.
#[derive(Clone, Debug, Default)]
pub struct Origin {
    /// The template, as the user named it.
    pub name: String,
    /// Files below it may be included; `None` forbids includes.
    pub directory: Option<PathBuf>,
}

impl Origin {
    /// A document without a directory: standard input, a request, a record.
    pub fn named(name: impl Into<String>) -> Self {
        Self { name: name.into(), directory: None }
    }
}

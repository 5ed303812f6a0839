//! Templates in both syntaxes.

use imageforge::template::{
    LoadedTemplate, Origin, Problem, TemplateError, parse_tdl, parse_toml, read, to_tdl, validate,
};
use plugin_api::template::{Source, Template};

use crate::{assert_fit_for_a_terminal, assert_line_of};

/// Reads `input` as TDL: a template obeys the rules, and what is written of it reads back as the
/// same template; an error names a line of the text and a path.
///
/// # Panics
/// When a promise is broken.
pub fn tdl(input: &[u8]) {
    check(input, parse_tdl);
}

/// The same of `input` as TOML.
///
/// # Panics
/// When a promise is broken.
pub fn toml_template(input: &[u8]) {
    check(input, parse_toml);
}

fn check(input: &[u8], parse: fn(&str, &Origin) -> Result<LoadedTemplate, TemplateError>) {
    let origin = Origin::named("t");
    let Ok(text) = str::from_utf8(input) else {
        let refused = read(input, &origin).map(drop);
        assert!(matches!(refused, Err(TemplateError::Encoding { .. })), "{refused:?}");
        return;
    };
    match parse(text, &origin) {
        Ok(loaded) => {
            for warning in &loaded.warnings {
                assert_placed(warning, text);
            }
            assert_eq!(loaded.source, text);
            assert_writes_and_reads_back(loaded.template);
        },
        Err(error) => assert_explained(&error, text),
    }
}

fn assert_writes_and_reads_back(template: Template) {
    if let Err(error) = validate(&template, "t") {
        panic!("a template that was read breaks a rule: {error}");
    }
    let written = to_tdl(&template);
    let again = match parse_tdl(&written, &Origin::named("t")) {
        Ok(loaded) => loaded.template,
        Err(error) => panic!("{error} in\n{written}"),
    };
    assert_eq!(by_content(again), by_content(template), "{written}");
}

/// How text is encoded is no part of it, and TDL has no place for a mode or a key.
fn by_content(mut template: Template) -> Template {
    template.files.iter_mut().for_each(|file| file.mode = None);
    template.repositories.iter_mut().for_each(|repository| repository.key = None);
    let files = template.files.iter_mut().map(|file| &mut file.source);
    let commands = template.commands.iter_mut().chain(&mut template.precommands);
    for source in files.chain(commands.map(|command| &mut command.source)) {
        if let Some(bytes) = source.bytes() {
            *source = Source::Raw(format!("{bytes:?}"));
        }
    }
    template
}

fn assert_explained(error: &TemplateError, text: &str) {
    match error {
        TemplateError::Invalid { problems, .. } => {
            assert!(!problems.is_empty());
            for problem in problems {
                assert_placed(problem, text);
            }
        },
        TemplateError::Syntax { line, column, message, .. } => {
            assert_line_of(*line, text);
            assert!(*column > 0);
            assert_fit_for_a_terminal(message);
        },
        TemplateError::Empty { .. } => assert!(text.trim_matches('\u{feff}').trim().is_empty()),
        other => panic!("{other} of a text that was read"),
    }
}

fn assert_placed(problem: &Problem, text: &str) {
    assert_fit_for_a_terminal(&problem.to_string());
    // What a TOML document lacks as a whole has no path.
    assert!(!problem.path.is_empty() || problem.line == Some(1), "{problem}");
    match problem.line {
        Some(line) => assert_line_of(line, text),
        None => panic!("no line: {problem}"),
    }
}

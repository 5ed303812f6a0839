//! What a user names on the command line, read: templates, parameters, labels, credentials.

use std::collections::BTreeMap;

use camino::Utf8Path;
use serde_json::{Map, Value};

use super::args::Parameters;
use super::error::{Exit, Failure};
use crate::factory::request;
use crate::template::{self, LoadedTemplate, Origin};

/// The template in `path`; `-` is standard input.
pub(super) fn template(path: &Utf8Path) -> Result<LoadedTemplate, Failure> {
    let loaded = if path == "-" {
        let origin = Origin { name: "standard input".to_owned(), directory: None };
        template::read(std::io::stdin().lock(), &origin)
    } else {
        template::load(path)
    };
    loaded.map_err(|error| {
        let exit = match &error {
            template::TemplateError::Read { source, .. }
                if source.kind() == std::io::ErrorKind::NotFound =>
            {
                Exit::NotFound
            },
            _ => Exit::InvalidInput,
        };
        Failure::from_error(exit, &error).hints(error.hints())
    })
}

/// All parameters; later sources win: `--parameters`, `--parameter`, `--file-parameter`.
pub(super) fn parameters(given: &Parameters) -> Result<Map<String, Value>, Failure> {
    let mut all = match &given.parameters {
        None => Map::new(),
        Some(path) => {
            let text = read(path)?;
            serde_json::from_str(&text).map_err(|error| {
                Failure::new(Exit::InvalidInput, format!("`{path}` holds no JSON object"))
                    .because(error.to_string())
                    .hint(r#"write parameters as {"NAME": "VALUE", "OTHER": 2}"#)
            })?
        },
    };
    for pair in &given.parameter {
        let (name, value) = split(pair, "--parameter")?;
        all.insert(name.to_owned(), Value::from(value));
    }
    for pair in &given.file_parameter {
        let (name, path) = split(pair, "--file-parameter")?;
        all.insert(name.to_owned(), Value::from(read(Utf8Path::new(path))?));
    }
    Ok(all)
}

/// A name for images: one line of text.
pub(super) fn name(given: &str) -> Result<String, Failure> {
    match request::check_name(given) {
        Ok(()) => Ok(given.to_owned()),
        Err(why) => Err(Failure::new(Exit::Usage, format!("`--name` {why}"))
            .hint("a name is one line of 1 to 255 bytes")),
    }
}

/// Labels as `KEY=VALUE`.
pub(super) fn labels(given: &[String]) -> Result<BTreeMap<String, String>, Failure> {
    given
        .iter()
        .map(|pair| split(pair, "--label").map(|(key, value)| (key.to_owned(), value.to_owned())))
        .collect()
}

/// A provider or credentials: `@TEXT` is the text, a file is read, anything else is itself.
pub(super) fn text_or_file(given: &str) -> Result<String, Failure> {
    if let Some(text) = given.strip_prefix('@') {
        return Ok(text.to_owned());
    }
    let path = Utf8Path::new(given);
    if fs_err::metadata(path).is_ok_and(|found| found.is_file()) {
        return read(path);
    }
    Ok(given.to_owned())
}

/// The time that replaces the clock: `SOURCE_DATE_EPOCH`, in seconds since 1970.
pub(super) fn source_date_epoch() -> Result<Option<i64>, Failure> {
    let Ok(text) = std::env::var("SOURCE_DATE_EPOCH") else {
        return Ok(None);
    };
    match text.trim().parse::<u32>() {
        Ok(seconds) => Ok(Some(i64::from(seconds))),
        Err(error) => Err(Failure::new(
            Exit::InvalidInput,
            format!("`SOURCE_DATE_EPOCH` is `{text}`, which is no time"),
        )
        .because(error.to_string())
        .hint("give whole seconds since 1970, or unset it")),
    }
}

/// Upstream wrote `--parameter NAME VALUE`; both words become one before the command line is read.
pub(super) fn join_pairs(arguments: impl IntoIterator<Item = String>) -> Vec<String> {
    let mut joined: Vec<String> = Vec::new();
    let mut arguments = arguments.into_iter();
    while let Some(argument) = arguments.next() {
        let takes_pair = argument == "--parameter" || argument == "--file-parameter";
        joined.push(argument);
        if !takes_pair {
            continue;
        }
        let Some(name) = arguments.next() else { break };
        if name.contains('=') {
            joined.push(name);
        } else if let Some(value) = arguments.next() {
            joined.push(format!("{name}={value}"));
        } else {
            joined.push(name);
        }
    }
    joined
}

fn split<'a>(pair: &'a str, flag: &str) -> Result<(&'a str, &'a str), Failure> {
    pair.split_once('=').filter(|(name, _)| !name.is_empty()).ok_or_else(|| {
        Failure::new(Exit::Usage, format!("`{flag} {pair}` is no pair"))
            .hint(format!("write `{flag} NAME=VALUE`"))
    })
}

/// The text of a file.
pub(super) fn read(path: &Utf8Path) -> Result<String, Failure> {
    fs_err::read_to_string(path).map_err(|error| {
        let exit = match error.kind() {
            std::io::ErrorKind::NotFound => Exit::NotFound,
            _ => Exit::InvalidInput,
        };
        Failure::from_error(exit, &error).hint("name a file that you may read")
    })
}

#[cfg(test)]
mod tests {
    use super::join_pairs;

    #[test]
    fn upstreams_parameter_with_two_words_is_the_same_as_a_pair() {
        let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let joined = join_pairs(words("build --parameter a b --parameter c=d --name e"));
        assert_eq!(joined, words("build --parameter a=b --parameter c=d --name e"));
    }
}

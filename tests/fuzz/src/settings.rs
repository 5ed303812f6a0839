//! The settings file, and the file of target content that it names.

use camino::Utf8Path;
use imageforge::settings::{Settings, SettingsError};
use imageforge::template::{TargetContent, TargetContentError};
use plugin_api::template::Os;

use crate::{assert_fit_for_a_terminal, assert_line_of};

/// Reads `input` as a settings file: paths are relative to its folder, and an error names a line of
/// the file and the key. Then as a file of target content.
///
/// # Panics
/// When a promise is broken.
pub fn settings(input: &[u8]) {
    let Ok(text) = str::from_utf8(input) else {
        return;
    };
    target_content(text);
    let folder = Utf8Path::new("/etc/imageforge");
    match Settings::parse(text, &folder.join("config.toml")) {
        Ok(settings) => {
            let paths =
                settings.plugins_d.iter().chain(&settings.data_dir).chain(&settings.library_path);
            paths.for_each(|path| assert!(path.is_absolute(), "{path}"));
        },
        Err(error) => {
            assert_fit_for_a_terminal(&error.to_string());
            match error {
                SettingsError::Syntax { line, .. } => assert_line_of(line, text),
                SettingsError::UnknownKey { line, key, .. }
                | SettingsError::Value { line, key, .. } => {
                    assert_line_of(line, text);
                    assert!(!key.is_empty());
                },
                other => panic!("{other} of a text that was read"),
            }
        },
    }
}

/// Every entry can be told, and an error names lines of the file.
fn target_content(text: &str) {
    match TargetContent::parse(text, Utf8Path::new("content")) {
        Ok(content) => {
            if let Some(entry) = content.find("a", &Os::default()) {
                assert_fit_for_a_terminal(&entry.to_string());
                assert_line_of(entry.line(), text);
            }
        },
        Err(TargetContentError::Invalid { problems, .. }) => {
            assert!(!problems.is_empty());
            for problem in problems {
                assert_fit_for_a_terminal(&problem.to_string());
                problem.line.into_iter().for_each(|line| assert_line_of(line, text));
            }
        },
        Err(error) => assert_fit_for_a_terminal(&error.to_string()),
    }
}

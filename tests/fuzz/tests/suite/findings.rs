//! What was found, each with its input in `corpus/` and what is promised since.

use std::io::ErrorKind;

use camino::Utf8PathBuf;
use imageforge::factory::parameters::{PluginSchema, problems};
use imageforge::settings::Settings;
use imageforge::template::{Origin, parse_tdl, parse_toml};
use plugin_api::info::PluginInfo;
use plugin_kit::formats::{self, FormatError};
use serde_json::Value;

use crate::folder::path;

fn input(subject: &str, name: &str) -> Utf8PathBuf {
    Utf8PathBuf::try_from(path("corpus").join(subject).join(format!("finding-{name}"))).unwrap()
}

fn text(subject: &str, name: &str) -> String {
    fs_err::read_to_string(input(subject, name)).unwrap()
}

/// Found by the twin of `tdl`.
#[test]
fn a_message_about_a_template_is_one_line() {
    let error =
        parse_tdl(&text("tdl", "an-end-tag-of-two-lines"), &Origin::named("t")).unwrap_err();
    assert!(error.to_string().ends_with("but `</siyes,   </disk>` was found"), "{error}");
}

/// Found while the check of `info` was written.
#[test]
fn a_key_of_an_info_file_cannot_write_to_the_terminal() {
    let text = text("info", "a-key-that-clears-the-screen");
    let error = PluginInfo::from_json(text.as_bytes()).unwrap_err().to_string();
    assert!(error.starts_with(r"a\u{1b}[2J: the key is given twice; "), "{error}");
    assert!(error.contains(r"depends.\u{1b}[2J: "), "{error}");
}

/// Found while the check of `info` was written.
#[test]
fn an_empty_key_of_an_info_file_is_named() {
    let text = text("info", "an-empty-key-given-twice");
    let error = PluginInfo::from_json(text.as_bytes()).unwrap_err();
    assert_eq!(error.problems[0].to_string(), r#""": the key is given twice"#);
}

/// Found while the check of `settings` was written.
#[test]
fn a_key_of_the_settings_cannot_write_to_the_terminal() {
    for (name, key) in [
        ("a-key-that-clears-the-screen", r"there is no setting `a\u{1b}[2J`"),
        ("a-plugin-that-clears-the-screen", r"`limits.plugin.\u{1b}[2J.memory_mib`: "),
    ] {
        let error = Settings::parse(&text("settings", name), "c".into()).unwrap_err().to_string();
        assert!(error.contains(key), "{error}");
    }
}

/// Found while the check of images was written: `UnexpectedEof` says that the caller asked for
/// what the disk does not have.
#[test]
fn a_damaged_image_is_said_to_be_damaged() {
    for (subject, name) in [
        ("vmdk", "a-grain-that-ends-beyond-the-file"),
        ("vmdk", "a-marker-that-ends-beyond-the-file"),
        ("qcow2", "a-zstd-frame-that-does-not-decode"),
    ] {
        let (_, disk) = formats::open(&input(subject, name)).unwrap();
        let mut whole = vec![0; usize::try_from(disk.size_bytes()).unwrap()];
        let error = disk.read_exact_at(&mut whole, 0).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidData, "{name}: {error}");
    }
}

/// Found while the check of images was written: four times the extents for the same bytes.
#[test]
fn tables_of_an_image_share_no_bytes() {
    let opened = formats::open(&input("vmdk", "tables-that-overlap")).map(drop);
    assert!(matches!(opened, Err(FormatError::Malformed { .. })), "{opened:?}");
}

/// Found by the twin of `parameters`.
#[test]
fn a_schema_and_a_parameter_cannot_write_to_the_terminal() {
    for name in ["a-reference-that-clears-the-screen", "a-parameter-that-clears-the-screen"] {
        let case: Value = serde_json::from_str(&text("parameters", name)).unwrap();
        let plugin = PluginSchema { plugin: "p", schema: Some(&case["schema"]) };
        let found = problems(case["given"].as_object().unwrap(), &[plugin]);
        assert!(found[0].to_string().contains(r"\u{1b}[2J"), "{}", found[0]);
    }
}

/// Found by the twin of `toml_template`: TDL cannot carry it.
#[test]
fn a_description_cannot_hold_what_only_one_syntax_can_carry() {
    let text = text("toml_template", "a-description-that-clears-the-screen");
    let error = parse_toml(&text, &Origin::named("t")).unwrap_err().to_string();
    assert!(error.contains("description: must be text without control characters"), "{error}");
}

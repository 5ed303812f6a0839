//! Hostile and damaged input: an error, never a panic, and never more memory than the text needs.

use plugin_api::template::Source;
use proptest::prelude::*;

use super::*;

const OS: &str = "<os><name>D</name><version>1</version><arch>i386</arch>\
                  <install type='url'><url>u</url></install></os>";

#[test]
fn nesting_deeper_than_the_limit_is_refused() {
    let text = "<a>".repeat(100_000);
    assert!(refusal(&text).contains("nested deeper than 64"));
}

#[test]
fn more_elements_than_the_limit_are_refused() {
    let text = format!("<a>{}</a>", "<b/>".repeat(xml::MAX_ELEMENTS));
    assert!(refusal(&text).contains("more than 100000 elements"));
}

#[test]
fn many_attributes_are_refused_before_they_are_compared() {
    let attributes: Vec<String> = (0..200_000).map(|n| format!("a{n}='x'")).collect();
    let text = format!("<template {}/>", attributes.join(" "));
    assert!(refusal(&text).contains("more than 64 attributes"));
}

#[test]
fn a_document_of_many_problems_is_answered() {
    let text = format!("<template>{OS}<files>{}</files></template>", "<file/>".repeat(20_000));
    let error = parse(&text, &Origin::named("t")).unwrap_err();
    assert_eq!(error.problems().len(), 20_001);
}

#[test]
fn a_template_larger_than_the_limit_is_refused() {
    let endless = std::io::repeat(b' ');
    let error = read(endless, &Origin::named("-")).unwrap_err();
    assert!(matches!(error, TemplateError::TooLarge { .. }));
}

#[test]
fn bytes_that_are_not_utf8_name_their_line() {
    let error = read(&b"<template>\n<name>\xe9t\xe9</name>"[..], &Origin::named("t")).unwrap_err();
    assert_eq!(error.to_string(), "`t`: line 2: the text is not UTF-8");
    let error = read(&b"\xff\xfe<\0t\0"[..], &Origin::named("t")).unwrap_err();
    assert_eq!(error.to_string(), "`t`: line 1: the text is UTF-16, not UTF-8");
    assert!(!error.hints().is_empty());
}

#[test]
fn nothing_but_blanks_is_empty() {
    assert_eq!(refusal(" \n"), "`t` is empty");
    assert_eq!(refusal("\u{feff}"), "`t` is empty");
}

#[test]
fn a_file_that_is_missing_and_a_directory_cannot_be_read() {
    let directory = tempfile::tempdir().unwrap();
    let missing = directory.path().join("none.tdl");
    for path in [missing.as_path(), directory.path()] {
        assert!(matches!(load(path), Err(TemplateError::Read { .. })));
    }
}

#[test]
fn long_and_strange_values_are_short_in_messages() {
    let os = OS.replace("i386", &"x\u{202e}".repeat(5_000));
    let message = refusal(&format!("<template><name>n</name>{os}</template>"));
    assert!(message.len() < 700, "{message}");
    assert!(!message.contains('\u{202e}'));
}

/// Words of the grammar, put together at random: far more is read of it than of random bytes.
fn fragments() -> impl Strategy<Value = String> {
    let words = prop::sample::select(vec![
        "<template>",
        "</template>",
        "<template version='1.0'>",
        "<name>",
        "</name>",
        "n",
        OS,
        "<files>",
        "</files>",
        "<file name='/a'>",
        "<file name='/a' type='base64'>QQ==",
        "</file>",
        "<commands>",
        "</commands>",
        "<command name='c' position='1'>",
        "</command>",
        "<!--",
        "-->",
        "<![CDATA[",
        "]]>",
        "<disk><size>",
        "9G",
        "</size></disk>",
        "&amp;",
        "&#65;",
        "&x;",
        "<?p ?>",
        "<!DOCTYPE a>",
        "<repositories/>",
        " ",
        "\n",
        "\"",
        "'",
        "<",
        ">",
        "/>",
        "é",
        "<xi:include xmlns:xi='http://www.w3.org/2001/XInclude' href='x'/>",
    ]);
    prop::collection::vec(words, 0..40).prop_map(|words| words.concat())
}

fn toml_fragments() -> impl Strategy<Value = String> {
    let words = prop::sample::select(vec![
        "name = ",
        "\"n\"",
        "\n",
        "[os]",
        "version = 12",
        "arch = 'i386'",
        "url = ",
        "[[files]]",
        "mode = 0o755",
        "packages = [",
        "]",
        "{ name = 'a' }",
        ",",
        "'''",
        "\"\"\"",
        "disk_size = ",
        "9",
        "1e9",
        "1979-05-27",
        "[[commands]]",
        "script = ",
        "a.b = ",
        "[[os.extras]]",
        "#",
        "é",
    ]);
    prop::collection::vec(words, 0..40).prop_map(|words| words.concat())
}

proptest! {
    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        drop(read(&bytes[..], &Origin::named("t")));
    }

    #[test]
    fn random_text_never_panics(text in "\\PC{0,200}") {
        drop(parse_tdl(&text, &Origin::named("t")));
        drop(parse_toml(&text, &Origin::named("t")));
    }

    #[test]
    fn words_of_the_grammar_never_panic(text in fragments()) {
        drop(parse_tdl(&text, &Origin::named("t")));
        drop(parse_tdl(&format!("<template><name>n</name>{OS}{text}</template>"), &Origin::named("t")));
    }

    #[test]
    fn words_of_toml_never_panic(text in toml_fragments()) {
        drop(parse_toml(&text, &Origin::named("t")));
    }

    #[test]
    fn damage_to_a_good_document_never_panics(at in 0usize..2_000, byte in any::<u8>()) {
        let good = fs_err::read(
            Path::new(env!("CARGO_MANIFEST_DIR"))
                .join("tests/data/templates/repository-flags-are-words-in-any-case.tdl"),
        ).unwrap();
        let mut bad = good.clone();
        let at = at % bad.len();
        bad[at] = byte;
        drop(read(&bad[..], &Origin::named("t")));
        drop(read(&good[..at], &Origin::named("t")));
    }
}

#[test]
fn carriage_returns_become_newlines() {
    let text = format!(
        "<template>\r\n<name>n</name>{OS}<files><file name='/a'>one\r\ntwo</file></files></template>"
    );
    assert_eq!(accepted(&text).template.files[0].source, Source::Raw("one\ntwo".into()));
}

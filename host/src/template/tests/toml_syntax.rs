//! TOML: the same model, with messages in its own words.

use plugin_api::template::{Install, Source};

use super::*;

const OS: &str =
    "name = \"n\"\n[os]\nname = \"Debian\"\nversion = 12\narch = \"x86_64\"\nurl = \"u\"\n";

fn with(extra: &str) -> String {
    format!("{OS}{extra}")
}

#[test]
fn a_whole_template_reads_as_its_tdl_twin_does() {
    let toml = r#"
        name = "harbour"
        disk_size = "3 GiB"
        packages = ["rope", { name = "crane", repository = "quay", file = "f", arguments = "a" }]
        [os]
        name = "Debian"
        version = "12"
        arch = "x86_64"
        url = "mirror:debian"
        root_password = "pier"
        kernel_parameters = "quiet"
        [[repositories]]
        name = "quay"
        url = "https://deb.example/"
        signed = true
        [[files]]
        name = "/etc/motd"
        content = "hello"
        [[precommands]]
        name = "p"
        url = "https://x.example/p"
        [[commands]]
        name = "c"
        base64 = "dHJ1 ZQ=="
    "#;
    let tdl = "<template><name>harbour</name><disk><size>3</size></disk><packages>\
        <package name='rope'/><package name='crane'><repository>quay</repository><file>f</file>\
        <arguments>a</arguments></package></packages><os><name>Debian</name><version>12</version>\
        <arch>x86_64</arch><install type='url'><url>mirror:debian</url></install><rootpw>pier</rootpw>\
        <kernelparam>quiet</kernelparam></os><repositories><repository name='quay'>\
        <url>https://deb.example/</url><signed>yes</signed></repository></repositories>\
        <files><file name='/etc/motd'>hello</file></files>\
        <precommands><command name='p' type='url'>https://x.example/p</command></precommands>\
        <commands><command name='c' type='base64'>dHJ1ZQ==</command></commands></template>";
    let (toml, tdl) = (accepted(toml), accepted(tdl));
    assert_eq!(toml.format, Format::Toml);
    assert_eq!(tdl.format, Format::Tdl);
    assert_eq!(toml.template, tdl.template);
    assert_eq!(canonical_json(&toml.template), canonical_json(&tdl.template));
}

#[test]
fn a_medium_has_checksum_and_extras() {
    let text = "name = 'n'\n[os]\nname = 'D'\nversion = '12'\narch = 'i386'\niso = 'https://m/x.iso'\n\
                sha256sum = 'https://m/SUMS'\nextras = [{ directory = 'a', destination = 'b' }]\n";
    let Install::Iso { checksum, extras, .. } = accepted(text).template.os.install else {
        panic!("not a medium");
    };
    assert_eq!(checksum.unwrap().algorithm, "sha256sum");
    assert!(extras[0].directory);
}

#[test]
fn text_is_taken_as_it_stands() {
    let loaded = accepted(&with("[[files]]\nname = '/a'\ncontent = \"\"\"\none\n\"\"\"\n"));
    assert_eq!(loaded.template.files[0].source, Source::Raw("one\n".into()));
}

#[test]
fn a_mode_is_octal_as_text_and_as_number() {
    for mode in ["\"0755\"", "\"755\"", "0o755", "\"0o755\""] {
        let loaded =
            accepted(&with(&format!("[[files]]\nname = '/a'\nurl = 'f:///a'\nmode = {mode}\n")));
        assert_eq!(loaded.template.files[0].mode, Some(0o755), "{mode}");
    }
    for mode in ["755", "\"rwx\"", "\"+755\"", "true"] {
        let text = with(&format!("[[files]]\nname = '/a'\nurl = 'f:///a'\nmode = {mode}\n"));
        assert!(
            refusal(&text).starts_with("`t`: line 10: files[1].mode: expected permission"),
            "{mode}"
        );
    }
    assert!(
        refusal(&with("[[files]]\nname = '/a'\ncontent = ''\nmode = 0o17777\n")).contains("0o7777")
    );
}

#[test]
fn a_disk_size_is_text_or_a_number_of_gib() {
    assert_eq!(accepted(&format!("disk_size = 4\n{OS}")).template.disk_size_bytes, Some(4 << 30));
    assert_eq!(
        accepted(&format!("disk_size = '4GB'\n{OS}")).template.disk_size_bytes,
        Some(4_000_000_000)
    );
    assert!(
        refusal(&format!("disk_size = 4.5\n{OS}")).contains("line 1: disk_size: expected a size")
    );
}

#[test]
fn a_repository_with_a_key_is_signed_unless_it_says_otherwise() {
    let key = "key = '-----BEGIN PGP PUBLIC KEY BLOCK-----'\n";
    let repository = "[[repositories]]\nname = 'q'\nurl = 'https://q/'\n";
    let signed = |extra: &str| {
        accepted(&with(&format!("{repository}{extra}"))).template.repositories[0].signed
    };
    assert!(!signed(""));
    assert!(signed(key));
    assert!(!signed(&format!("{key}signed = false\n")));
    assert!(refusal(&with(&format!("{repository}key = 'AAAA'\n"))).contains("not an armoured"));
}

#[test]
fn an_unknown_key_names_its_path_and_line_and_the_nearest_name() {
    let error =
        parse(&with("[[files]]\nname = '/a'\ncontents = 'x'\n"), &Origin::named("t")).unwrap_err();
    insta::assert_snapshot!(error.to_string(), @r"
    `t` has 2 problems
      line 7: files[1]: expected exactly one of the keys `content`, `base64` or `url`
      line 9: files[1].contents: unknown key, expected `name`, `content`, `base64`, `url` or `mode`
    ");
    insta::assert_snapshot!(error.hints().join("\n"), @"did you mean `content`?");
}

#[test]
fn all_problems_of_a_document_are_reported() {
    let text = "title = 'n'\npackages = ['a', 7, { nam = 'x' }]\ndisk_size = 'big'\n[os]\nname = 12\n\
                arch = 'arm64'\nurl = 'u'\niso = 'i'\n[[commands]]\nname = 'c'\nscript = ' '\n\
                [[repositories]]\nname = 'q'\nurl = 'http://localhost/'\nsigned = 'yes'\n";
    let error = parse(text, &Origin::named("harbour.toml")).unwrap_err();
    insta::assert_snapshot!(error.to_string(), @r"
    `harbour.toml` has 13 problems
      line 1: the key `name` is missing
      line 1: title: unknown key, expected `name`, `description`, `os`, `packages`, `files`, `commands`, `precommands`, `repositories` or `disk_size`
      line 2: packages[2]: expected a name or a table, found an integer
      line 2: packages[3]: the key `name` is missing
      line 2: packages[3].nam: unknown key, expected `name`, `repository`, `file` or `arguments`
      line 3: disk_size: expected a size like `10`, `16 GiB` or `10TB`, found `big`
      line 4: os: only one of `url` and `iso` may be given
      line 4: os: the key `version` is missing
      line 5: os.name: expected a string, found an integer
      line 6: os.arch: expected `i386`, `x86_64`, `ppc64`, `ppc64le`, `aarch64`, `armv7l` or `s390x`, found `arm64`
      line 11: commands[1].script: a command must not be empty
      line 14: repositories[1].url: `localhost` is not reachable from the image
      line 15: repositories[1].signed: expected `true` or `false`, found a string
    ");
}

#[test]
fn what_is_not_toml_names_line_and_column() {
    let error = parse("name = \"n\"\n[os\n", &Origin::named("t")).unwrap_err();
    insta::assert_snapshot!(error.to_string(), @"`t`: line 2, column 4: unclosed table, expected `]`");
}

#[test]
fn the_content_decides_the_syntax_and_then_the_name() {
    assert_eq!(Format::detect(" \n<template/>", "a.toml"), Format::Tdl);
    assert_eq!(Format::detect("\u{feff}<a/>", "-"), Format::Tdl);
    assert_eq!(Format::detect("# note", "a.tdl"), Format::Toml);
    assert_eq!(Format::detect("name = 'n'", "a.toml"), Format::Toml);
    assert_eq!(Format::detect("oops <a/>", "a.tdl"), Format::Tdl);
    assert_eq!(Format::detect("oops", "-"), Format::Toml);
}

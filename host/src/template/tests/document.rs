//! What is made of a template: its canonical form, TDL, merges, includes, the reference document.

use plugin_api::template::{
    Checksum, Command, Extra, File, Install, Os, Package, Repository, Source,
};
use proptest::prelude::*;

use super::*;

#[test]
fn the_canonical_form_ignores_how_the_document_is_written() {
    let one = accepted(
        "<template><name>n</name><os><name>D</name><version>1</version><arch>i386</arch>\
         <install type='url'><url>u</url></install></os></template>",
    );
    let other = accepted(
        "<!-- c -->\n<template version='1.0'>\n<os><install type='url'>\n<url> u </url></install>\
         <arch>i386</arch><version>1</version><name>D</name></os>\n<name>\nn</name><packages/></template>",
    );
    assert_eq!(canonical_json(&one.template), canonical_json(&other.template));
    insta::assert_snapshot!(canonical_json(&one.template), @r#"{"commands":[],"files":[],"name":"n","os":{"arch":"i386","install":{"type":"url","url":"u"},"name":"D","version":"1"},"packages":[],"precommands":[],"repositories":[]}"#);
}

#[test]
fn another_order_of_packages_is_another_template() {
    let mut template = Template::default();
    let package = |name: &str| {
        let mut package = Package::default();
        package.name = name.into();
        package
    };
    template.packages = vec![package("a"), package("b")];
    let before = canonical_json(&template);
    template.packages.reverse();
    assert_ne!(before, canonical_json(&template));
}

#[test]
fn merging_replaces_packages_and_repositories_of_the_same_name() {
    let package = |name: &str, arguments: &str| {
        let mut package = Package::default();
        package.name = name.into();
        package.arguments = Some(arguments.into());
        package
    };
    let repository = |name: &str, url: &str| {
        let mut repository = Repository::default();
        repository.name = name.into();
        repository.url = url.into();
        repository
    };
    let mut template = Template::default();
    merge_packages(&mut template, [package("a", "1"), package("b", "1")]);
    merge_packages(&mut template, [package("a", "2")]);
    assert_eq!(template.packages, [package("b", "1"), package("a", "2")]);
    merge_repositories(&mut template, [repository("a", "1"), repository("b", "1")]);
    merge_repositories(&mut template, [repository("a", "2")]);
    assert_eq!(template.repositories, [repository("a", "2"), repository("b", "1")]);
}

#[test]
fn what_tdl_has_no_place_for_becomes_a_comment() {
    let mut file = File::new("/a", Source::Raw("x\n".into()));
    file.mode = Some(0o755);
    let mut template = Template::default();
    template.files.push(file);
    template.disk_size_bytes = Some(3 << 29);
    insta::assert_snapshot!(to_tdl(&template), @r#"
    <?xml version="1.0" encoding="UTF-8"?>
    <template version="1.0">
      <name/>
      <os>
        <name/>
        <version/>
        <arch/>
        <install type="url">
          <url/>
        </install>
      </os>
      <disk>
        <size>1536 MiB</size>
      </disk>
      <files>
        <!-- mode 0755: TDL has no place for it -->
        <file name="/a" type="base64">eAo=</file>
      </files>
    </template>
    "#);
}

#[test]
fn rules_hold_for_a_template_that_no_document_carried() {
    let error = validate(&Template::default(), "request").unwrap_err();
    assert!(error.problems().iter().any(|problem| problem.path == "os.arch"));
}

mod includes {
    use super::*;

    const HEAD: &str = "<template xmlns:xi='http://www.w3.org/2001/XInclude'>\n<name>n</name>\n\
        <os><name>D</name><version>1</version><arch>i386</arch><install type='url'><url>u</url>\
        </install></os>\n";

    /// Loads `HEAD body </template>` beside `files`.
    fn load_with(body: &str, files: &[(&str, &str)]) -> Result<LoadedTemplate, TemplateError> {
        let directory = tempfile::tempdir().unwrap();
        for (name, content) in files {
            let path = directory.path().join(name);
            fs_err::create_dir_all(path.parent().unwrap()).unwrap();
            fs_err::write(path, content).unwrap();
        }
        let top = directory.path().join("t.tdl");
        fs_err::write(&top, format!("{HEAD}{body}</template>")).unwrap();
        fs_err::os::unix::fs::symlink("/etc/hostname", directory.path().join("link")).unwrap();
        load(top)
    }

    fn problem(body: &str, files: &[(&str, &str)]) -> String {
        load_with(body, files).unwrap_err().problems()[0].to_string()
    }

    #[test]
    fn a_script_and_a_list_of_packages_come_from_files() {
        let body = "<commands><command name='c'><xi:include href='s.sh' parse='text'/></command>\
                    </commands><xi:include href='parts/packages.xml'/>";
        let files = [
            ("s.sh", "echo '<hi>' && true\n"),
            ("parts/packages.xml", "<packages><package name='a'/></packages>"),
        ];
        let template = load_with(body, &files).unwrap().template;
        assert_eq!(template.commands[0].source, Source::Raw("echo '<hi>' && true".into()));
        assert_eq!(template.packages[0].name, "a");
    }

    #[test]
    fn an_included_file_includes_from_beside_itself() {
        let body = "<xi:include href='parts/a.xml'/>";
        let files = [
            (
                "parts/a.xml",
                "<packages xmlns:xi='http://www.w3.org/2001/XInclude'><xi:include href='b.xml'/></packages>",
            ),
            ("parts/b.xml", "<package name='b'/>"),
        ];
        assert_eq!(load_with(body, &files).unwrap().template.packages[0].name, "b");
    }

    #[test]
    fn a_problem_in_an_included_file_names_that_file() {
        let files = [("p.xml", "<packages>\n<package/>\n</packages>")];
        let message = problem("<xi:include href='p.xml'/>", &files);
        assert_eq!(
            message,
            "`p.xml` line 2: template/packages/package[1]: the attribute `name` is missing"
        );
    }

    #[test]
    fn files_outside_of_the_directory_are_not_read() {
        for href in ["/etc/hostname", "../x", "file:///etc/hostname", "http://h/x", "", "link"] {
            let body = format!(
                "<commands><command name='c'><xi:include href='{href}' parse='text'/></command></commands>"
            );
            let message = problem(&body, &[]);
            assert!(message.contains("directory"), "{href}: {message}");
        }
    }

    #[test]
    fn a_missing_file_and_a_loop_are_refused() {
        assert!(problem("<xi:include href='none.xml'/>", &[]).contains("no such file"));
        let own = "<packages xmlns:xi='http://www.w3.org/2001/XInclude'><xi:include href='a.xml'/></packages>";
        let error = load_with("<xi:include href='a.xml'/>", &[("a.xml", own)]).unwrap_err();
        assert!(error.to_string().contains("deeper than 8"), "{error}");
    }

    #[test]
    fn a_document_without_a_directory_includes_nothing() {
        let text = format!("{HEAD}<xi:include href='t'/></template>");
        assert!(refusal(&text).contains("without a directory"));
    }
}

/// Text that survives trimming: templates drop blanks at the ends.
fn line() -> impl Strategy<Value = String> {
    "[a-zA-Z0-9é<>&'\"/][ -~é<>&]{0,12}[a-zA-Z0-9]"
}

fn some_line() -> impl Strategy<Value = Option<String>> {
    prop::option::of(line())
}

fn source() -> impl Strategy<Value = Source> {
    prop_oneof![
        "[a-z]([ -~\n\té\r]{0,30}[a-z])?".prop_map(Source::Raw),
        "[\\x00-\\x7f]{0,20}z".prop_map(Source::Raw),
        prop::sample::select(vec!["QQ==", "QUI=", "QUJD"])
            .prop_map(|text| Source::Base64(text.into())),
        line().prop_map(|rest| Source::Url(format!("https://{rest}"))),
    ]
}

fn install() -> impl Strategy<Value = Install> {
    let extra = (any::<bool>(), line(), line())
        .prop_map(|(directory, source, destination)| Extra { directory, source, destination });
    let checksum = (prop::sample::select(rules::CHECKSUMS.to_vec()), line())
        .prop_map(|(algorithm, url)| Checksum { algorithm: algorithm.into(), url });
    prop_oneof![
        line().prop_map(|url| Install::Url { url }),
        (line(), prop::option::of(checksum), prop::collection::vec(extra, 0..3))
            .prop_map(|(iso, checksum, extras)| Install::Iso { iso, checksum, extras }),
    ]
}

fn os() -> impl Strategy<Value = Os> {
    let arch = prop::sample::select(ARCHITECTURES.to_vec());
    (line(), line(), arch, install(), some_line(), some_line(), some_line(), some_line()).prop_map(
        |(name, version, arch, install, password, key, parameters, extra)| {
            let mut os = Os::default();
            (os.name, os.version, os.arch, os.install) = (name, version, arch.into(), install);
            (os.root_password, os.key) = (password, key);
            (os.kernel_parameters, os.icicle_extra_command) = (parameters, extra);
            os
        },
    )
}

fn repository() -> impl Strategy<Value = Repository> {
    (line(), any::<[bool; 3]>()).prop_map(|(url, flags)| {
        let mut repository = Repository::default();
        repository.url = format!("https://{url}.example");
        [repository.signed, repository.persisted, repository.ssl_verify] = flags;
        repository
    })
}

fn template() -> impl Strategy<Value = Template> {
    let package = (line(), some_line(), some_line(), some_line()).prop_map(
        |(name, repository, file, arguments)| {
            let mut package = Package::default();
            package.name = name;
            (package.repository, package.file, package.arguments) = (repository, file, arguments);
            package
        },
    );
    let file = source().prop_map(|source| File::new("", source));
    let command = || {
        prop::collection::vec(
            (line(), source()).prop_map(|(name, source)| Command::new(name, source)),
            0..3,
        )
    };
    (
        (line(), some_line(), os(), prop::option::of(1u64..)),
        prop::collection::vec(package, 0..3),
        prop::collection::vec(repository(), 0..3),
        prop::collection::vec(file, 0..3),
        command(),
        command(),
    )
        .prop_map(
            |(
                (name, description, os, size),
                packages,
                repositories,
                files,
                precommands,
                commands,
            )| {
                let mut template = Template::default();
                (template.name, template.description, template.os) = (name, description, os);
                (template.packages, template.repositories) = (packages, repositories);
                (template.files, template.precommands, template.commands) =
                    (files, precommands, commands);
                template.disk_size_bytes = size;
                // Names of these are unique in a template that was read.
                for (index, file) in template.files.iter_mut().enumerate() {
                    file.name = format!("/srv/é {index}");
                }
                for (index, repository) in template.repositories.iter_mut().enumerate() {
                    repository.name = format!("r<{index}>");
                }
                template
            },
        )
}

/// Raw text that XML cannot carry comes back as base64 of the same bytes.
fn by_bytes(mut template: Template) -> Template {
    let sources = template.files.iter_mut().map(|file| &mut file.source);
    let commands = template.commands.iter_mut().chain(&mut template.precommands);
    for source in sources.chain(commands.map(|command| &mut command.source)) {
        if let Some(bytes) = source.bytes() {
            *source = Source::Raw(String::from_utf8(bytes).unwrap());
        }
    }
    template
}

proptest! {
    #[test]
    fn tdl_that_was_written_reads_back(template in template()) {
        let text = to_tdl(&template);
        let loaded = parse_tdl(&text, &Origin::named("t"));
        prop_assert!(loaded.is_ok(), "{}\n{text}", loaded.unwrap_err());
        prop_assert_eq!(by_bytes(loaded.unwrap().template), by_bytes(template));
    }
}

mod reference {
    //! The examples of `docs/templates.md` are templates, and the two long ones say the same.

    use super::*;

    /// The code blocks of the reference in `language`.
    fn examples(language: &str) -> Vec<String> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/templates.md");
        let text = fs_err::read_to_string(path).unwrap();
        let fence = format!("```{language}\n");
        text.split(&fence)
            .skip(1)
            .map(|rest| rest.split("```").next().unwrap().to_owned())
            .collect()
    }

    #[test]
    fn every_example_is_a_template_without_warnings() {
        let directory = tempfile::tempdir().unwrap();
        let parts = directory.path().join("parts");
        fs_err::create_dir(&parts).unwrap();
        fs_err::write(parts.join("packages.xml"), "<packages/>").unwrap();
        fs_err::write(parts.join("setup.sh"), "true\n").unwrap();
        let origin =
            Origin { name: "example".into(), directory: Some(directory.path().to_owned()) };
        for (language, count) in [("xml", 3), ("toml", 2)] {
            let examples = examples(language);
            assert_eq!(examples.len(), count, "{language}");
            for text in examples {
                let loaded =
                    parse(&text, &origin).unwrap_or_else(|error| panic!("{error}\n{text}"));
                assert_eq!(loaded.warnings, []);
            }
        }
    }

    #[test]
    fn the_long_examples_are_the_same_template() {
        let (tdl, toml) = (examples("xml").remove(0), examples("toml").remove(0));
        assert_eq!(accepted(&tdl).template, accepted(&toml).template);
    }
}

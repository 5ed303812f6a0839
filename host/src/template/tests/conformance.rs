//! TDL 1.0, promise by promise: each document in `tests/data/templates` states one.

use plugin_api::template::{Install, Source};

use super::*;

/// What becomes of a document.
#[derive(Clone, Copy)]
enum Outcome {
    Accepted,
    /// Line, path and part of the message of the first problem.
    Refused(usize, &'static str, &'static str),
    /// Line and part of the message.
    NotWellFormed(usize, &'static str),
}
use Outcome::{Accepted, NotWellFormed, Refused};

#[rustfmt::skip]
const INDEX: &[(&str, Outcome)] = &[
    ("a-bare-ampersand-is-refused", NotWellFormed(2, "")),
    ("a-bare-disk-size-counts-gib", Accepted),
    ("a-broken-declaration-is-refused", NotWellFormed(1, "not well-formed")),
    ("a-byte-order-mark-is-skipped", Accepted),
    ("a-checksum-of-a-url-install-is-refused", Refused(8, "template/os/install/md5sum", "unknown element")),
    ("a-command-is-raw-by-default", Accepted),
    ("a-command-may-be-base64", Accepted),
    ("a-command-may-come-from-a-url", Accepted),
    ("a-command-may-say-raw", Accepted),
    ("a-command-that-is-not-base64-is-refused", Refused(12, "template/commands/command[1]", "is not base64")),
    ("a-command-without-name-is-refused", Refused(12, "template/commands/command[1]", "the attribute `name` is missing")),
    ("a-control-character-is-refused", NotWellFormed(2, "U+0001")),
    ("a-description-is-allowed", Accepted),
    ("a-disk-of-nothing-is-refused", Refused(12, "template/disk/size", "0 bytes")),
    ("a-disk-size-in-zettabytes-is-capped", Accepted),
    ("a-disk-size-may-be-in-bytes", Accepted),
    ("a-disk-size-may-be-in-exbibytes", Accepted),
    ("a-disk-size-that-starts-with-its-unit-is-refused", Refused(12, "template/disk/size", "found `T10`")),
    ("a-disk-size-unit-has-any-case", Accepted),
    ("a-disk-size-with-a-fraction-is-refused", Refused(12, "template/disk/size", "found `1.5G`")),
    ("a-disk-size-with-an-unknown-unit-is-refused", Refused(12, "template/disk/size", "found `10K`")),
    ("a-disk-size-without-number-is-refused", Refused(12, "template/disk/size", "found `GiB`")),
    ("a-disk-without-size-is-refused", Refused(11, "template/disk", "the element `size` is missing")),
    ("a-doctype-without-declarations-is-ignored", Accepted),
    ("a-file-is-raw-by-default", Accepted),
    ("a-file-may-be-base64", Accepted),
    ("a-file-may-come-from-a-url", Accepted),
    ("a-file-may-say-raw", Accepted),
    ("a-file-name-that-climbs-is-refused", Refused(12, "template/files/file[1]/@name", "must not contain `..`")),
    ("a-file-that-is-not-base64-is-refused", Refused(12, "template/files/file[1]", "is not base64")),
    ("a-file-url-without-scheme-is-refused", Refused(12, "template/files/file[1]", "expected an address")),
    ("a-file-without-name-is-refused", Refused(12, "template/files/file[1]", "the attribute `name` is missing")),
    ("a-flag-that-is-no-word-is-refused", Refused(14, "template/repositories/repository[1]/signed", "found `maybe`")),
    ("a-gap-in-the-positions-is-refused", Refused(13, "template/commands/command[2]/@position", "from 1 to 2 without gaps, found `3`")),
    ("a-gap-in-the-precommands-is-refused", Refused(12, "template/precommands/command[1]/@position", "from 1 to 1")),
    ("a-late-declaration-is-refused", NotWellFormed(2, "only at the very start")),
    ("a-later-repository-replaces-one-of-the-same-name", Accepted),
    ("a-md5sum-of-the-medium-is-allowed", Accepted),
    ("a-missing-install-type-is-refused", Refused(7, "template/os/install", "the attribute `type` is missing")),
    ("a-mode-of-a-file-is-refused", Refused(12, "template/files/file[1]", "unknown attribute `mode`")),
    ("a-package-may-be-listed-twice", Accepted),
    ("a-package-may-name-repository-file-and-arguments", Accepted),
    ("a-package-without-name-is-refused", Refused(12, "template/packages/package[1]", "the attribute `name` is missing")),
    ("a-persistent-flag-is-refused", Refused(14, "template/repositories/repository[1]/persistent", "unknown element")),
    ("a-port-of-the-local-host-is-a-repository", Accepted),
    ("a-position-that-is-no-number-is-refused", Refused(12, "template/commands/command[1]/@position", "found `one`")),
    ("a-position-twice-is-refused", Refused(13, "template/commands/command[2]/@position", "taken by the command in line 12")),
    ("a-relative-file-name-is-refused", Refused(12, "template/files/file[1]/@name", "must be an absolute path")),
    ("a-repository-on-localdomain-is-refused", Refused(13, "template/repositories/repository[1]/url", "`localhost.localdomain` is not reachable")),
    ("a-repository-on-localhost-is-refused", Refused(13, "template/repositories/repository[1]/url", "`localhost` is not reachable")),
    ("a-repository-on-the-loopback-is-refused", Refused(13, "template/repositories/repository[1]/url", "`127.0.0.1` is not reachable")),
    ("a-repository-without-name-is-refused", Refused(12, "template/repositories/repository[1]", "the attribute `name` is missing")),
    ("a-repository-without-url-is-refused", Refused(12, "template/repositories/repository[1]", "the element `url` is missing")),
    ("a-root-password-is-allowed", Accepted),
    ("a-second-install-is-refused", Refused(10, "template/os/install", "given twice")),
    ("a-second-name-is-refused", Refused(11, "template/name", "given twice, first in line 2")),
    ("a-second-os-is-refused", Refused(11, "template/os", "given twice, first in line 3")),
    ("a-second-package-file-is-refused", Refused(14, "template/packages/package[1]/file", "given twice")),
    ("a-second-root-is-refused", NotWellFormed(12, "second")),
    ("a-sha1sum-of-the-medium-is-allowed", Accepted),
    ("a-sha256sum-of-the-medium-is-allowed", Accepted),
    ("a-template-without-name-is-refused", Refused(1, "template", "the element `name` is missing")),
    ("a-template-without-os-is-refused", Refused(1, "template", "the element `os` is missing")),
    ("a-url-install-is-enough", Accepted),
    ("an-attribute-given-twice-is-refused", NotWellFormed(7, "")),
    ("an-element-inside-text-is-refused", Refused(2, "template/name/b", "only text")),
    ("an-element-of-a-namespace-is-refused", Refused(1, "template", "root element")),
    ("an-empty-base64-command-is-refused", Refused(12, "template/commands/command[1]", "must not be empty")),
    ("an-empty-base64-file-is-allowed", Accepted),
    ("an-empty-command-is-refused", Refused(12, "template/commands/command[1]", "must not be empty")),
    ("an-empty-disk-size-is-none", Accepted),
    ("an-empty-name-is-refused", Refused(2, "template/name", "must not be empty")),
    ("an-empty-position-is-refused", Refused(12, "template/commands/command[1]/@position", "found ``")),
    ("an-empty-raw-file-is-allowed", Accepted),
    ("an-empty-template-is-refused", Refused(1, "template", "the element `name` is missing")),
    ("an-entity-bomb-is-refused", NotWellFormed(1, "entities are never expanded")),
    ("an-extra-without-destination-is-refused", Refused(10, "template/os/install/extras/file[1]", "`destination` is missing")),
    ("an-icicle-command-is-allowed", Accepted),
    ("an-installation-key-is-allowed", Accepted),
    ("an-iso-install-is-enough", Accepted),
    ("an-os-without-arch-is-refused", Refused(3, "template/os", "the element `arch` is missing")),
    ("an-os-without-install-is-refused", Refused(3, "template/os", "the element `install` is missing")),
    ("an-os-without-name-is-refused", Refused(3, "template/os", "the element `name` is missing")),
    ("an-os-without-version-is-refused", Refused(3, "template/os", "the element `version` is missing")),
    ("an-unclosed-element-is-refused", NotWellFormed(11, "the document ends before `</template>` (opened in line 1)")),
    ("an-unknown-architecture-is-refused", Refused(6, "template/os/arch", "found `amd64`")),
    ("an-unknown-attribute-is-refused", Refused(1, "template", "unknown attribute `verson`")),
    ("an-unknown-command-type-is-refused", Refused(12, "template/commands/command[1]/@type", "found `perl`")),
    ("an-unknown-element-is-refused", Refused(11, "template/package", "unknown element")),
    ("an-unknown-entity-is-refused", NotWellFormed(2, "`&nbsp;` is not defined")),
    ("an-unknown-file-type-is-refused", Refused(12, "template/files/file[1]/@type", "found `hex`")),
    ("an-unknown-install-type-is-refused", Refused(7, "template/os/install/@type", "expected `url` or `iso`, found `ftp`")),
    ("another-encoding-is-refused", NotWellFormed(1, "ISO-8859-1")),
    ("another-root-element-is-refused", Refused(1, "image", "root element")),
    ("another-version-is-refused", Refused(1, "template/@version", "expected `1.0`, found `2.0`")),
    ("base64-with-blanks-is-refused", Refused(12, "template/files/file[1]", "is not base64")),
    ("base64-without-padding-is-refused", Refused(12, "template/files/file[1]", "is not base64")),
    ("blanks-around-a-flag-are-refused", Refused(14, "template/repositories/repository[1]/signed", "found ` yes `")),
    ("blanks-around-the-architecture-are-refused", Refused(6, "template/os/arch", "found ` x86_64 `")),
    ("character-references-and-cdata-are-text", Accepted),
    ("commands-are-sorted-by-position", Accepted),
    ("comments-and-instructions-stand-anywhere", Accepted),
    ("crossed-tags-are-refused", NotWellFormed(2, "")),
    ("elements-stand-in-any-order", Accepted),
    ("empty-extras-are-refused", Refused(9, "template/os/install/extras", "at least one")),
    ("empty-lists-are-allowed", Accepted),
    ("extras-before-the-iso-are-refused", Refused(8, "template/os/install/extras", "last element")),
    ("extras-come-from-the-medium", Accepted),
    ("extras-of-a-url-install-are-refused", Refused(9, "template/os/install/extras", "from a medium only")),
    ("icicle-without-command-is-refused", Refused(10, "template/os/icicle", "`extra_command` is missing")),
    ("kernel-parameters-are-allowed", Accepted),
    ("md5sum-and-sha1sum-together-are-refused", Refused(10, "template/os/install/sha1sum", "only `md5sum`, `sha1sum` or `sha256sum`")),
    ("md5sum-and-sha256sum-together-are-refused", Refused(10, "template/os/install/sha256sum", "only `md5sum`, `sha1sum` or `sha256sum`")),
    ("positions-from-zero-are-refused", Refused(12, "template/commands/command[1]/@position", "from 1 to 2")),
    ("positions-on-some-commands-only-are-refused", Refused(13, "template/commands/command[2]", "`position` is missing")),
    ("precommands-have-positions-of-their-own", Accepted),
    ("repository-flags-are-words-in-any-case", Accepted),
    ("sha1sum-and-sha256sum-together-are-refused", Refused(10, "template/os/install/sha256sum", "only `md5sum`, `sha1sum` or `sha256sum`")),
    ("text-between-elements-is-refused", Refused(12, "template/packages", "text is not allowed here: `rope`")),
    ("the-architecture-armv7l-is-known", Accepted),
    ("the-architecture-i386-is-known", Accepted),
    ("the-architecture-ppc64-is-known", Accepted),
    ("the-architecture-ppc64le-is-known", Accepted),
    ("the-architecture-s390x-is-known", Accepted),
    ("the-suffix-t-means-tebibytes", Accepted),
    ("the-version-may-be-left-out", Accepted),
    ("the-version-may-have-blanks-around-it", Accepted),
    ("unused-namespace-declarations-are-ignored", Accepted),
    ("url-and-iso-together-are-refused", Refused(8, "template/os/install/iso", "unknown element")),
];

fn directory() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/templates")
}

fn fixture(name: &str) -> Result<LoadedTemplate, TemplateError> {
    load(directory().join(format!("{name}.tdl")))
}

fn good(name: &str) -> Template {
    fixture(name).unwrap().template
}

#[test]
fn every_document_keeps_the_promise_of_its_name() {
    let mut broken = Vec::new();
    for (name, outcome) in INDEX {
        let result = fixture(name);
        let kept = match (outcome, &result) {
            (Accepted, Ok(_)) => true,
            (Refused(line, path, message), Err(TemplateError::Invalid { problems, .. })) => {
                matches!(problems.first(), Some(first)
                if first.line == Some(*line) && first.path == *path && first.message.contains(message))
            },
            (
                NotWellFormed(line, part),
                Err(TemplateError::Syntax { line: found, message, .. }),
            ) => line == found && message.contains(part),
            _ => false,
        };
        if !kept {
            broken.push(format!(
                "{name}: {}",
                result.map_or_else(|e| e.to_string(), |_| "accepted".into())
            ));
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn every_document_is_in_the_index() {
    let mut files: Vec<String> = fs_err::read_dir(directory())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "tdl"))
        .map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    files.sort();
    let index: Vec<&str> = INDEX.iter().map(|(name, _)| *name).collect();
    assert_eq!(files, index);
}

#[test]
fn commands_follow_their_positions() {
    let template = good("commands-are-sorted-by-position");
    let names: Vec<&str> = template.commands.iter().map(|command| command.name.as_str()).collect();
    assert_eq!(names, ["first", "second", "third"]);
    let template = good("precommands-have-positions-of-their-own");
    assert_eq!(template.precommands[0].name, "a");
    assert_eq!(template.commands[0].name, "c");
}

#[test]
fn repository_flags_have_the_defaults_of_oz() {
    let template = good("repository-flags-are-words-in-any-case");
    let flags = |index: usize| {
        let repository = &template.repositories[index];
        (repository.signed, repository.persisted, repository.ssl_verify)
    };
    assert_eq!(flags(0), (true, false, true));
    assert_eq!(flags(1), (false, true, false));
}

#[test]
fn a_repeated_repository_keeps_its_place_and_is_a_warning() {
    let loaded = fixture("a-later-repository-replaces-one-of-the-same-name").unwrap();
    let urls: Vec<&str> =
        loaded.template.repositories.iter().map(|repository| repository.url.as_str()).collect();
    assert_eq!(urls, ["https://deb.example/new", "https://deb.example/mole"]);
    assert_eq!(loaded.warnings[0].line, Some(14));
}

#[test]
fn white_space_around_the_content_of_files_and_commands_is_dropped() {
    let template = good("a-file-is-raw-by-default");
    assert_eq!(template.files[0].source, Source::Raw("Mind the gap".into()));
    let template = good("a-command-is-raw-by-default");
    assert_eq!(template.commands[0].source, Source::Raw("set -e\ntrue".into()));
}

#[test]
fn references_and_cdata_join_into_one_text() {
    let template = good("character-references-and-cdata-are-text");
    assert_eq!(template.commands[0].source, Source::Raw("test 1 -lt 2 && true".into()));
    assert_eq!(template.commands[1].source, Source::Raw("echo Harbour <>".into()));
}

#[test]
fn disk_sizes_become_bytes() {
    let size = |name| good(name).disk_size_bytes;
    assert_eq!(size("a-bare-disk-size-counts-gib"), Some(10 << 30));
    assert_eq!(size("a-disk-size-may-be-in-exbibytes"), Some(2 << 60));
    assert_eq!(size("a-disk-size-may-be-in-bytes"), Some(4 << 20));
    assert_eq!(size("an-empty-disk-size-is-none"), None);
    let capped = fixture("a-disk-size-in-zettabytes-is-capped").unwrap();
    assert_eq!(capped.template.disk_size_bytes, Some(u64::MAX));
    assert!(capped.warnings[0].message.contains("`3ZB`"));
}

#[test]
fn the_medium_carries_checksum_and_extras() {
    let template = good("extras-come-from-the-medium");
    let Install::Iso { extras, .. } = template.os.install else {
        panic!("not a medium");
    };
    let kinds: Vec<bool> = extras.iter().map(|extra| extra.directory).collect();
    assert_eq!(kinds, [true, false, true]);
    let template = good("a-sha1sum-of-the-medium-is-allowed");
    let Install::Iso { checksum, .. } = template.os.install else {
        panic!("not a medium");
    };
    assert_eq!(checksum.unwrap().algorithm, "sha1sum");
}

#[test]
fn all_problems_are_reported_in_the_order_of_lines() {
    let text =
        "<template>\n <os>\n  <arch>amd64</arch>\n  <colour/>\n </os>\n <disk/>\n</template>";
    let error = parse_tdl(text, &Origin::named("harbour.tdl")).unwrap_err();
    insta::assert_snapshot!(error.to_string(), @r"
    `harbour.tdl` has 7 problems
      line 1: template: the element `name` is missing
      line 2: template/os: the element `install` is missing
      line 2: template/os: the element `name` is missing
      line 2: template/os: the element `version` is missing
      line 3: template/os/arch: expected `i386`, `x86_64`, `ppc64`, `ppc64le`, `aarch64`, `armv7l` or `s390x`, found `amd64`
      line 4: template/os/colour: unknown element, expected `name`, `version`, `arch`, `install`, `kernelparam`, `rootpw`, `key` or `icicle`
      line 6: template/disk: the element `size` is missing
    ");
    insta::assert_snapshot!(error.hints().join("\n"), @"the name in templates is `x86_64`");
}

//! What every template must fulfil, whatever syntax it was written in.

use base64::Engine;
use base64::alphabet;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
use plugin_api::template::{Command, File, Install, Repository, Source, Template};

use super::report::{Report, did_you_mean, one_of, quoted};

/// The architectures of TDL 1.0.
pub const ARCHITECTURES: [&str; 7] =
    ["i386", "x86_64", "ppc64", "ppc64le", "aarch64", "armv7l", "s390x"];

/// Algorithms of checksum lists of installation media.
pub(super) const CHECKSUMS: [&str; 3] = ["md5sum", "sha1sum", "sha256sum"];

/// Hosts that a repository cannot be on: in the image they mean the image itself.
const LOCAL_HOSTS: [&str; 3] = ["localhost", "127.0.0.1", "localhost.localdomain"];

/// Checks `template` and reports what is wrong at its place.
pub(super) fn check(template: &Template, report: &mut Report) {
    let mut check = Check { report };
    check.line("name", &template.name);
    check.text("description", template.description.as_deref());
    check.os(template);
    if template.disk_size_bytes == Some(0) {
        check.fail("disk_size_bytes", "a disk cannot have 0 bytes");
    }
    check_lists(template, report);
}

/// Checks what goes into the image, whatever system it has.
pub(super) fn check_lists(template: &Template, report: &mut Report) {
    let mut check = Check { report };
    for (index, package) in template.packages.iter().enumerate() {
        check.line(&format!("packages.{index}.name"), &package.name);
        let more = [
            ("repository", &package.repository),
            ("file", &package.file),
            ("arguments", &package.arguments),
        ];
        for (name, text) in more {
            check.text(&format!("packages.{index}.{name}"), text.as_deref());
        }
    }
    for (index, repository) in template.repositories.iter().enumerate() {
        check.repository(&format!("repositories.{index}"), repository);
    }
    for (index, file) in template.files.iter().enumerate() {
        check.file(&format!("files.{index}"), file);
    }
    for (list, commands) in
        [("precommands", &template.precommands), ("commands", &template.commands)]
    {
        for (index, command) in commands.iter().enumerate() {
            check.command(&format!("{list}.{index}"), command);
        }
    }
}

struct Check<'r> {
    report: &'r mut Report,
}

impl Check<'_> {
    fn fail(&mut self, key: &str, message: impl Into<String>) {
        self.fail_with(key, message, None);
    }

    fn fail_with(&mut self, key: &str, message: impl Into<String>, hint: Option<String>) {
        if !self.report.is_missing(key) {
            let place = self.report.place(key);
            self.report.problem_with(&place, message, hint);
        }
    }

    /// One line of text that is not empty.
    fn line(&mut self, key: &str, text: &str) {
        if text.is_empty() {
            self.fail(key, "must not be empty");
        }
        self.optional_line(key, Some(text));
    }

    fn optional_line(&mut self, key: &str, text: Option<&str>) {
        if text.is_some_and(|text| text.contains(char::is_control)) {
            self.fail(key, "must be one line without control characters");
        }
    }

    /// Text that both syntaxes can carry: XML 1.0 has no place for other control characters.
    fn text(&mut self, key: &str, text: Option<&str>) {
        let is_wrong = |c: char| {
            (c.is_control() && !matches!(c, '\n' | '\r' | '\t'))
                || matches!(c, '\u{fffe}' | '\u{ffff}')
        };
        if text.is_some_and(|text| text.contains(is_wrong)) {
            self.fail(key, "must be text without control characters");
        }
    }

    fn os(&mut self, template: &Template) {
        let os = &template.os;
        self.line("os.name", &os.name);
        self.line("os.version", &os.version);
        if !ARCHITECTURES.contains(&os.arch.as_str()) {
            let message =
                format!("expected {}, found {}", one_of(&ARCHITECTURES), quoted(&os.arch));
            self.fail_with("os.arch", message, architecture_hint(&os.arch));
        }
        self.optional_line("os.root_password", os.root_password.as_deref());
        self.optional_line("os.key", os.key.as_deref());
        self.text("os.kernel_parameters", os.kernel_parameters.as_deref());
        self.text("os.icicle_extra_command", os.icicle_extra_command.as_deref());
        match &os.install {
            Install::Url { url } => self.line("os.install.url", url),
            Install::Iso { iso, checksum, extras } => {
                self.line("os.install.iso", iso);
                if let Some(checksum) = checksum {
                    if !CHECKSUMS.contains(&checksum.algorithm.as_str()) {
                        let found = quoted(&checksum.algorithm);
                        let message = format!("expected {}, found {found}", one_of(&CHECKSUMS));
                        self.fail("os.install.checksum", message);
                    }
                    self.line("os.install.checksum", &checksum.url);
                }
                for (index, extra) in extras.iter().enumerate() {
                    let key = format!("os.install.extras.{index}");
                    self.line(&format!("{key}.source"), &extra.source);
                    self.line(&format!("{key}.destination"), &extra.destination);
                }
            },
            _ => {},
        }
    }

    fn repository(&mut self, key: &str, repository: &Repository) {
        self.line(&format!("{key}.name"), &repository.name);
        let url_key = format!("{key}.url");
        self.line(&url_key, &repository.url);
        let host = host(&repository.url);
        if LOCAL_HOSTS.contains(&host) {
            let message = format!("`{host}` is not reachable from the image");
            let hint = "name the address under which the image reaches the repository";
            self.fail_with(&url_key, message, Some(hint.into()));
        }
        if let Some(armoured) = &repository.key {
            let key = format!("{key}.key");
            if armoured.contains("PRIVATE KEY BLOCK") {
                self.fail(&key, "is a private key, the public one is wanted");
            } else if !armoured.contains("-----BEGIN PGP PUBLIC KEY BLOCK-----") {
                let hint = "gpg --armor --export KEYID prints it";
                self.fail_with(&key, "is not an armoured OpenPGP public key", Some(hint.into()));
            }
        }
    }

    fn file(&mut self, key: &str, file: &File) {
        let name_key = format!("{key}.name");
        self.line(&name_key, &file.name);
        let found = quoted(&file.name);
        if !file.name.is_empty() {
            if !file.name.starts_with('/') {
                self.fail(&name_key, format!("must be an absolute path, found {found}"));
            } else if file.name.ends_with('/') {
                self.fail(&name_key, format!("must name a file, found {found}"));
            }
        }
        if file.name.split('/').any(|part| part == "..") {
            self.fail(&name_key, format!("must not contain `..`, found {found}"));
        }
        if let Some(mode) = file.mode.filter(|mode| *mode > 0o7777) {
            let message = format!("permission bits end at `0o7777`, found `{mode:#o}`");
            self.fail(&format!("{key}.mode"), message);
        }
        self.source(key, &file.source);
    }

    fn command(&mut self, key: &str, command: &Command) {
        self.line(&format!("{key}.name"), &command.name);
        self.source(key, &command.source);
        let empty = match &command.source {
            Source::Raw(text) => text.trim().is_empty(),
            Source::Base64(text) => text.is_empty(),
            _ => false,
        };
        if empty {
            self.fail(&format!("{key}.source"), "a command must not be empty");
        }
    }

    fn source(&mut self, key: &str, source: &Source) {
        let key = format!("{key}.source");
        match source {
            Source::Url(url) if !has_scheme(url) => {
                let message =
                    format!("expected an address like `https://…`, found {}", quoted(url));
                self.fail(&key, message);
            },
            Source::Base64(text) => {
                let packed: String = text.split_whitespace().collect();
                if STANDARD.decode(packed).is_err() {
                    self.fail(&key, "is not base64");
                }
            },
            _ => {},
        }
    }
}

/// What Debian, Windows and others call the architectures.
pub(super) fn architecture_hint(found: &str) -> Option<String> {
    let lower = found.trim().to_ascii_lowercase();
    let name = match lower.as_str() {
        "amd64" | "x86-64" | "x64" | "em64t" => "x86_64",
        "i486" | "i586" | "i686" | "x86" | "ia32" => "i386",
        "arm64" => "aarch64",
        "armhf" | "armv7" | "arm" => "armv7l",
        "ppc64el" | "powerpc64le" => "ppc64le",
        "powerpc64" => "ppc64",
        other => return did_you_mean(other, &ARCHITECTURES),
    };
    Some(format!("the name in templates is `{name}`"))
}

/// The authority of an address, exactly as it stands: `host:port` is not `host`.
fn host(url: &str) -> &str {
    let rest = url.split_once("://").map_or("", |(_, rest)| rest);
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    &rest[..end]
}

fn has_scheme(url: &str) -> bool {
    url.split_once("://").is_some_and(|(scheme, rest)| {
        scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'))
            && !rest.is_empty()
    })
}

/// Decodes base64 as leniently as Oz does (surplus padding and bits are ignored, missing padding
/// is not) and encodes it again in the one canonical way.
pub(super) fn canonical_base64(text: &str) -> Option<String> {
    let data = text.trim_end_matches('=');
    let padding = text.len() - data.len();
    if data.is_empty() || padding > 2 || padding < (4 - data.len() % 4) % 4 {
        return None;
    }
    let config = GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::RequireNone);
    let bytes = GeneralPurpose::new(&alphabet::STANDARD, config).decode(data).ok()?;
    Some(STANDARD.encode(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn surplus_padding_is_ignored_and_missing_padding_is_not() {
        assert_eq!(canonical_base64("QUJD").as_deref(), Some("QUJD"));
        assert_eq!(canonical_base64("QUJD==").as_deref(), Some("QUJD"));
        assert_eq!(canonical_base64("QR==").as_deref(), Some("QQ=="));
        assert_eq!(canonical_base64("QUI==").as_deref(), Some("QUI="));
        for bad in ["QQ", "QQ=", "A", "QUJDQ", "QUJDQ===", "=", "Q Q=", "QQ==QQ=="] {
            assert_eq!(canonical_base64(bad), None, "{bad}");
        }
    }

    #[test]
    fn only_the_bare_local_host_is_local() {
        assert_eq!(host("http://localhost/debian"), "localhost");
        assert_eq!(host("https://127.0.0.1?x"), "127.0.0.1");
        assert_eq!(host("http://localhost:8080/debian"), "localhost:8080");
        assert_eq!(host("deb http://mirror.example/ bookworm main"), "mirror.example");
        assert_eq!(host("mirror:debian"), "");
    }
}

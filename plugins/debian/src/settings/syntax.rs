//! What names and addresses may look like.

use plugin_api::template::{Install, Package, Source};
use plugin_api::{DelegateError, Template};

/// Notes everything in `template` that this plugin cannot do.
pub(super) fn check_template(template: &Template, problems: &mut Vec<DelegateError>) {
    if matches!(template.os.install, Install::Iso { .. }) {
        problems.push(DelegateError::unsupported("cannot install from an ISO image").hint(
            "use install type `url` with the address of a package archive, or `mirror:debian`",
        ));
    }
    for package in &template.packages {
        check_template_package(package, template, problems);
    }
    for file in &template.files {
        if !is_absolute(&file.name) {
            let name = &file.name;
            problems.push(DelegateError::invalid_input(format!(
                "file `{name}`: expected an absolute path without `..`"
            )));
        }
        check_source(&file.source, "file", &file.name, problems);
    }
    for command in template.precommands.iter().chain(&template.commands) {
        check_source(&command.source, "command", &command.name, problems);
    }
    if let Some(password) = &template.os.root_password
        && password.contains(['\n', ':'])
    {
        problems
            .push(DelegateError::invalid_input("the root password holds a colon or a line break"));
    }
}

fn check_template_package(
    package: &Package,
    template: &Template,
    problems: &mut Vec<DelegateError>,
) {
    let name = &package.name;
    let place = format!("package `{name}`");
    check_package(name, "template", problems);
    if let Some(file) = &package.file
        && !is_web_address(file)
    {
        problems.push(
            DelegateError::unsupported(format!("{place}: `{file}` is not a web address")).hint(
                "a template must not read files of the build machine: name an http(s) address",
            ),
        );
    }
    if let Some(repository) = &package.repository
        && !template.repositories.iter().any(|known| known.name == *repository)
    {
        problems.push(DelegateError::invalid_input(format!(
            "{place}: there is no repository `{repository}` in the template"
        )));
    }
    for argument in package.arguments.as_deref().unwrap_or_default().split_whitespace() {
        if !ARGUMENTS.contains(&argument) {
            problems.push(
                DelegateError::unsupported(format!(
                    "{place}: argument `{argument}` is not supported"
                ))
                .hint(format!("supported are `{}`", ARGUMENTS.join("`, `"))),
            );
        }
    }
}

/// Arguments of a package that are passed on; any other could reach outside the image.
const ARGUMENTS: &[&str] =
    &["--install-recommends", "--no-install-recommends", "--install-suggests"];

fn check_source(source: &Source, kind: &str, name: &str, problems: &mut Vec<DelegateError>) {
    let problem = match source {
        Source::Url(url) if !is_web_address(url) => format!("`{url}` is not a web address"),
        Source::Base64(_) if source.bytes().is_none() => "its base64 does not decode".to_owned(),
        _ => return,
    };
    problems.push(DelegateError::invalid_input(format!("{kind} `{name}`: {problem}")));
}

/// Notes a package name that Debian's policy does not allow. `name:arch`, `name=version`,
/// `name/suite` and a `-` behind it (not to be installed) are apt's additions.
pub fn check_package(name: &str, place: &str, problems: &mut Vec<DelegateError>) {
    let bare = name.split([':', '=', '/']).next().unwrap_or_default();
    let clean = name.chars().all(|c| c.is_ascii_graphic() && !"'\"`$;&|<>()*?[]{}\\".contains(c));
    if !is_package_name(bare) || !clean {
        problems.push(
            DelegateError::invalid_input(format!("{place}: `{name}` is not the name of a package"))
                .hint("names have lower-case letters, digits, `+`, `-` and `.`"),
        );
    }
}

/// Debian policy 5.6.1; one letter is allowed because such packages exist.
pub(super) fn is_package_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "+-.".contains(c))
}

/// Whether `name` is a host name (RFC 1123), with or without a domain.
pub fn is_host_name(name: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    name.len() <= 253 && name.split('.').all(label)
}

/// A host name made of a template's name.
pub(super) fn host_name_from(name: &str) -> String {
    let host: String = name
        .to_lowercase()
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .take(63)
        .collect();
    match host.trim_matches('-') {
        "" => "debian".to_owned(),
        host => host.to_owned(),
    }
}

/// Whether apt can read an archive at `address`, and nothing in it ends a word of `sources.list`.
pub(crate) fn is_archive_address(address: &str) -> bool {
    let schemes = ["http://", "https://", "file:/", "copy:/", "ftp://", "mirror+http"];
    schemes.iter().any(|scheme| address.starts_with(scheme)) && is_one_word(address)
}

fn is_web_address(address: &str) -> bool {
    (address.starts_with("http://") || address.starts_with("https://")) && is_one_word(address)
}

fn is_one_word(text: &str) -> bool {
    text.chars().all(|c| !c.is_whitespace() && !c.is_control() && !"[]\"'".contains(c))
}

fn is_absolute(path: &str) -> bool {
    path.starts_with('/')
        && path.len() > 1
        && !path.contains('\0')
        && !path.split('/').any(|name| name == "..")
}

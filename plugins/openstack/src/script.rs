//! What a template says, as a script that cloud-init runs in a server.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use plugin_api::DelegateError;
use plugin_api::template::{File, Package, Source, Template};

/// What the console shows when everything was done.
pub(crate) const SUCCESS: &str = "imageforge: everything in the template is done";
/// Most bytes that Nova takes, as base64.
const MAX_BYTES: usize = 65_535;

/// A server that stopped tells that the script has ended; how it ended is on the console. What
/// cloud-init knows of this server is forgotten last, so that servers of the image begin anew.
const BEGIN: &str = r#"#!/bin/sh
trap 'shutdown -P now' EXIT
set -eu
export DEBIAN_FRONTEND=noninteractive
work=$(mktemp -d)
install_packages() {
    if command -v apt-get >/dev/null; then
        apt-get update
        apt-get install -y --no-install-recommends "$@"
    elif command -v dnf >/dev/null; then
        dnf install -y "$@"
    else
        yum install -y "$@"
    fi
}
run() {
    head -c 2 "$work/command" | grep -q '^#!' || sed -i '1i #!/bin/sh' "$work/command"
    chmod 700 "$work/command"
    "$work/command"
}
"#;
const END: &str = "rm -rf \"$work\"\ncloud-init clean --logs\nsync\n";

/// Whether there is nothing to do.
pub(crate) fn is_empty(template: &Template) -> bool {
    template.packages.is_empty()
        && template.files.is_empty()
        && template.precommands.is_empty()
        && template.commands.is_empty()
}

/// The script in base64, as Nova takes it; `None` when there is nothing to do.
///
/// # Errors
/// `Unsupported` for what cannot be done this way.
pub(crate) fn of_template(template: &Template) -> Result<Option<String>, DelegateError> {
    if !template.repositories.is_empty() {
        return Err(DelegateError::unsupported("a snapshot cannot add package repositories")
            .hint("add them by a command before packages, or push an image instead"));
    }
    if is_empty(template) {
        return Ok(None);
    }
    if let Some(package) = template.packages.iter().find(|package| is_special(package)) {
        return Err(DelegateError::unsupported(format!(
            "a snapshot can only install packages by name, and `{}` has more to it",
            package.name
        ))
        .hint("install it by a command, or push an image instead"));
    }
    let mut parts = vec![BEGIN.to_owned()];
    for command in &template.precommands {
        parts.push(run(&command.name, &command.source)?);
    }
    let packages: Vec<String> =
        template.packages.iter().map(|package| quoted(&package.name)).collect();
    if !packages.is_empty() {
        parts.push(format!("install_packages {}\n", packages.join(" ")));
    }
    for file in &template.files {
        parts.push(write(file)?);
    }
    for command in &template.commands {
        parts.push(run(&command.name, &command.source)?);
    }
    parts.push(format!("{END}echo '{SUCCESS}' > /dev/console\n"));
    let script = STANDARD.encode(parts.concat());
    if script.len() > MAX_BYTES {
        return Err(DelegateError::unsupported(format!(
            "the template is too long for a snapshot: {} bytes, Nova takes {MAX_BYTES}",
            script.len()
        ))
        .hint("have a command fetch what is large, or push an image instead"));
    }
    Ok(Some(script))
}

/// Whether a package is not just whatever the system's own sources have.
fn is_special(package: &Package) -> bool {
    package.repository.is_some() || package.file.is_some() || package.arguments.is_some()
}

fn write(file: &File) -> Result<String, DelegateError> {
    let name = quoted(&file.name);
    let content = content(&file.name, &file.source)?;
    let mode = file.mode.unwrap_or(0o644) & 0o7777;
    Ok(format!(
        "mkdir -p \"$(dirname {name})\"\nbase64 -d > {name} <<'END'\n{content}\nEND\nchmod {mode:o} {name}\n"
    ))
}

fn run(name: &str, source: &Source) -> Result<String, DelegateError> {
    let content = content(name, source)?;
    Ok(format!("base64 -d > \"$work/command\" <<'END'\n{content}\nEND\nrun\n"))
}

fn content(name: &str, source: &Source) -> Result<String, DelegateError> {
    let bytes = source.bytes().ok_or_else(|| {
        DelegateError::unsupported(format!(
            "`{name}` comes from elsewhere, which a snapshot cannot fetch"
        ))
        .hint("have a command fetch it, or push an image instead")
    })?;
    Ok(STANDARD.encode(bytes))
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use plugin_api::template::{Command, Repository};

    use super::*;

    fn script(change: impl FnOnce(&mut Template)) -> Result<Option<String>, DelegateError> {
        let mut template = Template::default();
        change(&mut template);
        let script = of_template(&template)?;
        Ok(script.map(|script| String::from_utf8(STANDARD.decode(script).unwrap()).unwrap()))
    }

    #[test]
    fn everything_is_in_the_script_in_its_order_and_success_comes_last() {
        let script = script(|template| {
            let raw = |text: &str| Source::Raw(text.to_owned());
            template.commands.push(Command::new("last", raw("echo last")));
            template.files.push(File::new("/etc/it's", raw("a file")));
            template.packages.push(Package::new("nginx"));
            template.precommands.push(Command::new("first", raw("echo first")));
        });
        let script = script.unwrap().unwrap();
        let encode = |text: &str| STANDARD.encode(text);
        let places = [
            encode("echo first"),
            "install_packages 'nginx'".to_owned(),
            format!("base64 -d > '/etc/it'\\''s' <<'END'\n{}\n", encode("a file")),
            encode("echo last"),
            SUCCESS.to_owned(),
        ]
        .map(|part| script.find(&part).unwrap_or_else(|| panic!("{part}: {script}")));
        assert!(places.is_sorted(), "{places:?}");
        assert!(script.ends_with("> /dev/console\n"));
    }

    #[test]
    fn what_a_script_cannot_do_is_refused() {
        assert_eq!(script(|_| {}).unwrap(), None);
        let from_elsewhere = Source::Url("http://a".to_owned());
        script(|template| template.files.push(File::new("/a", from_elsewhere))).unwrap_err();
        script(|template| template.repositories.push(Repository::default())).unwrap_err();
        script(|template| {
            let mut package = Package::new("nginx");
            package.file = Some("/srv/nginx.deb".to_owned());
            template.packages.push(package);
        })
        .unwrap_err();
        let long = Source::Raw("x".repeat(MAX_BYTES));
        script(|template| template.commands.push(Command::new("a", long))).unwrap_err();
    }
}

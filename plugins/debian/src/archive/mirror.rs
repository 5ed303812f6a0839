//! The addresses of the archives: given, or those that the build machine itself uses.

use camino::{Utf8Path, Utf8PathBuf};
use fs_err as fs;
use plugin_api::{Builder, DelegateError};
use plugin_kit::packages::mirror;

use super::write_atomically;
use crate::run::run_line;
use crate::settings::Settings;

/// Addresses of the archives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mirrors {
    /// The distribution.
    pub main: String,
    /// Its security updates.
    pub security: String,
}

impl Mirrors {
    /// The addresses for an apt that works from outside of the image.
    #[must_use]
    pub fn outside(&self) -> Self {
        Self { main: outside(&self.main), security: outside(&self.security) }
    }
}

/// Packages behind `file:` are installed from where they lie, which the image cannot see; behind
/// `copy:` they are copied first.
pub fn outside(address: &str) -> String {
    match address.strip_prefix("file:") {
        Some(path) => format!("copy:{path}"),
        None => address.to_owned(),
    }
}

/// The addresses that `settings` gives, completed by those of the build machine.
///
/// # Errors
/// An address is missing and the build machine uses no Debian archive.
pub fn resolve(builder: &Builder, settings: &Settings) -> Result<Mirrors, DelegateError> {
    let given = settings.security_mirror.clone();
    if let Some(main) = &settings.mirror {
        let security = given.unwrap_or_else(|| security_beside(main));
        return Ok(Mirrors { main: main.clone(), security });
    }
    let machine = of_machine(builder)?;
    let security = given.or(machine.security).unwrap_or_else(|| security_beside(&machine.main));
    Ok(Mirrors { main: machine.main, security })
}

/// The build machine's own archive. apt needs a second to say it, so the answer is kept until its
/// configuration or its lists change.
fn of_machine(builder: &Builder) -> Result<mirror::Mirror, DelegateError> {
    let kept = builder.cache_dir("debian")?.join("machine-archive");
    let state = state();
    let known = fs::read_to_string(&kept).unwrap_or_default();
    let answer = match known.split_once('\n') {
        Some((known, answer)) if known == state => answer.to_owned(),
        _ => run_line(builder, &mirror::query())?,
    };
    let machine = mirror::from_apt(&answer).map_err(|error| {
        let told =
            DelegateError::missing_requirement("this machine's apt knows no archive of Debian");
        let told = match error.hint() {
            Some(known) => told.hint(known),
            None => told,
        };
        told.caused_by(error)
            .hint("or name an archive with the parameters `mirror` and `security_mirror`")
    })?;
    write_atomically(&kept, &format!("{state}\n{answer}"))?;
    Ok(machine)
}

/// When apt's sources and lists changed last.
fn state() -> String {
    let mut paths: Vec<Utf8PathBuf> =
        ["/etc/apt/sources.list", "/etc/apt/sources.list.d", "/var/lib/apt/lists"]
            .map(Into::into)
            .into();
    if let Ok(entries) = Utf8Path::new("/etc/apt/sources.list.d").read_dir_utf8() {
        paths.extend(entries.flatten().map(|entry| entry.path().to_owned()));
    }
    paths.sort_unstable();
    let changed = |path: &Utf8PathBuf| {
        let time = fs::metadata(path).and_then(|meta| meta.modified()).ok()?;
        let age = time.duration_since(std::time::UNIX_EPOCH).ok()?;
        Some(format!("{path}@{}", age.as_nanos()))
    };
    paths.iter().filter_map(changed).collect::<Vec<_>>().join(" ")
}

/// Debian's mirrors keep the security archive beside the main one; Ubuntu has both in one.
fn security_beside(main: &str) -> String {
    match main.strip_suffix("/debian") {
        Some(site) => format!("{site}/debian-security"),
        None => main.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::{Mirrors, security_beside};

    #[test]
    fn local_archives_are_copied_into_the_image() {
        let local =
            Mirrors { main: "file:/srv/debian".into(), security: "http://s.example".into() };
        let outside = local.outside();
        assert_eq!(outside.main, "copy:/srv/debian");
        assert_eq!(outside.security, "http://s.example");
    }

    #[test]
    fn the_security_archive_lies_beside_the_main_one() {
        assert_eq!(security_beside("http://m.example/debian"), "http://m.example/debian-security");
        assert_eq!(security_beside("http://m.example/ubuntu"), "http://m.example/ubuntu");
    }
}

//! The addresses of the archives: given, or those that the build machine itself uses.

use plugin_api::{Builder, DelegateError};
use plugin_kit::packages::mirror;

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
    let answer = run_line(builder, &mirror::query())?;
    let machine = mirror::from_apt(&answer).map_err(|error| {
        let hint = "or name an archive with the parameters `mirror` and `security_mirror`";
        let told = DelegateError::missing_requirement("this machine's apt knows no archive of Debian");
        let told = error.hint().map_or(told.clone(), |known| told.hint(known));
        told.caused_by(error).hint(hint)
    })?;
    let security = given.or(machine.security).unwrap_or_else(|| security_beside(&machine.main));
    Ok(Mirrors { main: machine.main, security })
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
    use super::security_beside;

    #[test]
    fn the_security_archive_lies_beside_the_main_one() {
        assert_eq!(security_beside("http://m.example/debian"), "http://m.example/debian-security");
        assert_eq!(security_beside("http://m.example/ubuntu"), "http://m.example/ubuntu");
    }
}

//! The Debian archive that this machine uses, as apt knows it.
//!
//! apt itself is asked for its index targets, which covers every form of sources list. An archive is
//! recognised by what its signed release file says of itself; a mirror may have any address.

use super::PackageError;
use crate::run::{CommandLine, Run};

/// The addresses of a Debian archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mirror {
    /// The main archive.
    pub main: String,
    /// The archive of security updates, if apt is configured for one.
    pub security: Option<String>,
}

/// The name that stands for the machine's own mirror in parameters: `mirror:debian`.
pub const MACHINE_MIRROR: &str = "mirror:debian";

/// Asks apt for its sources; [`from_apt`] reads the answer.
pub fn query() -> CommandLine {
    CommandLine::new("apt-get").args([
        "indextargets",
        "--format",
        "$(ORIGIN)\t$(LABEL)\t$(REPO_URI)",
        "Created-By: Packages",
    ])
}

/// Reads the answer of [`query`].
///
/// # Errors
/// No source is an archive of Debian.
pub fn from_apt(answer: &str) -> Result<Mirror, PackageError> {
    let uri_of = |label: &str| {
        answer.lines().find_map(|line| {
            let mut fields = line.split('\t');
            let matches = fields.next() == Some("Debian") && fields.next() == Some(label);
            let uri = fields.next().filter(|uri| matches && !uri.is_empty())?;
            Some(uri.trim_end_matches('/').to_owned())
        })
    };
    let main = uri_of("Debian").ok_or(PackageError::NoMirror)?;
    Ok(Mirror { main, security: uri_of("Debian-Security") })
}

/// The mirror that the parameter `name` means: [`MACHINE_MIRROR`], or the address of a main archive.
///
/// # Errors
/// apt cannot be asked, or knows no archive of Debian.
pub fn resolve(name: &str, runner: &dyn Run) -> Result<Mirror, PackageError> {
    if name != MACHINE_MIRROR {
        return Ok(Mirror { main: name.trim_end_matches('/').to_owned(), security: None });
    }
    let answer = runner.run(&query()).map_err(|source| PackageError::Run {
        action: "ask apt for its sources".to_owned(),
        source,
    })?;
    from_apt(&answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWER: &str = "Tools\tTools\thttp://tools.invalid/debian/\n\
        \t\thttp://never-updated.invalid/debian/\n\
        Debian\tDebian-Security\thttp://mirror.invalid/security/\n\
        Debian\tDebian Backports\thttp://mirror.invalid/backports/\n\
        Debian\tDebian\thttp://mirror.invalid/any/path/\n";

    #[test]
    fn the_main_archive_is_known_by_its_label_and_not_by_its_address() {
        let mirror = from_apt(ANSWER).unwrap();
        assert_eq!(mirror.main, "http://mirror.invalid/any/path");
        assert_eq!(mirror.security.as_deref(), Some("http://mirror.invalid/security"));
    }

    #[test]
    fn a_machine_without_debian_sources_is_told_what_to_do() {
        let error = from_apt("Tools\tTools\thttp://tools.invalid/\n").unwrap_err();
        assert!(matches!(error, PackageError::NoMirror));
        assert!(error.hint().unwrap().contains("apt-get update"));
    }

    #[test]
    fn a_mirror_by_address_needs_no_question() {
        let nobody = |_: &CommandLine| -> Result<String, crate::run::RunError> {
            Err("must not run".into())
        };
        let mirror = resolve("http://mirror.invalid/debian/", &nobody).unwrap();
        assert_eq!(mirror.main, "http://mirror.invalid/debian");
        assert!(resolve(MACHINE_MIRROR, &nobody).is_err());
    }
}

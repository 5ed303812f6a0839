//! Which suite, archive names and packages an operating system of a template stands for.
//!
//! The facts are Debian's and Ubuntu's: code names, how their security suites are called, and which
//! package is the kernel.

use plugin_api::template::Os;

/// One of the two families whose archives this plugin reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// Debian.
    Debian,
    /// Ubuntu.
    Ubuntu,
}

/// A release of Debian or Ubuntu for one architecture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Distribution {
    /// Debian or Ubuntu.
    pub family: Family,
    /// The name of the suite in the archive: `bookworm`.
    pub suite: String,
    /// Its architecture, by Debian's name: `amd64`.
    pub arch: String,
}

impl Distribution {
    /// The release that `os` names; `suite` overrides its code name.
    ///
    /// # Errors
    /// A sentence for each thing that is not known.
    pub fn of(os: &Os, suite: Option<&str>) -> Result<Self, Vec<String>> {
        let mut problems = Vec::new();
        let family =
            if os.name.eq_ignore_ascii_case("ubuntu") { Family::Ubuntu } else { Family::Debian };
        let known = suite.map(str::to_owned).or_else(|| {
            let names = match family {
                Family::Debian => DEBIAN,
                Family::Ubuntu => UBUNTU,
            };
            let version = os.version.trim();
            names
                .iter()
                .find(|(number, name)| *number == version || name.eq_ignore_ascii_case(version))
                .map(|(_, name)| (*name).to_owned())
        });
        if known.is_none() {
            problems.push(format!("{} `{}` has no suite that is known here", os.name, os.version));
        }
        let arch = debian_arch(&os.arch);
        if arch.is_none() {
            problems.push(format!("architecture `{}` is not one of Debian's", os.arch));
        }
        match (known, arch) {
            (Some(suite), Some(arch)) => Ok(Self { family, suite, arch: arch.to_owned() }),
            _ => Err(problems),
        }
    }

    /// Id in `os-release` and in package URLs.
    pub fn id(&self) -> &'static str {
        match self.family {
            Family::Debian => "debian",
            Family::Ubuntu => "ubuntu",
        }
    }

    /// The keyring that signs the archive, as its package installs it.
    pub fn keyring(&self) -> &'static str {
        match self.family {
            Family::Debian => "/usr/share/keyrings/debian-archive-keyring.gpg",
            Family::Ubuntu => "/usr/share/keyrings/ubuntu-archive-keyring.gpg",
        }
    }

    /// The Debian package with [`Self::keyring`].
    pub fn keyring_package(&self) -> &'static str {
        match self.family {
            Family::Debian => "debian-archive-keyring",
            Family::Ubuntu => "ubuntu-keyring",
        }
    }

    /// Whether the suite has a security suite and an updates suite beside it.
    pub fn is_stable(&self) -> bool {
        !matches!(self.suite.as_str(), "sid" | "unstable" | "testing" | "experimental" | "devel")
    }

    /// The suite with security updates.
    pub fn security_suite(&self) -> String {
        format!("{}-security", self.suite)
    }

    /// Components that are used when none are named.
    pub fn components(&self) -> &'static [&'static str] {
        match self.family {
            Family::Debian => &["main"],
            Family::Ubuntu => &["main", "universe"],
        }
    }

    /// What every image contains besides the essential packages and the kernel: an init system, a
    /// login, a network that configures itself.
    pub fn base_packages(&self) -> Vec<&'static str> {
        let mut packages = vec![
            "systemd-sysv",
            "dbus",
            "e2fsprogs",
            "fdisk",
            "iproute2",
            "kmod",
            "login",
            "passwd",
            "udev",
        ];
        // Debian 11 and Ubuntu up to 22.04 ship the resolver within `systemd`.
        if !matches!(self.suite.as_str(), "bullseye" | "focal" | "jammy") {
            packages.push("systemd-resolved");
        }
        packages
    }

    /// The package of the kernel flavour `flavour` (`generic`, `cloud`), or `flavour` itself when it
    /// is the name of a kernel package.
    pub fn kernel_package(&self, flavour: &str) -> Option<String> {
        if flavour.starts_with("linux-image-") {
            return Some(flavour.to_owned());
        }
        match (self.family, flavour, self.arch.as_str()) {
            (Family::Debian, "generic", "i386") => Some("linux-image-686-pae".to_owned()),
            (Family::Debian, "generic", arch) => Some(format!("linux-image-{arch}")),
            (Family::Debian, "cloud", arch @ ("amd64" | "arm64")) => {
                Some(format!("linux-image-cloud-{arch}"))
            },
            (Family::Ubuntu, "generic", _) => Some("linux-image-generic".to_owned()),
            (Family::Ubuntu, "cloud", _) => Some("linux-image-virtual".to_owned()),
            _ => None,
        }
    }

    /// The device of the first serial port.
    pub fn serial_console(&self) -> &'static str {
        match self.arch.as_str() {
            "arm64" | "armhf" => "ttyAMA0",
            "ppc64el" => "hvc0",
            "s390x" => "ttysclp0",
            _ => "ttyS0",
        }
    }
}

/// Debian's name of a TDL architecture; Debian's own names are accepted as well.
pub fn debian_arch(tdl: &str) -> Option<&'static str> {
    Some(match tdl {
        "x86_64" | "amd64" => "amd64",
        "i386" | "i686" => "i386",
        "aarch64" | "arm64" => "arm64",
        "armv7l" | "armhf" => "armhf",
        "ppc64le" | "ppc64el" => "ppc64el",
        "s390x" => "s390x",
        "riscv64" => "riscv64",
        _ => return None,
    })
}

/// Releases of Debian that this plugin is tested with (Debian release notes, 2026-11).
const DEBIAN: &[(&str, &str)] = &[("11", "bullseye"), ("12", "bookworm"), ("13", "trixie")];
/// Releases of Ubuntu with long support; others are named by the parameter `suite`.
const UBUNTU: &[(&str, &str)] = &[("20.04", "focal"), ("22.04", "jammy"), ("24.04", "noble")];

#[cfg(test)]
mod tests {
    use super::*;

    fn os(name: &str, version: &str, arch: &str) -> Os {
        let mut os = Os::default();
        os.name = name.into();
        os.version = version.into();
        os.arch = arch.into();
        os
    }

    #[test]
    fn a_version_number_names_a_suite_and_an_architecture() {
        let found = Distribution::of(&os("Debian", "12", "x86_64"), None).unwrap();
        assert_eq!((found.suite.as_str(), found.arch.as_str()), ("bookworm", "amd64"));
        assert_eq!(found.kernel_package("cloud").unwrap(), "linux-image-cloud-amd64");
        assert_eq!(found.security_suite(), "bookworm-security");
    }

    #[test]
    fn a_suite_given_by_parameter_wins_over_the_version() {
        let found = Distribution::of(&os("Ubuntu", "26.04", "aarch64"), Some("next")).unwrap();
        assert_eq!((found.suite.as_str(), found.arch.as_str()), ("next", "arm64"));
        assert_eq!(found.kernel_package("generic").unwrap(), "linux-image-generic");
    }

    #[test]
    fn everything_unknown_is_named_at_once() {
        let problems = Distribution::of(&os("Debian", "3.1", "m68k"), None).unwrap_err();
        assert_eq!(
            problems,
            [
                "Debian `3.1` has no suite that is known here",
                "architecture `m68k` is not one of Debian's"
            ]
        );
    }

    #[test]
    fn there_is_no_cloud_kernel_for_every_architecture() {
        let found = Distribution::of(&os("Debian", "13", "i386"), None).unwrap();
        assert_eq!(found.kernel_package("cloud"), None);
        assert_eq!(found.kernel_package("generic").unwrap(), "linux-image-686-pae");
        assert_eq!(
            found.kernel_package("linux-image-rt-686-pae").unwrap(),
            "linux-image-rt-686-pae"
        );
    }
}

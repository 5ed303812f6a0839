//! A private apt: its own sources, lists and status, nothing of the machine's but its proxies.
//!
//! It works as an ordinary user, for any suite and architecture, and never touches the machine's
//! package state.

use super::{Archive, PackageError};
use crate::run::CommandLine;
use camino::{Utf8Path, Utf8PathBuf};

/// The folder of a private apt.
#[derive(Debug)]
pub(super) struct PrivateApt {
    config: Utf8PathBuf,
}

/// One line of `apt-get download --print-uris`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Download {
    pub(super) uri: String,
    pub(super) file: String,
    pub(super) sha256: String,
}

impl PrivateApt {
    /// Writes the configuration for `archive` into `folder`.
    pub(super) fn create(folder: &Utf8Path, archive: &Archive) -> std::io::Result<Self> {
        for part in ["lists/partial", "archives/partial"] {
            fs_err::create_dir_all(folder.join(part))?;
        }
        fs_err::write(folder.join("status"), "")?;
        fs_err::write(folder.join("sources.list"), archive.sources_list())?;
        let config = folder.join("apt.conf");
        fs_err::write(&config, configuration(folder, &archive.architecture))?;
        Ok(Self { config })
    }

    pub(super) fn update(&self) -> CommandLine {
        let strict = "APT::Update::Error-Mode=any";
        self.command("apt-get").args(["-q", "-o", strict, "update"])
    }

    /// Asks where the packages `names` are; [`downloads`] reads the answer.
    pub(super) fn print_uris(&self, names: &[String]) -> CommandLine {
        self.command("apt-get").args(["-q", "download", "--print-uris", "--"]).args(names)
    }

    /// Asks for the control records of `names`; [`kernel_dependencies`] reads the answer.
    pub(super) fn show(&self, names: &[String]) -> CommandLine {
        self.command("apt-cache").args(["show", "--no-all-versions", "--"]).args(names)
    }

    /// Downloads all of `wanted` into `folder`, verified.
    pub(super) fn fetch(&self, wanted: &[&Download], folder: &Utf8Path) -> CommandLine {
        wanted.iter().fold(
            self.command("/usr/lib/apt/apt-helper").args(["download-file"]),
            |command, item| {
                let target = folder.join(&item.sha256).into_string();
                command.args([item.uri.clone(), target, format!("SHA256:{}", item.sha256)])
            },
        )
    }

    fn command(&self, program: &str) -> CommandLine {
        CommandLine::new(program).args(["-c", self.config.as_str()]).env("LC_ALL", "C.UTF-8")
    }
}

/// Reads `'URI' FILE SIZE SHA256:DIGEST` lines.
pub(super) fn downloads(answer: &str) -> Result<Vec<Download>, PackageError> {
    let parse = |line: &str| {
        let mut words = line.split_whitespace();
        let uri = words.next()?.strip_prefix('\'')?.strip_suffix('\'')?.to_owned();
        let file = words.next()?.to_owned();
        let sha256 = words.nth(1)?.strip_prefix("SHA256:")?.to_owned();
        let hex = sha256.len() == 64 && sha256.bytes().all(|byte| byte.is_ascii_hexdigit());
        hex.then_some(Download { uri, file, sha256 })
    };
    answer
        .lines()
        .filter(|line| line.starts_with('\''))
        .map(|line| {
            parse(line).ok_or_else(|| PackageError::Output {
                program: "apt-get download --print-uris",
                line: line.to_owned(),
            })
        })
        .collect()
}

/// The kernels (`linux-image-…`) that the shown packages depend on: those behind a metapackage.
pub(super) fn kernel_dependencies(answer: &str) -> Vec<String> {
    answer
        .lines()
        .filter_map(|line| line.strip_prefix("Depends:"))
        .flat_map(|depends| depends.split(','))
        .filter_map(|dependency| dependency.split_whitespace().next())
        .filter(|name| name.starts_with(KERNEL_PREFIX))
        .map(str::to_owned)
        .collect()
}

fn configuration(folder: &Utf8Path, architecture: &str) -> String {
    format!(
        r#"// Hooks of the machine are not for this apt.
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
// Only package lists are wanted; the machine may have asked for more.
#clear Acquire::IndexTargets;
Acquire::IndexTargets::deb::Packages {{
  MetaKey "$(COMPONENT)/binary-$(ARCHITECTURE)/Packages";
  ShortDescription "Packages";
  Description "$(RELEASE)/$(COMPONENT) $(ARCHITECTURE) Packages";
  Optional "0";
}};
Acquire::Languages "none";
APT::Architecture "{architecture}";
#clear APT::Architectures;
APT::Architectures {{ "{architecture}"; }};
// The folder belongs to whoever runs the build, so apt must not change the user.
APT::Sandbox::User "";
Dir::State "{folder}";
Dir::State::lists "{folder}/lists";
Dir::State::status "{folder}/status";
Dir::Cache "{folder}";
Dir::Cache::archives "{folder}/archives";
Dir::Etc::sourcelist "{folder}/sources.list";
Dir::Etc::sourceparts "/dev/null";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
"#
    )
}

pub(super) const KERNEL_PREFIX: &str = "linux-image-";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metapackage_leads_to_its_kernel() {
        let shown = "Package: linux-image-cloud-amd64\n\
            Depends: kmod, linux-image-6.1.0-50-cloud-amd64 (= 6.1.176-1)\nPackage: busybox\n";
        assert_eq!(kernel_dependencies(shown), ["linux-image-6.1.0-50-cloud-amd64"]);
    }

    #[test]
    fn a_line_without_digest_is_refused() {
        let digest = "0123456789abcdef".repeat(4);
        let good = format!(
            "Reading lists...\n'http://m.invalid/b.deb' b_1%3a2_all.deb 5 SHA256:{digest}\n"
        );
        let found = downloads(&good).unwrap();
        assert_eq!((found[0].file.as_str(), &found[0].sha256), ("b_1%3a2_all.deb", &digest));
        for bad in ["'http://m.invalid/b.deb' b.deb 5", "'x' b.deb 5 SHA256:../../etc"] {
            assert!(matches!(downloads(bad), Err(PackageError::Output { .. })), "{bad}");
        }
    }
}

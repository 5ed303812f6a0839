//! The package archive as apt sees it, kept apart from the build machine's own apt.
//!
//! Each combination of sources has a folder in the cache with its own lists. A look at the archive
//! answers a [`Snapshot`]: lists that no later look changes, under the digest of what they say. Base
//! images, the cached base system and installations all work from a snapshot, so that what was asked
//! for and what is built agree.

mod mirror;
mod snapshot;

use camino::{Utf8Path, Utf8PathBuf};
use fs_err as fs;
use plugin_api::{Builder, Command, DelegateError};

use crate::failure::explain;
use crate::release_file::sha256;
use crate::settings::Settings;

pub use mirror::{Mirrors, outside, resolve};
pub use snapshot::Snapshot;

/// The sources of one build and their folder in the cache.
#[derive(Debug)]
pub struct Archive<'a> {
    builder: &'a Builder,
    settings: &'a Settings,
    /// Addresses of the archives.
    pub mirrors: Mirrors,
    dir: Utf8PathBuf,
    sources: Vec<String>,
}

impl<'a> Archive<'a> {
    /// The archive that `settings` names. Asks nothing of the network.
    ///
    /// # Errors
    /// The build machine has no Debian archive and none is named; the cache cannot be written.
    pub fn open(builder: &'a Builder, settings: &'a Settings) -> Result<Self, DelegateError> {
        let mirrors = resolve(builder, settings)?;
        let distribution =
            distribution_lines(settings, &mirrors.outside(), Some(&settings.keyring));
        let network = network_options(builder);
        let seed = format!("{}\n{:?}\n{network}", distribution.join("\n"), settings.repositories);
        let cache = builder.cache_dir("debian")?;
        let dir = cache.join("archives").join(&sha256(&seed)[..24]);
        let mut archive = Self { builder, settings, mirrors, dir, sources: distribution };
        archive.prepare(&network)?;
        Ok(archive)
    }

    /// The lines of `sources.list` for the distribution itself, with the build machine's keyring.
    pub fn distribution_sources(&self) -> Vec<String> {
        distribution_lines(self.settings, &self.mirrors.outside(), Some(&self.settings.keyring))
    }

    /// apt's configuration file.
    pub fn apt_conf(&self) -> Utf8PathBuf {
        self.dir.join("apt.conf")
    }

    /// Where downloaded packages are kept.
    pub fn packages_dir(&self) -> Utf8PathBuf {
        self.dir.join("packages")
    }

    /// The key file of a repository of the template.
    pub fn key_file(&self, repository: &str) -> Utf8PathBuf {
        self.dir.join("keys").join(format!("{repository}.asc"))
    }

    /// What the archive has now; asks it unless that was done within
    /// [`Settings::archive_max_age`]. When it cannot be reached, the last answer is used.
    ///
    /// # Errors
    /// The archive cannot be reached and was never asked before, or has no such suite.
    pub fn look(&self) -> Result<Snapshot, DelegateError> {
        let _turn =
            self.builder.lock(format!("debian-{}", self.dir.file_name().unwrap_or("lists")))?;
        let stamp = self.dir.join("updated");
        let age = fs::metadata(&stamp).ok().and_then(|meta| meta.modified().ok()?.elapsed().ok());
        if age.is_none_or(|age| age.as_secs() >= self.settings.archive_max_age) {
            self.builder.activity("asking the package archive what it has");
            match self.update() {
                Ok(()) => fs::write(&stamp, "")?,
                Err(error) if age.is_some() && is_unreachable(&error) => {
                    tracing::warn!(%error, "the package archive cannot be reached; using what it had last");
                },
                Err(error) => return Err(error),
            }
        }
        Snapshot::take(&self.dir, self.settings, &self.mirrors)
    }

    fn update(&self) -> Result<(), DelegateError> {
        let update = Command::new("apt-get")
            .args([
                "-q",
                "-o",
                "pkgCacheFile::Generate=false",
                "-o",
                "APT::Update::Error-Mode=any",
                "update",
            ])
            .env("APT_CONFIG", self.apt_conf())
            .env("LC_ALL", "C.UTF-8")
            .quiet();
        match self.builder.run(update) {
            Ok(_) => Ok(()),
            Err(error) => Err(explain(error, "cannot read the package archive")),
        }
    }

    /// Writes apt's configuration. Every file is the same each time, so builds may do this at once.
    fn prepare(&mut self, network: &str) -> Result<(), DelegateError> {
        for folder in ["lists/partial", "cache", "packages/partial", "keys", "snapshots"] {
            fs::create_dir_all(self.dir.join(folder))?;
        }
        let mut conf = apt_conf(&self.dir, self.settings);
        for repository in &self.settings.repositories {
            let key_file = match &repository.key {
                Some(key) => {
                    let path = self.key_file(&repository.name);
                    write_atomically(&path, key)?;
                    path.into_string()
                },
                None => self.settings.keyring.clone(),
            };
            self.sources.push(repository.outside().line(&key_file));
            if !repository.ssl_verify && repository.address.starts_with("https:") {
                let host = repository.host();
                conf.push_str(&format_verification(host));
            }
        }
        conf.push_str(network);
        write_atomically(&self.dir.join("status"), "")?;
        write_atomically(&self.dir.join("sources.list"), &(self.sources.join("\n") + "\n"))?;
        write_atomically(&self.apt_conf(), &conf)
    }
}

fn format_verification(host: &str) -> String {
    format!("Acquire::https::{host}::Verify-Peer \"false\";\n")
}

/// Writes unless the file says so already: a reader beside us must never see half of it.
fn write_atomically(path: &Utf8Path, text: &str) -> Result<(), DelegateError> {
    if fs::read_to_string(path).is_ok_and(|present| present == text) {
        return Ok(());
    }
    let part = format!("{path}.{}", std::process::id());
    fs::write(&part, text)?;
    Ok(fs::rename(&part, path)?)
}

/// The lines of `sources.list` for the distribution; `keyring` is the file that signs it.
pub fn distribution_lines(
    settings: &Settings,
    mirrors: &Mirrors,
    keyring: Option<&str>,
) -> Vec<String> {
    let distribution = &settings.distribution;
    let components = settings.components.join(" ");
    let option = keyring.map(|path| format!("[signed-by={path}] ")).unwrap_or_default();
    let suite = &distribution.suite;
    let mut lines = vec![format!("deb {option}{} {suite} {components}", mirrors.main)];
    if settings.updates {
        lines.push(format!("deb {option}{} {suite}-updates {components}", mirrors.main));
    }
    if settings.security {
        let security = distribution.security_suite();
        lines.push(format!("deb {option}{} {security} {components}", mirrors.security));
    }
    lines
}

/// apt reads nothing of the build machine but the settings of its network.
fn apt_conf(dir: &Utf8Path, settings: &Settings) -> String {
    let arch = &settings.distribution.arch;
    format!(
        "Dir::State \"{dir}\";\n\
         Dir::State::lists \"{dir}/lists\";\n\
         Dir::State::status \"{dir}/status\";\n\
         Dir::Cache \"{dir}/cache\";\n\
         Dir::Cache::archives \"{dir}/packages\";\n\
         Dir::Log \"{dir}\";\n\
         Dir::Etc::sourcelist \"{dir}/sources.list\";\n\
         Dir::Etc::sourceparts \"/dev/null\";\n\
         Dir::Etc::preferences \"/dev/null\";\n\
         Dir::Etc::preferencesparts \"/dev/null\";\n\
         Dir::Etc::trusted \"/dev/null\";\n\
         Dir::Etc::trustedparts \"/dev/null\";\n\
         Dir::Etc::main \"/dev/null\";\n\
         Dir::Etc::parts \"/dev/null\";\n\
         APT::Architecture \"{arch}\";\n\
         #clear APT::Architectures;\n\
         APT::Architectures {{ \"{arch}\"; }};\n\
         APT::Sandbox::User \"root\";\n\
         APT::Get::Assume-Yes \"true\";\n\
         Acquire::Languages \"none\";\n\
         Acquire::http::Timeout \"20\";\n\
         Acquire::https::Timeout \"20\";\n\
         Acquire::Retries \"1\";\n"
    )
}

/// The build machine's proxies and certificates, as lines of `apt.conf`.
pub fn network_options(builder: &Builder) -> String {
    let dump = Command::new("apt-config").arg("dump").quiet();
    let Ok(output) = builder.run(dump) else {
        return String::new();
    };
    let network = |line: &&str| {
        ["Acquire::http::", "Acquire::https::", "Acquire::ftp::", "Acquire::socks::"]
            .iter()
            .any(|prefix| line.starts_with(prefix))
            && !line.ends_with(" \"\";")
    };
    let lines: Vec<&str> = output.stdout.lines().filter(network).collect();
    lines.iter().flat_map(|line| [line, "\n"]).collect()
}

fn is_unreachable(error: &DelegateError) -> bool {
    error.kind() == plugin_api::DelegateErrorKind::Unavailable
}

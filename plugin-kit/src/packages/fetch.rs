//! Fetching packages once: a cache by content, and a record of what each request led to.

use super::PackageError;
use super::apt::{self, Download, KERNEL_PREFIX, PrivateApt};
use super::mirror;
use crate::run::{CommandLine, Run};
use camino::{Utf8Path, Utf8PathBuf};
use fs_err::File;
use sha2::{Digest, Sha256};
use std::io::{self, Read};

/// Where packages come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Archive {
    /// Address of the archive, as in a sources list, or [`mirror::MACHINE_MIRROR`], which is looked up only
    /// when something must be downloaded.
    pub mirror: String,
    /// Suite, for example `bookworm`.
    pub suite: String,
    /// Further lines for the sources list, for example of security updates.
    pub extra_sources: Vec<String>,
    /// Debian's name of the architecture, for example `amd64`.
    pub architecture: String,
    /// The key ring that signs the archive.
    pub keyring: Utf8PathBuf,
}

impl Archive {
    /// The component `main` of a suite, signed by the key ring of the package
    /// `debian-archive-keyring`.
    pub fn debian(mirror: &str, suite: &str, architecture: &str) -> Self {
        Self {
            mirror: mirror.to_owned(),
            suite: suite.to_owned(),
            extra_sources: Vec::new(),
            architecture: architecture.to_owned(),
            keyring: "/usr/share/keyrings/debian-archive-keyring.gpg".into(),
        }
    }

    pub(super) fn sources_list(&self) -> String {
        let Self { mirror, suite, keyring, .. } = self;
        let mut list = format!("deb [signed-by={keyring}] {mirror} {suite} main\n");
        for line in &self.extra_sources {
            list.push_str(line);
            list.push('\n');
        }
        list
    }

    /// Whether every part could stand in a sources list; asks nobody.
    ///
    /// # Errors
    /// [`PackageError::Invalid`] with the first part that could not.
    pub fn validate(&self) -> Result<(), PackageError> {
        let refuse = |what, value: &str| PackageError::Invalid { what, value: value.to_owned() };
        let one_word = |value: &str| {
            !value.is_empty() && value.chars().all(|c| c.is_ascii_graphic() && !"[]\"'".contains(c))
        };
        if !one_word(&self.mirror) || !self.mirror.contains(':') {
            return Err(refuse("the address of an archive", &self.mirror));
        }
        if !one_word(&self.suite) {
            return Err(refuse("a suite", &self.suite));
        }
        if !self.architecture.chars().all(|c| c.is_ascii_alphanumeric() || c == '-') {
            return Err(refuse("an architecture", &self.architecture));
        }
        Ok(())
    }
}

/// Whether the archive is asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Freshness {
    /// Only when the cache cannot answer.
    #[default]
    Reuse,
    /// Always: new versions are taken.
    Refresh,
    /// Never.
    Offline,
}

/// A package file in the cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Package {
    /// Name of the package.
    pub name: String,
    /// Version, with its epoch.
    pub version: String,
    /// Architecture, `all` included.
    pub architecture: String,
    /// SHA-256 of the file, in hexadecimal.
    pub sha256: String,
    /// The file.
    pub path: Utf8PathBuf,
}

/// Fetches packages into a cache.
#[derive(Clone, Copy)]
pub struct Fetcher<'a> {
    cache: &'a Utf8Path,
    runner: &'a dyn Run,
}

impl std::fmt::Debug for Fetcher<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fetcher").field("cache", &self.cache).finish_non_exhaustive()
    }
}

impl<'a> Fetcher<'a> {
    /// Uses the folder `cache`, which is made when it is missing and may be shared by builds.
    pub fn new(cache: &'a Utf8Path, runner: &'a dyn Run) -> Self {
        Self { cache, runner }
    }

    /// Fetches the newest versions of the packages `names`, without their dependencies, in sorted
    /// order. Only a kernel metapackage (`linux-image-cloud-amd64`) brings the kernel it names.
    ///
    /// # Errors
    /// A package does not exist, the archive cannot be reached or proved, or the cache cannot be
    /// written; offline, a package is not in the cache.
    pub fn fetch(
        &self,
        archive: &Archive,
        names: &[&str],
        freshness: Freshness,
    ) -> Result<Vec<Package>, PackageError> {
        archive.validate()?;
        let names = package_names(names)?;
        let record = self.cache.join("requests").join(request_key(archive, &names));
        if freshness != Freshness::Refresh
            && let Some(packages) = self.recorded(&record)
        {
            return Ok(packages);
        }
        if freshness == Freshness::Offline {
            let suite = archive.suite.clone();
            return Err(PackageError::Offline { suite, packages: names });
        }
        self.download(archive, names, &record)
    }

    /// What an earlier request led to, if all of it is still there.
    fn recorded(&self, record: &Utf8Path) -> Option<Vec<Package>> {
        let lines = fs_err::read_to_string(record).ok()?;
        let packages: Option<Vec<_>> = lines
            .lines()
            .map(|line| line.split_once(' ').and_then(|(sha256, file)| self.package(sha256, file)))
            .collect();
        packages.filter(|all| !all.is_empty() && all.iter().all(|package| package.path.exists()))
    }

    fn download(
        &self,
        archive: &Archive,
        mut names: Vec<String>,
        record: &Utf8Path,
    ) -> Result<Vec<Package>, PackageError> {
        let folder = self.cache.join("apt").join(request_key(archive, &[]));
        fs_err::create_dir_all(&folder).map_err(PackageError::Cache)?;
        // Two builds must not use one private apt at once; the lock ends with the file.
        let lock = File::create(folder.join("in-use")).map_err(PackageError::Cache)?;
        lock.lock().map_err(PackageError::Cache)?;
        let mirror = mirror::resolve(&archive.mirror, self.runner)?.main;
        let resolved = Archive { mirror, ..archive.clone() };
        let apt = PrivateApt::create(&folder, &resolved).map_err(PackageError::Cache)?;
        let suite = &archive.suite;
        self.run(&apt.update(), || format!("read the package lists of `{suite}`"))?;
        if names.iter().any(|name| name.starts_with(KERNEL_PREFIX)) {
            let shown = self.run(&apt.show(&names), || format!("find `{}`", names.join("`, `")))?;
            names.extend(apt::kernel_dependencies(&shown));
            names.sort();
            names.dedup();
        }
        let found =
            self.run(&apt.print_uris(&names), || format!("find `{}`", names.join("`, `")))?;
        let mut found = apt::downloads(&found)?;
        found.sort_by(|a, b| a.file.cmp(&b.file));
        self.store(&apt, &found)?;
        let mut text = String::new();
        let mut packages = Vec::new();
        for item in &found {
            let package = self.package(&item.sha256, &item.file).ok_or_else(|| {
                PackageError::Output { program: "apt-get download", line: item.file.clone() }
            })?;
            text.extend([item.sha256.as_str(), " ", &item.file, "\n"]);
            packages.push(package);
        }
        let partial = folder.join("request");
        let requests = self.cache.join("requests");
        fs_err::create_dir_all(requests)
            .and_then(|()| fs_err::write(&partial, text))
            .and_then(|()| fs_err::rename(&partial, record))
            .map_err(PackageError::Cache)?;
        Ok(packages)
    }

    /// Downloads what is not in the store yet. A file gets its name there only after its digest was
    /// computed here.
    fn store(&self, apt: &PrivateApt, found: &[Download]) -> Result<(), PackageError> {
        let missing: Vec<_> =
            found.iter().filter(|item| !self.stored(&item.sha256).exists()).collect();
        if missing.is_empty() {
            return Ok(());
        }
        fs_err::create_dir_all(self.cache.join("packages")).map_err(PackageError::Cache)?;
        let partial = camino_tempdir(self.cache).map_err(PackageError::Cache)?;
        let files: Vec<_> = missing.iter().map(|item| item.file.as_str()).collect();
        let fetched = self
            .run(&apt.fetch(&missing, &partial), || format!("download `{}`", files.join("`, `")))
            .and_then(|_| missing.iter().try_for_each(|item| self.accept(item, &partial)));
        let removed = fs_err::remove_dir_all(&partial).map_err(PackageError::Cache);
        fetched.and(removed)
    }

    fn accept(&self, item: &Download, folder: &Utf8Path) -> Result<(), PackageError> {
        let path = folder.join(&item.sha256);
        let found = digest(&path).map_err(PackageError::Cache)?;
        if found != item.sha256 {
            let expected = item.sha256.clone();
            return Err(PackageError::Digest { file: item.file.clone(), found, expected });
        }
        fs_err::rename(&path, self.stored(&item.sha256)).map_err(PackageError::Cache)
    }

    fn stored(&self, sha256: &str) -> Utf8PathBuf {
        self.cache.join("packages").join(format!("{sha256}.deb"))
    }

    /// Reads `NAME_VERSION_ARCHITECTURE.deb`, where an epoch's colon is written as `%3a`.
    fn package(&self, sha256: &str, file: &str) -> Option<Package> {
        let mut parts = file.strip_suffix(".deb")?.split('_');
        let (name, version, architecture) = (parts.next()?, parts.next()?, parts.next()?);
        Some(Package {
            name: name.to_owned(),
            version: version.replace("%3a", ":"),
            architecture: architecture.to_owned(),
            sha256: sha256.to_owned(),
            path: self.stored(sha256),
        })
    }

    fn run(
        &self,
        command: &CommandLine,
        action: impl FnOnce() -> String,
    ) -> Result<String, PackageError> {
        self.runner.run(command).map_err(|source| PackageError::Run { action: action(), source })
    }
}

/// The names, sorted, each proved to be one (Debian policy 5.6.1) so that none is an option.
fn package_names(names: &[&str]) -> Result<Vec<String>, PackageError> {
    let valid = |name: &str| {
        name.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
            && name
                .chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "+-.".contains(c))
    };
    let mut sorted = Vec::new();
    for name in names {
        if !valid(name) {
            let value = (*name).to_owned();
            return Err(PackageError::Invalid { what: "the name of a package", value });
        }
        sorted.push((*name).to_owned());
    }
    sorted.sort();
    sorted.dedup();
    Ok(sorted)
}

/// Names what the answer depends on.
fn request_key(archive: &Archive, names: &[String]) -> String {
    let mut hash = Sha256::new();
    for part in [archive.sources_list().as_str(), &archive.architecture, &names.join(" ")] {
        hash.update(part.as_bytes());
        hash.update([0]);
    }
    hex::encode(hash.finalize())
}

fn digest(path: &Utf8Path) -> io::Result<String> {
    let mut hash = Sha256::new();
    let mut file = File::open(path)?;
    let mut buffer = vec![0; 256 * 1024];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hex::encode(hash.finalize())),
            len => hash.update(&buffer[..len]),
        }
    }
}

/// A new private folder in `parent`.
fn camino_tempdir(parent: &Utf8Path) -> io::Result<Utf8PathBuf> {
    let name = format!("download-{}", uuid::Uuid::new_v4());
    let folder = parent.join(name);
    fs_err::create_dir(&folder)?;
    Ok(folder)
}

//! One state of the archive, held still.

use std::time::{Duration, SystemTime};

use camino::{Utf8Path, Utf8PathBuf};
use fs_err as fs;
use plugin_api::{Command, DelegateError};
use sha2::{Digest, Sha256};

use super::{Archive, Mirrors};
use crate::release_file::ReleaseFile;
use crate::settings::Settings;

/// Lists of an archive that stay as they are.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Digest of what the distribution's own suites contain.
    pub base_digest: String,
    /// Digest of what all sources contain.
    pub digest: String,
    /// When the distribution's main suite was published, in seconds since 1970.
    pub published: Option<i64>,
    /// apt's lists.
    pub lists: Utf8PathBuf,
    /// apt's binary caches of these lists.
    pub cache: Utf8PathBuf,
}

impl Snapshot {
    /// Holds the lists in `dir` still. The caller makes sure that nobody changes them meanwhile.
    pub(super) fn take(
        dir: &Utf8Path,
        settings: &Settings,
        mirrors: &Mirrors,
    ) -> Result<Self, DelegateError> {
        let current = dir.join("lists");
        let mut own = vec![(&mirrors.main, settings.distribution.suite.clone())];
        if settings.updates {
            own.push((&mirrors.main, format!("{}-updates", settings.distribution.suite)));
        }
        if settings.security {
            own.push((&mirrors.security, settings.distribution.security_suite()));
        }
        let own: Vec<_> = own.iter().map(|(site, suite)| list_prefix(site, suite)).collect();
        let mut base = Sha256::new();
        let mut all = Sha256::new();
        let mut published = None;
        for name in file_names(&current)? {
            if let Some(position) = own.iter().position(|prefix| name.starts_with(prefix.as_str()))
            {
                if name.ends_with("Release") {
                    let release = ReleaseFile::parse(&fs::read_to_string(current.join(&name))?);
                    let digest = release.digest(&settings.components, &settings.distribution.arch);
                    base.update(format!("{name} {digest}\n"));
                    if position == 0 {
                        published = release.date;
                    }
                }
            } else if name != "lock" {
                all.update(name.as_bytes());
                all.update(fs::read(current.join(&name))?);
            }
        }
        let base_digest = hex::encode(base.finalize());
        all.update(&base_digest);
        let digest = hex::encode(all.finalize());
        let held = dir.join("snapshots").join(&digest[..24]);
        let snapshot = Self {
            base_digest,
            digest,
            published,
            lists: held.join("lists"),
            cache: held.join("cache"),
        };
        snapshot.hold(&current)?;
        prune(&dir.join("snapshots"), &held);
        Ok(snapshot)
    }

    /// An `apt-get` that works from this snapshot, as `archive` configures it.
    pub fn apt(&self, archive: &Archive<'_>) -> Command {
        let (lists, cache) = (&self.lists, &self.cache);
        Command::new("apt-get")
            .args([
                "-q",
                "-o",
                &format!("Dir::State::lists={lists}"),
                "-o",
                &format!("Dir::Cache={cache}"),
            ])
            .env("APT_CONFIG", archive.apt_conf())
            .env("LC_ALL", "C.UTF-8")
    }

    /// Links the lists: apt replaces its files and never writes into them.
    fn hold(&self, current: &Utf8Path) -> Result<(), DelegateError> {
        fs::create_dir_all(self.lists.join("partial"))?;
        fs::create_dir_all(&self.cache)?;
        for name in file_names(current)? {
            let place = self.lists.join(&name);
            if name != "lock" && !place.exists() {
                fs::hard_link(current.join(&name), &place)?;
            }
        }
        // Says that it is in use.
        Ok(fs::write(self.cache.join("used"), "")?)
    }
}

/// Removes snapshots that no build has used for a day. A failure costs nothing but space.
fn prune(snapshots: &Utf8Path, keep: &Utf8Path) {
    let Ok(entries) = snapshots.read_dir_utf8() else {
        return;
    };
    for entry in entries.flatten() {
        let path = entry.path();
        let used = fs::metadata(path.join("cache/used")).and_then(|meta| meta.modified());
        let old = used.is_ok_and(|used| {
            SystemTime::now().duration_since(used).is_ok_and(|age| age > Duration::from_hours(24))
        });
        if old && path != keep {
            let _space_stays_used = fs::remove_dir_all(path);
        }
    }
}

/// Names of the files in `folder`, sorted.
fn file_names(folder: &Utf8Path) -> Result<Vec<String>, DelegateError> {
    let mut names = Vec::new();
    for entry in folder.read_dir_utf8()? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            names.push(entry.file_name().to_owned());
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// How apt begins the names of a suite's files: the address without scheme and user, with what a
/// file name cannot hold replaced (apt's `URItoFileName`).
fn list_prefix(site: &str, suite: &str) -> String {
    let rest = site.split_once("://").map_or(site, |(_, rest)| rest);
    let rest =
        rest.split_once(':').filter(|_| !site.contains("://")).map_or(rest, |(_, rest)| rest);
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let authority = authority.rsplit('@').next().unwrap_or_default();
    let mut name = String::new();
    for byte in format!("{authority}{}/dists/{suite}/", path.trim_end_matches('/')).bytes() {
        match byte {
            b'/' => name.push('_'),
            b if b"\\|{}[]<>\"^~_=!@#$%^&*".contains(&b) || !(33..127).contains(&b) => {
                name.push('%');
                name.push_str(&hex::encode([b]));
            },
            b => name.push(char::from(b)),
        }
    }
    name
}

#[cfg(test)]
mod tests {
    use super::list_prefix;

    #[test]
    fn files_are_named_as_apt_names_them() {
        let plain = list_prefix("http://deb.example.org/debian", "bookworm-security");
        assert_eq!(plain, "deb.example.org_debian_dists_bookworm-security_");
        let odd = list_prefix("https://user:pw@m.example:8080/my_repo", "sid");
        assert_eq!(odd, "m.example:8080_my%5frepo_dists_sid_");
        assert_eq!(list_prefix("file:/srv/mirror", "sid"), "_srv_mirror_dists_sid_");
        assert_eq!(list_prefix("file:///srv/mirror", "sid"), "_srv_mirror_dists_sid_");
    }
}

//! The base system: what every image of a suite begins with, made once and kept as a tar archive.
//!
//! mmdebstrap makes it from a [`Snapshot`] of the archive: essential packages, an init system, a login
//! and the kernel as an installed package. The initial RAM disk is left out (`INITRD=No`), because
//! making one with the system's own tools takes longer than everything else together; see `disk`.
//! The key of the cache holds all that the archive depends on, so a hit gives the same bytes.

use std::thread;
use std::time::{Duration, SystemTime};

use camino::{Utf8Path, Utf8PathBuf};
use fs_err as fs;
use plugin_api::{Builder, Command, DelegateError};
use plugin_kit::packages::deb;

use crate::archive::{Archive, Snapshot, network_options};
use crate::distribution::Distribution;
use crate::failure::{explain, is_damaged_package};
use crate::package_cache::PackageLinks;
use crate::release_file::sha256;
use crate::settings::Settings;

/// A base system in the cache.
#[derive(Clone, Debug)]
pub struct Base {
    /// What it was made from, as a digest.
    pub key: String,
    /// The root file system.
    pub tar: Utf8PathBuf,
    /// BusyBox of the same archive, for the initial RAM disk.
    pub busybox: Utf8PathBuf,
    /// Whether it was in the cache already.
    pub cached: bool,
}

/// What a base system is made from.
#[derive(Clone, Copy, Debug)]
pub struct Ingredients<'a> {
    /// What is wanted.
    pub settings: &'a Settings,
    /// The sources.
    pub archive: &'a Archive<'a>,
    /// Their state.
    pub snapshot: &'a Snapshot,
    /// The time that replaces the clock.
    pub epoch: i64,
}

/// The program that makes the base system.
pub const MMDEBSTRAP: &str = "/usr/bin/mmdebstrap";
/// Cached base systems that no build used for this long are removed.
const KEEP_UNUSED: Duration = Duration::from_hours(14 * 24);

/// The base system, from the cache or made now with `scratch` as working space.
///
/// # Errors
/// mmdebstrap fails, or the cache cannot be written.
pub fn base(
    builder: &Builder,
    from: Ingredients<'_>,
    scratch: &Utf8Path,
) -> Result<Base, DelegateError> {
    let key = key(from)?;
    let bases = builder.cache_dir("debian")?.join("bases");
    let dir = bases.join(&key[..24]);
    let mut base =
        Base { tar: dir.join("root.tar"), busybox: dir.join("busybox"), cached: true, key };
    // Two builds that want the same base system make it once.
    let _turn = builder.lock(format!("debian-base-{}", &base.key[..24]))?;
    if from.settings.use_cached_base && base.busybox.exists() && base.tar.exists() {
        tracing::info!(key = &base.key[..24], "the base system is in the cache");
    } else {
        base.cached = false;
        make(builder, from, scratch, &base)?;
    }
    fs::write(dir.join("used"), "")?;
    prune(&bases, &dir);
    Ok(base)
}

/// A digest of all that the bytes of a base system depend on.
fn key(from: Ingredients<'_>) -> Result<String, DelegateError> {
    let inputs = [
        env!("CARGO_PKG_VERSION").to_owned(),
        hex::encode(fs::read(MMDEBSTRAP)?),
        SETUP.to_owned(),
        CUSTOMIZE.to_owned(),
        format!("{:?}", from.settings.distribution),
        from.archive.distribution_sources().join("\n"),
        from.snapshot.base_digest.clone(),
        from.settings.docs.to_string(),
        from.epoch.to_string(),
        include(from.settings).join(","),
    ];
    Ok(sha256(&inputs.join("\n")))
}

fn include(settings: &Settings) -> Vec<String> {
    let mut packages: Vec<_> =
        settings.distribution.base_packages().into_iter().map(str::to_owned).collect();
    packages.push(settings.kernel.clone());
    packages
}

fn make(
    builder: &Builder,
    from: Ingredients<'_>,
    scratch: &Utf8Path,
    base: &Base,
) -> Result<(), DelegateError> {
    let Ingredients { settings, archive, snapshot, epoch } = from;
    builder.activity("making the base system");
    let links =
        PackageLinks::make(&archive.packages_dir(), builder.work_dir().join("base-packages"))?;
    let (setup, customize) =
        (builder.work_dir().join("setup.sh"), builder.work_dir().join("customize.sh"));
    fs::write(&setup, SETUP)?;
    fs::write(&customize, CUSTOMIZE)?;
    // What a killed build leaves lies in its working folder.
    let tar = builder.work_dir().join("base.tar");
    let mut command = Command::new(MMDEBSTRAP)
        .args(["--mode=root", "--variant=minbase", "--format=tar"])
        .arg(format!("--architectures={}", settings.distribution.arch))
        .arg(format!("--include={}", include(settings).join(",")))
        .arg("--dpkgopt=force-unsafe-io")
        .arg("--aptopt=Acquire::Languages \"none\"")
        .arg("--aptopt=APT::Sandbox::User \"root\"")
        .arg("--skip=update,download/empty,essential/unlink,output/dev,check/qemu,check/signed-by")
        .arg("--setup-hook=sh \"$IMAGEFORGE_SETUP\" \"$1\"")
        .arg("--customize-hook=sh \"$IMAGEFORGE_CUSTOMIZE\" \"$1\"");
    for option in network_options(builder).lines() {
        command = command.arg(format!("--aptopt={option}"));
    }
    if !settings.docs {
        command = command.args(WITHOUT_DOCS.iter().map(|option| format!("--dpkgopt={option}")));
    }
    let command = command
        .args([settings.distribution.suite.as_str(), tar.as_str()])
        .args(archive.distribution_sources())
        .env("TMPDIR", scratch.as_str())
        .env("SOURCE_DATE_EPOCH", epoch.to_string())
        .env("INITRD", "No")
        .env("LC_ALL", "C.UTF-8")
        .env("IMAGEFORGE_SETUP", setup.as_str())
        .env("IMAGEFORGE_CUSTOMIZE", customize.as_str())
        .env("IMAGEFORGE_LISTS", snapshot.lists.as_str())
        .env("IMAGEFORGE_PACKAGES", links.dir.as_str())
        .env("IMAGEFORGE_MERGED", merged_folders(&settings.distribution));
    // The first use of a snapshot costs apt a second, which passes beside mmdebstrap.
    let (mut made, fetched) = thread::scope(|scope| {
        let fetched = scope.spawn(|| busybox(builder, archive, snapshot));
        let made = builder.run(command.clone());
        (made, fetched.join())
    });
    if made.as_ref().is_err_and(is_damaged_package) {
        tracing::warn!("a downloaded package is damaged; all are downloaded anew");
        links.forget()?;
        made = builder.run(command);
    }
    if !made.as_ref().is_err_and(is_damaged_package) {
        links.harvest()?;
    }
    made.map_err(|error| explain(error, "mmdebstrap could not make the base system"))?;
    let busybox =
        fetched.map_err(|_| DelegateError::bug_in_plugin("fetching BusyBox panicked"))??;
    if let Some(dir) = base.tar.parent() {
        fs::create_dir_all(dir)?;
    }
    let program = builder.work_dir().join("busybox.static");
    fs::write(&program, busybox)?;
    keep(&program, &base.busybox)?;
    keep(&tar, &base.tar)
}

/// Moves a finished file into the cache, which may be on another file system.
fn keep(file: &Utf8Path, place: &Utf8Path) -> Result<(), DelegateError> {
    match fs::rename(file, place) {
        Err(error) if error.kind() == std::io::ErrorKind::CrossesDevices => {
            let part = format!("{place}.part");
            fs::copy(file, &part)?;
            Ok(fs::rename(&part, place)?)
        },
        moved => Ok(moved?),
    }
}

/// Takes BusyBox out of its package, which is not installed in the image.
fn busybox(
    builder: &Builder,
    archive: &Archive<'_>,
    snapshot: &Snapshot,
) -> Result<Vec<u8>, DelegateError> {
    let folder = builder.work_dir().join("busybox");
    fs::create_dir_all(&folder)?;
    let fetch = snapshot.apt(archive).args(["download", "busybox-static"]).cwd(folder.as_str());
    builder
        .run(fetch)
        .map_err(|error| explain(error, "cannot fetch the package `busybox-static`"))?;
    let unusable = |why: &str| {
        DelegateError::failed("the package `busybox-static` cannot be used").because(why)
    };
    for entry in folder.read_dir_utf8()? {
        let files = deb::files(entry?.path(), |path| path.ends_with("bin/busybox"))
            .map_err(|error| unusable(&error.to_string()))?;
        if let Some(file) = files.into_iter().next() {
            return Ok(file.contents);
        }
    }
    Err(unusable("it has no `bin/busybox`"))
}

/// Removes base systems that were not used for long. A failure costs nothing but space.
fn prune(bases: &Utf8Path, keep: &Utf8Path) {
    let Ok(entries) = bases.read_dir_utf8() else {
        return;
    };
    for entry in entries.flatten() {
        let used = fs::metadata(entry.path().join("used"))
            .or_else(|_| fs::metadata(entry.path()))
            .and_then(|meta| meta.modified());
        let old = used.is_ok_and(|used| {
            SystemTime::now().duration_since(used).is_ok_and(|age| age > KEEP_UNUSED)
        });
        if old && entry.path() != keep {
            let _space_stays_used = fs::remove_dir_all(entry.path());
        }
    }
}

/// Folders that are links into `/usr`. Packages up to Debian 12 expect them to be there; later ones
/// bring them along.
fn merged_folders(distribution: &Distribution) -> String {
    let old = matches!(distribution.suite.as_str(), "bullseye" | "bookworm" | "focal" | "jammy");
    let more = match (distribution.arch.as_str(), old) {
        ("amd64", true) => " lib32 lib64 libx32",
        ("i386", true) => " lib64 libx32",
        ("ppc64el", _) | ("amd64", false) => " lib64",
        ("s390x", true) => " lib32",
        _ => "",
    };
    format!("bin sbin lib{more}")
}

/// Prepares the empty root: merged `/usr`, the lists and packages of the cache. `usrmerge` converts
/// an old system and would pull in perl.
const SETUP: &str = r#"set -e
for folder in $IMAGEFORGE_MERGED; do
    mkdir -p "$1/usr/$folder"
    ln -s "usr/$folder" "$1/$folder"
done
mkdir -p "$1/etc/apt/preferences.d" "$1/var/lib/apt/lists/partial" "$1/var/cache/apt/archives"
printf 'Package: usrmerge\nPin: release *\nPin-Priority: -1\n' >"$1/etc/apt/preferences.d/00imageforge"
find "$IMAGEFORGE_LISTS" -maxdepth 1 -type f -exec cp -t "$1/var/lib/apt/lists" {} +
mount --bind "$IMAGEFORGE_PACKAGES" "$1/var/cache/apt/archives"
"#;

/// Removes what came from the build machine; mmdebstrap does the rest.
const CUSTOMIZE: &str = r#"set -e
umount "$1/var/cache/apt/archives"
rm -f "$1/etc/apt/preferences.d/00imageforge" "$1/etc/apt/apt.conf.d/99mmdebstrap"
rm -f "$1/etc/hostname"
[ -L "$1/etc/resolv.conf" ] || rm -f "$1/etc/resolv.conf"
"#;

/// What dpkg leaves out for images without documentation; copyright files have to stay.
const WITHOUT_DOCS: &[&str] = &[
    "path-exclude=/usr/share/man/*",
    "path-exclude=/usr/share/locale/*",
    "path-include=/usr/share/locale/locale.alias",
    "path-exclude=/usr/share/info/*",
    "path-exclude=/usr/share/doc/*",
    "path-include=/usr/share/doc/*/copyright",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn of(suite: &str, arch: &str) -> Distribution {
        let family = crate::distribution::Family::Debian;
        Distribution { family, suite: suite.into(), arch: arch.into() }
    }

    #[test]
    fn older_suites_get_every_link_that_their_packages_expect() {
        assert_eq!(merged_folders(&of("bookworm", "amd64")), "bin sbin lib lib32 lib64 libx32");
        assert_eq!(merged_folders(&of("trixie", "amd64")), "bin sbin lib lib64");
        assert_eq!(merged_folders(&of("trixie", "arm64")), "bin sbin lib");
    }
}

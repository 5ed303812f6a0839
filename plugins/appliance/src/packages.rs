//! The two packages that an appliance is made of.

use camino::Utf8Path;
use plugin_api::{Builder, Command, DelegateError};
use plugin_kit::packages::{Fetcher, Package, deb};
use plugin_kit::run::{CommandLine, RunError};

use crate::failure;
use crate::settings::Settings;

/// Name of the cache folder.
pub(crate) const CACHE: &str = "appliance";
const KERNEL: &str = "linux-image-cloud-amd64";
const BUSYBOX: &str = "busybox-static";

/// What an appliance is made of.
#[derive(Debug)]
pub(crate) struct Parts {
    /// The kernel, as boot loaders take it.
    pub(crate) kernel: Vec<u8>,
    /// The BusyBox program.
    pub(crate) busybox: Vec<u8>,
}

/// Fetches the packages, or finds them in the cache.
///
/// # Errors
/// They cannot be had; see [`Fetcher::fetch`].
pub(crate) fn fetch(builder: &Builder, settings: &Settings) -> Result<Vec<Package>, DelegateError> {
    let cache = builder.cache_dir(CACHE)?;
    let run = |line: &CommandLine| run(builder, line);
    Fetcher::new(&cache, &run)
        .fetch(&settings.archive, &[KERNEL, BUSYBOX], settings.freshness)
        .map_err(|error| failure::packages(&error))
}

/// Runs a program as part of the build.
pub(crate) fn run(builder: &Builder, line: &CommandLine) -> Result<String, RunError> {
    let mut words = line.argv.iter().cloned();
    let program = words.next().unwrap_or_default();
    let command = line
        .env
        .iter()
        .fold(Command::new(program).args(words).quiet(), |command, (name, value)| {
            command.env(name, value)
        });
    Ok(builder.run(command)?.stdout)
}

/// Takes kernel and BusyBox out of their packages. What was unpacked is kept in `cache` under the
/// package's digest: unpacking the kernel's takes a second or two.
///
/// # Errors
/// A package cannot be read or has not the file that makes it useful.
pub(crate) fn unpack(cache: &Utf8Path, packages: &[Package]) -> Result<Parts, DelegateError> {
    // Debian 13 has all programs below /usr.
    let is_busybox = |path: &str| matches!(path, "bin/busybox" | "usr/bin/busybox");
    let is_kernel = |path: &str| path.starts_with("boot/vmlinuz-");
    Ok(Parts {
        kernel: unpack_one(cache, packages, "linux-image-", is_kernel)?,
        busybox: unpack_one(cache, packages, BUSYBOX, is_busybox)?,
    })
}

/// The file that `wanted` accepts, out of the packages whose names begin with `prefix`: the kernel's
/// metapackage has the prefix too, but no files.
fn unpack_one(
    cache: &Utf8Path,
    packages: &[Package],
    prefix: &str,
    wanted: impl Fn(&str) -> bool,
) -> Result<Vec<u8>, DelegateError> {
    let folder = cache.join("unpacked");
    fs_err::create_dir_all(&folder)?;
    for package in packages.iter().filter(|package| package.name.starts_with(prefix)) {
        let kept = folder.join(&package.sha256);
        if let Ok(contents) = fs_err::read(&kept) {
            return Ok(contents);
        }
        let files =
            deb::files(&package.path, &wanted).map_err(|error| failure::packages(&error))?;
        if let Some(file) = files.into_iter().next() {
            // Another build may do the same at this moment.
            let partial = folder.join(format!("{}.{}", package.sha256, std::process::id()));
            fs_err::write(&partial, &file.contents)?;
            fs_err::rename(&partial, &kept)?;
            return Ok(file.contents);
        }
    }
    Err(DelegateError::failed(format!("the packages `{prefix}…` hold no usable program")))
}

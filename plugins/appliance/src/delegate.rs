//! What the host calls.

use camino::Utf8Path;
use plugin_api::{Builder, Content, DelegateError, OsDelegate};
use plugin_kit::boot::grub::{Firmware, Grub};
use plugin_kit::packages::Freshness;
use serde_json::json;

use crate::settings::Settings;
use crate::{disk, failure, packages, system};

/// The delegate; a build leaves nothing in it.
#[derive(Debug)]
pub(crate) struct Appliance;

impl OsDelegate for Appliance {
    fn check(&self, builder: &Builder) -> Vec<DelegateError> {
        let read = builder.content().map_err(|error| vec![error]);
        let read = read.and_then(|content| Settings::read(builder, &content));
        let mut problems = read.err().unwrap_or_default();
        problems.extend(grub().err());
        problems
    }

    /// The packages that the cache would give. Where the archive must be asked, nothing is reused.
    fn cache_key(&self, builder: &Builder) -> Result<String, DelegateError> {
        let settings = settings(builder, &Content::default())?;
        if settings.freshness == Freshness::Refresh {
            return Err(DelegateError::unavailable("the archive is asked in every build"));
        }
        let offline = Settings { freshness: Freshness::Offline, ..settings };
        let found = packages::fetch(builder, &offline)?;
        Ok(found.iter().map(|package| package.sha256.as_str()).collect::<Vec<_>>().join(" "))
    }

    fn create_base_image(&self, builder: &Builder) -> Result<(), DelegateError> {
        build(builder, &Content::default(), builder.image_path())
    }

    /// A system of this size is made anew as fast as it is changed.
    fn create_target_image(&self, builder: &Builder) -> Result<(), DelegateError> {
        let content = builder.content()?;
        if content.is_empty() {
            return Ok(());
        }
        build(builder, &content, &builder.changed_disk_path())
    }
}

/// Writes the disk that the template and `content` describe to the new file `path`.
fn build(builder: &Builder, content: &Content, path: &Utf8Path) -> Result<(), DelegateError> {
    let settings = settings(builder, content)?;
    let grub = grub()?;
    builder.activity("fetching packages");
    let found = packages::fetch(builder, &settings)?;
    let listed: Vec<_> = found
        .iter()
        .map(|package| {
            tracing::info!(name = %package.name, version = %package.version, "package");
            json!({
                "name": package.name,
                "version": package.version,
                "architecture": package.architecture,
                "sha256": package.sha256,
            })
        })
        .collect();
    builder.set_property("packages", listed)?;
    builder.check_cancelled()?;
    builder.progress(40);
    builder.activity("unpacking kernel and BusyBox");
    let parts = packages::unpack(&builder.cache_dir(packages::CACHE)?, &found)?;
    builder.check_cancelled()?;
    builder.progress(70);
    builder.activity("assembling the disk");
    let ramdisk = system::ramdisk(&settings, &parts.busybox)?;
    disk::write(builder, &grub, &settings, &parts.kernel, &ramdisk, path)?;
    builder.progress(100);
    Ok(())
}

/// The settings, or the first thing that is wrong with them: `check` has listed all.
fn settings(builder: &Builder, content: &Content) -> Result<Settings, DelegateError> {
    Settings::read(builder, content).map_err(|problems| {
        let first = problems.into_iter().next();
        first
            .unwrap_or_else(|| DelegateError::bug_in_plugin("settings were refused without reason"))
    })
}

fn grub() -> Result<Grub, DelegateError> {
    Grub::installed(&[Firmware::Bios, Firmware::Uefi]).map_err(|error| failure::grub(&error))
}

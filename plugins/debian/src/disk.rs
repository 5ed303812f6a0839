//! The root file system becomes a disk: GPT, GRUB for BIOS and UEFI, EFI system partition, ext4.
//!
//! Nothing is mounted and every identifier is derived from a seed. The initial RAM disk of the first
//! start is made here, at the place where Debian keeps it; a kernel update in the guest makes its own.

use std::collections::BTreeMap;

use camino::Utf8Path;
use fs_err as fs;
use plugin_api::{Builder, DelegateError};
use plugin_kit::boot::bios;
use plugin_kit::boot::grub::{Firmware, Grub, Menu, UEFI_LOADER, early_config};
use plugin_kit::boot::initrd::{Compression, DISK_MODULES, DebianRamdisk, ModuleTree, debian};
use plugin_kit::disk::{FatSpec, Layout, Role, fat_image, write_sparse};

use crate::inside;
use crate::release_file::sha256;
use crate::run::run_line;
use crate::settings::Settings;

/// Where the menu lies on the root file system.
const GRUB_FOLDER: &str = "/boot/grub";

/// Identifiers and places on the disk to be, known before there is anything on it.
#[derive(Clone, Debug)]
pub struct Plan {
    layout: Layout,
}

impl Plan {
    /// The disk that `settings` asks for; `seed` decides its identifiers.
    ///
    /// # Errors
    /// The disk is too small for its partitions.
    pub fn new(settings: &Settings, seed: &str) -> Result<Self, DelegateError> {
        let layout =
            Layout::filling(seed, settings.disk_bytes, settings.esp_bytes).map_err(|error| {
                DelegateError::invalid_input("the disk cannot be laid out").caused_by(error)
            })?;
        Ok(Self { layout })
    }

    /// UUID of the root file system.
    pub fn root_uuid(&self) -> String {
        self.layout.uuid("root").to_string()
    }

    /// UUID of the EFI system partition's file system, as Linux shows it.
    pub fn esp_uuid(&self) -> String {
        self.esp_spec(0).uuid()
    }

    fn esp_spec(&self, bytes: u64) -> FatSpec {
        let (volume_id, ..) = self.layout.uuid("esp").as_fields();
        FatSpec { bytes, volume_id, label: "ESP".to_owned() }
    }
}

/// What the bytes of the boot loader depend on: the modules that are installed on this machine.
pub fn boot_loader_version() -> String {
    let Ok(grub) = Grub::installed(&[Firmware::Bios]) else {
        return String::new();
    };
    fs::read(grub.boot_img()).map_or_else(|_| String::new(), |bytes| sha256(&hex::encode(&bytes)))
}

/// Puts boot menu and initial RAM disks into the root file system at `root`.
///
/// # Errors
/// There is no kernel, or its modules cannot be read.
pub fn make_bootable(
    settings: &Settings,
    plan: &Plan,
    root: &Utf8Path,
    busybox: &Utf8Path,
) -> Result<(), DelegateError> {
    let busybox = fs::read(busybox)?;
    let kernels = kernels(root)?;
    let Some(newest) = kernels.last() else {
        let kernel = &settings.kernel;
        return Err(DelegateError::failed(format!(
            "package `{kernel}` brought no kernel to `/boot`"
        )));
    };
    for release in &kernels {
        let failed = |error: &dyn std::error::Error| {
            DelegateError::failed(format!("cannot make the initial RAM disk of kernel `{release}`"))
                .because(error.to_string())
        };
        let modules = inside::resolve(root, &Utf8Path::new("/lib/modules").join(release))?;
        let modules = ModuleTree::open(&modules).and_then(|tree| tree.closure(DISK_MODULES));
        let modules = modules.map_err(|error| failed(&error))?;
        let parts = DebianRamdisk { busybox: &busybox, kernel_release: release, modules: &modules };
        let disk = debian(&parts).map_err(|error| failed(&error))?;
        let packed = disk.packed(Compression::Zstd(3))?;
        inside::write(root, &format!("/boot/initrd.img-{release}"), &packed, 0o644)?;
    }
    for (suffix, release) in [("", newest), (".old", kernels.iter().rev().nth(1).unwrap_or(newest))]
    {
        inside::link(root, &format!("/vmlinuz{suffix}"), &format!("boot/vmlinuz-{release}"))?;
        inside::link(root, &format!("/initrd.img{suffix}"), &format!("boot/initrd.img-{release}"))?;
    }
    let device = format!("UUID={}", plan.root_uuid());
    let menu = Menu::debian(&device, &settings.kernel_parameters, settings.boot_timeout);
    Ok(inside::write(root, &format!("{GRUB_FOLDER}/grub.cfg"), menu.text().as_bytes(), 0o644)?)
}

/// Releases of the installed kernels, oldest first.
fn kernels(root: &Utf8Path) -> Result<Vec<String>, DelegateError> {
    let mut found = Vec::new();
    for entry in root.join("boot").read_dir_utf8()? {
        let entry = entry?;
        found.extend(entry.file_name().strip_prefix("vmlinuz-").map(str::to_owned));
    }
    found.sort_by_key(|release| version_order(release));
    Ok(found)
}

/// Numbers compare as numbers: `6.1.0-9` comes before `6.1.0-10`.
fn version_order(release: &str) -> Vec<(u64, String)> {
    release
        .split(|c: char| !c.is_ascii_alphanumeric())
        .map(|part| (part.parse().unwrap_or(0), part.to_owned()))
        .collect()
}

/// Writes the disk with the root file system at `root` to the new file `path`.
///
/// # Errors
/// GRUB is not installed, the content does not fit, or the file cannot be written.
pub fn write(
    builder: &Builder,
    plan: &Plan,
    root: &Utf8Path,
    path: &Utf8Path,
    epoch: i64,
) -> Result<(), DelegateError> {
    let layout = &plan.layout;
    let firmwares = [Firmware::Bios, Firmware::Uefi];
    let grub = Grub::installed(&firmwares).map_err(|error| {
        let hint = error.hint();
        DelegateError::missing_requirement("GRUB is not complete on this machine")
            .caused_by(error)
            .hint(hint)
    })?;
    let config = builder.work_dir().join("grub-early.cfg");
    fs::write(&config, early_config(&plan.root_uuid(), GRUB_FOLDER))?;
    let mut cores = Vec::new();
    for firmware in firmwares {
        let core = builder.work_dir().join(format!("core-{}.img", firmware.platform()));
        run_line(builder, &grub.mkimage(firmware, &config, &core))?;
        cores.push(fs::read(core)?);
    }
    let (Some(uefi), Some(bios)) = (cores.pop(), cores.pop()) else {
        return Err(DelegateError::bug_in_plugin("a core image is missing"));
    };
    let failed = |what: &str, error: &dyn std::error::Error| {
        let told = DelegateError::failed(format!("cannot write {what}")).because(error.to_string());
        error.source().map_or(told.clone(), |cause| told.because(cause.to_string()))
    };
    let part = |role: Role| {
        layout
            .partition(role)
            .ok_or_else(|| DelegateError::bug_in_plugin(format!("no partition {role:?}")))
    };
    let (boot, esp, rootfs) = (part(Role::BiosBoot)?, part(Role::Esp)?, part(Role::Root)?);
    let bios = bios::embed(&fs::read(grub.boot_img())?, &bios, boot.first_lba(), boot.len)
        .map_err(|error| failed("GRUB for BIOS", &error))?;
    let files = BTreeMap::from([(UEFI_LOADER.to_owned(), uefi)]);
    let esp_image = fat_image(&plan.esp_spec(esp.len), &files)
        .map_err(|error| failed("the EFI system partition", &error))?;
    let disk = layout
        .create(path, &bios.boot_code)
        .map_err(|error| failed("the partition table", &error))?;
    write_sparse(&disk, boot.start, &bios.core)?;
    write_sparse(&disk, esp.start, &esp_image)?;
    builder.check_cancelled()?;
    let options =
        ext4::Options::new(rootfs.len, layout.uuid("root").into_bytes(), epoch).label("root");
    let tree = ext4::Tree::from_dir(root.as_std_path())
        .map_err(|error| failed("the root file system", &error))?;
    let mut region = ext4::Region::new(disk.file(), rootfs.start);
    let summary = tree.write(&options, &mut region).map_err(|error| {
        let told = failed("the root file system", &error);
        match error {
            ext4::Error::DoesNotFit { .. } => DelegateError::invalid_input(
                "the content does not fit the disk",
            )
            .caused_by(error)
            .hint("give more with `<disk><size>` in the template or the parameter `disk_size`"),
            _ => told,
        }
    })?;
    tracing::info!(
        written = summary.written_bytes,
        free = summary.free_bytes,
        "the root file system is written"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_are_ordered_by_number() {
        let dir = tempfile::tempdir().unwrap();
        let root = Utf8Path::from_path(dir.path()).unwrap();
        fs::create_dir(root.join("boot")).unwrap();
        for release in ["6.1.0-10-amd64", "6.1.0-9-amd64", "5.10.0-44-amd64"] {
            fs::write(root.join(format!("boot/vmlinuz-{release}")), "").unwrap();
        }
        let found = kernels(root).unwrap();
        assert_eq!(found, ["5.10.0-44-amd64", "6.1.0-9-amd64", "6.1.0-10-amd64"]);
    }
}

//! The disk: kernel, RAM disk and boot menu in the EFI system partition, GRUB for both firmwares.

use camino::{Utf8Path, Utf8PathBuf};
use fs_err as fs;
use plugin_api::{Builder, DelegateError};
use plugin_kit::boot::bios;
use plugin_kit::boot::grub::{Firmware, Grub, Menu, MenuEntry, UEFI_LOADER, early_config};
use plugin_kit::boot::initrd::{Compression, Ramdisk};
use plugin_kit::disk::{
    DiskSpec, FatSpec, Layout, MIB, Role, derived_uuid, fat_image, write_sparse,
};
use plugin_kit::run::CommandLine;
use std::collections::BTreeMap;

use crate::settings::Settings;
use crate::{failure, packages};

/// Writes the disk to the new file `path`.
///
/// # Errors
/// GRUB cannot be linked, the disk cannot be that large, or the file cannot be written.
pub(crate) fn write(
    builder: &Builder,
    grub: &Grub,
    settings: &Settings,
    kernel: &[u8],
    ramdisk: &Ramdisk,
    path: &Utf8Path,
) -> Result<(), DelegateError> {
    let (volume_id, ..) = derived_uuid(&settings.seed, "esp").as_fields();
    let mut esp = FatSpec { bytes: 0, volume_id, label: "APPLIANCE".to_owned() };
    let early = builder.work_dir().join("early.cfg");
    fs::write(&early, early_config(&esp.uuid(), GRUB_FOLDER))?;
    let core = link(builder, grub, Firmware::Bios, &early)?;
    let mut files = BTreeMap::from([
        (UEFI_LOADER.to_owned(), link(builder, grub, Firmware::Uefi, &early)?),
        ("vmlinuz".to_owned(), kernel.to_vec()),
        ("initrd.img".to_owned(), ramdisk.packed(PACKING)?),
        ("boot/grub/grub.cfg".to_owned(), menu(settings).into_bytes()),
    ]);
    esp.bytes = esp_bytes(&files);
    let seed = settings.seed.clone();
    let layout = Layout::new(&DiskSpec { seed, esp_bytes: esp.bytes, root_bytes: None })
        .and_then(|layout| layout.at_least(settings.disk_bytes))
        .map_err(|error| DelegateError::invalid_input(error.to_string()))?;
    let image = fat_image(&esp, &files).map_err(|error| failure::disk(&error))?;
    files.clear();
    let (Some(boot_partition), Some(esp_partition)) =
        (layout.partition(Role::BiosBoot), layout.partition(Role::Esp))
    else {
        return Err(DelegateError::bug_in_plugin("the disk has no boot partitions"));
    };
    let boot_img = fs::read(grub.boot_img())?;
    let (start, room) = (boot_partition.first_lba(), boot_partition.len);
    let boot = bios::embed(&boot_img, &core, start, room).map_err(|error| failure::disk(&error))?;
    let file = layout.create(path, &boot.boot_code).map_err(|error| failure::disk(&error))?;
    write_sparse(&file, boot_partition.start, &boot.core)?;
    write_sparse(&file, esp_partition.start, &image)?;
    Ok(())
}

/// Links a core image and answers its bytes.
fn link(
    builder: &Builder,
    grub: &Grub,
    firmware: Firmware,
    early: &Utf8Path,
) -> Result<Vec<u8>, DelegateError> {
    let output: Utf8PathBuf = builder.work_dir().join(format!("grub-{}", firmware.platform()));
    let line: CommandLine = grub.mkimage(firmware, early, &output);
    packages::run(builder, &line).map_err(|error| {
        error
            .downcast::<DelegateError>()
            .map_or_else(|other| failure::disk(&*other), |known| *known)
    })?;
    Ok(fs::read(output)?)
}

fn menu(settings: &Settings) -> String {
    let parameters = format!("{PARAMETERS} {}", settings.kernel_parameters);
    let entry = MenuEntry {
        title: settings.host_name.clone(),
        kernel: "/vmlinuz".to_owned(),
        initrd: "/initrd.img".to_owned(),
        parameters: parameters.trim_end().to_owned(),
        only_if_present: false,
    };
    Menu { timeout: settings.boot_timeout, entries: vec![entry] }.text()
}

/// Room for the files and for the tables of the file system, in steps that hide small changes.
fn esp_bytes(files: &BTreeMap<String, Vec<u8>>) -> u64 {
    let needed: u64 = files.values().map(|contents| contents.len() as u64).sum();
    (needed + 4 * MIB).next_multiple_of(16 * MIB).max(32 * MIB)
}

const GRUB_FOLDER: &str = "/boot/grub";
/// gzip unpacks quickly in every kernel.
const PACKING: Compression = Compression::Gzip(6);
/// Both consoles, the serial one last: it is the one that `/dev/console` means. Kernel messages below
/// a warning stay in the log, as writing them takes longer than booting.
const PARAMETERS: &str = "console=tty0 console=ttyS0,115200 quiet loglevel=4 panic=10";

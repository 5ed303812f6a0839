//! The initial RAM disk of a Debian disk: BusyBox, the drivers of the usual disks, a short script.
//!
//! It holds every driver that a virtual machine or a common server needs to reach its root file
//! system and loads those whose devices are there, so one image boots on virtio, NVMe, SCSI, SATA,
//! Hyper-V and Xen. It is a tenth of what `initramfs-tools` makes, and takes no process to make.

use super::archive::{InvalidPath, Ramdisk};
use super::modules::{Module, modules_alias, modules_dep};

/// What goes into the initial RAM disk of a Debian disk.
#[derive(Clone, Copy, Debug)]
pub struct DebianRamdisk<'a> {
    /// The statically linked program of the package `busybox-static`.
    pub busybox: &'a [u8],
    /// Release of the kernel, as in `lib/modules/RELEASE`.
    pub kernel_release: &'a str,
    /// The answer of [`super::ModuleTree::closure`] for [`DISK_MODULES`].
    pub modules: &'a [Module],
}

/// Fills an initial RAM disk that mounts what the kernel parameter `root=` names and starts the
/// system there.
///
/// It understands `root=` with a device or `UUID=`, `LABEL=`, `PARTUUID=`, and `rootflags=`,
/// `rootfstype=`, `rootwait=SECONDS` (default 30), `ro`, `rw`, `init=`, `panic=SECONDS`.
///
/// # Errors
/// The kernel release or the path of a module is no valid path.
pub fn debian(parts: &DebianRamdisk<'_>) -> Result<Ramdisk, InvalidPath> {
    let mut disk = Ramdisk::new();
    for folder in ["dev", "proc", "sys", "root", "run", "tmp"] {
        disk.insert(folder, super::Node::Directory(0o755))?;
    }
    disk.file("bin/busybox", 0o755, parts.busybox)?;
    disk.symlink("bin/sh", "busybox")?;
    // The kernel itself calls this path when it misses a module.
    disk.symlink("sbin/modprobe", "../bin/busybox")?;
    disk.file("init", 0o755, INIT)?;
    let folder = format!("lib/modules/{}", parts.kernel_release);
    for module in parts.modules {
        disk.file(&format!("{folder}/{}", module.path), 0o644, module.contents.as_slice())?;
    }
    disk.file(&format!("{folder}/modules.dep"), 0o644, modules_dep(parts.modules))?;
    disk.file(&format!("{folder}/modules.alias"), 0o644, modules_alias(parts.modules))?;
    Ok(disk)
}

const INIT: &str = include_str!("init.sh");

/// The drivers that may stand between a kernel and its root file system; each is taken where the
/// kernel has it as a module.
pub const DISK_MODULES: &[&str] = &[
    // Paravirtual disks.
    "virtio_pci",
    "virtio_mmio",
    "virtio_blk",
    "virtio_scsi",
    "hv_vmbus",
    "hv_storvsc",
    "xen_blkfront",
    "vmw_pvscsi",
    // Real and emulated controllers.
    "nvme",
    "ahci",
    "ata_piix",
    "ata_generic",
    "mptspi",
    "mptsas",
    "mpt3sas",
    "sym53c8xx",
    "megaraid_sas",
    // PCI behind a paravirtual bridge.
    "pci_hyperv",
    "vmd",
    // Disks on SCSI.
    "sd_mod",
    // The file system. Its checksums come from a module that nothing names as a dependency.
    "crc32c_generic",
    "crc32c_intel",
    "ext4",
];

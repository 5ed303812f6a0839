//! A virtual machine as QEMU is told of it.

use std::fmt;
use std::io::{ErrorKind, Read};
use std::process::{Child, Command, Stdio};

use camino::{Utf8Path, Utf8PathBuf};

use super::BootError;
use super::monitor::Monitor;
use crate::{process, settings};

/// Firmware of a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Firmware {
    /// UEFI.
    Uefi,
    /// BIOS.
    Bios,
}

impl fmt::Display for Firmware {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Uefi => "UEFI",
            Self::Bios => "BIOS",
        })
    }
}

/// How a disk is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disk {
    /// virtio-blk.
    Virtio,
    /// `NVMe`.
    Nvme,
    /// virtio-scsi.
    Scsi,
    /// AHCI.
    Sata,
}

impl Disk {
    fn devices(self) -> &'static [&'static str] {
        match self {
            Self::Virtio => &["virtio-blk-pci,drive=disk"],
            Self::Nvme => &["nvme,drive=disk,serial=imageforge"],
            Self::Scsi => &["virtio-scsi-pci", "scsi-hd,drive=disk"],
            Self::Sata => &["ich9-ahci,id=sata", "ide-hd,drive=disk,bus=sata.0"],
        }
    }
}

/// What runs the guest's instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accelerator {
    /// The processor.
    Kvm,
    /// A translator.
    Tcg,
}

impl fmt::Display for Accelerator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kvm => "KVM",
            Self::Tcg => "TCG",
        })
    }
}

impl Accelerator {
    /// What to try for a guest of `arch`, in order.
    fn candidates(arch: &str) -> Vec<Self> {
        let native =
            machine_of(arch).is_some_and(|found| found.native_arch == std::env::consts::ARCH);
        let opens = || fs_err::OpenOptions::new().read(true).write(true).open("/dev/kvm").is_ok();
        if native && opens() { vec![Self::Kvm, Self::Tcg] } else { vec![Self::Tcg] }
    }
}

/// What differs between architectures.
struct Architecture {
    native_arch: &'static str,
    program: &'static str,
    machine: &'static str,
    /// What QEMU pretends to be without KVM.
    translated_cpu: &'static str,
    firmware: &'static [(&'static str, &'static str)],
    has_bios: bool,
}

/// Where Debian's packages `ovmf` and `qemu-efi-aarch64` put code and variables.
const OVMF: [(&str, &str); 2] = [
    ("/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"),
    ("/usr/share/OVMF/OVMF_CODE.fd", "/usr/share/OVMF/OVMF_VARS.fd"),
];
const AAVMF: [(&str, &str); 1] =
    [("/usr/share/AAVMF/AAVMF_CODE.fd", "/usr/share/AAVMF/AAVMF_VARS.fd")];

/// The program that boots images of `arch`, and its firmware for UEFI if that is installed.
pub fn tools(arch: &str) -> Option<(&'static str, Option<&'static str>)> {
    let found = machine_of(arch)?;
    let firmware = found.firmware.iter().map(|(code, _)| *code);
    Some((found.program, firmware.into_iter().find(|code| Utf8Path::new(code).is_file())))
}

fn machine_of(arch: &str) -> Option<Architecture> {
    match arch {
        "x86_64" | "i386" => Some(Architecture {
            native_arch: "x86_64",
            program: "qemu-system-x86_64",
            machine: "q35",
            // x86-64-v2 and no virtualisation of its own. With `max,svm=off`, programs of the guest
            // crash (QEMU 7.2, 2026-11-21).
            translated_cpu: "Nehalem",
            firmware: &OVMF,
            has_bios: true,
        }),
        "aarch64" => Some(Architecture {
            native_arch: "aarch64",
            program: "qemu-system-aarch64",
            machine: "virt",
            translated_cpu: "max",
            firmware: &AAVMF,
            has_bios: false,
        }),
        _ => None,
    }
}

/// One machine with one disk.
#[derive(Clone, Debug)]
pub struct Machine {
    /// The disk image.
    pub image: Utf8PathBuf,
    /// QEMU's name of its format.
    pub format: &'static str,
    /// TDL's name of the architecture.
    pub architecture: String,
    /// Firmware.
    pub firmware: Firmware,
    /// How the disk is attached.
    pub disk: Disk,
    /// Memory in MiB.
    pub memory_mib: u32,
    /// What the settings say about acceleration.
    pub accelerator: settings::Accelerator,
}

/// Whether the first sector of the raw disk `path` ends as every bootable disk's does: with
/// 0x55 0xAA, in a master boot record as in the protective one of a GPT (UEFI 2.10, section 5.2).
pub fn has_boot_signature(path: &Utf8Path) -> bool {
    let mut sector = [0; 512];
    let read = fs_err::File::open(path).and_then(|mut disk| disk.read_exact(&mut sector));
    read.is_ok() && sector.ends_with(&[0x55, 0xaa])
}

impl Machine {
    /// What to try, in order.
    pub(super) fn accelerators(&self) -> Vec<Accelerator> {
        match self.accelerator {
            settings::Accelerator::Auto => Accelerator::candidates(&self.architecture),
            settings::Accelerator::Kvm => vec![Accelerator::Kvm],
            settings::Accelerator::Tcg => vec![Accelerator::Tcg],
        }
    }

    /// Starts QEMU; its serial console goes to `console`.
    pub(super) fn start(
        &self,
        accelerator: Accelerator,
        console: &Utf8Path,
        work_dir: &Utf8Path,
    ) -> Result<(Child, Monitor), BootError> {
        let architecture = machine_of(&self.architecture)
            .ok_or_else(|| BootError::UnknownArchitecture(self.architecture.clone()))?;
        let mut command = process::command("setpriv");
        command.args(["--pdeathsig", "KILL", "--", architecture.program]);
        self.describe(&mut command, &architecture, accelerator);
        self.add_firmware(&mut command, &architecture, work_dir)?;
        command
            .args(["-serial", &format!("file:{}", escaped(console))])
            .env("TMPDIR", work_dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        require(architecture.program)?;
        let mut child = command.spawn()?;
        match (child.stdin.take(), child.stdout.take(), child.stderr.take()) {
            (Some(commands), Some(answers), Some(errors)) => {
                Ok((child, Monitor::new(commands, answers, errors)))
            },
            _ => Err(BootError::Io(std::io::Error::other("QEMU has no standard streams"))),
        }
    }

    fn describe(&self, command: &mut Command, architecture: &Architecture, by: Accelerator) {
        let accelerator = match by {
            Accelerator::Kvm => ["-accel", "kvm", "-cpu", "host", "-smp", "2"],
            // With two translated processors, one start in eight hung before its kernel spoke
            // (QEMU 7.2, 2026-11); with one, none of twenty.
            Accelerator::Tcg => ["-accel", "tcg", "-cpu", architecture.translated_cpu, "-smp", "1"],
        };
        let drive = format!(
            "if=none,id=disk,snapshot=on,format={},file={}",
            self.format,
            escaped(&self.image)
        );
        command
            .args(["-machine", architecture.machine])
            .args(accelerator)
            .args(["-m", &self.memory_mib.to_string()])
            .args(["-nodefaults", "-no-user-config", "-no-reboot", "-display", "none"])
            .args(["-vga", "std", "-qmp", "stdio"])
            .args([
                "-netdev",
                "user,id=net,restrict=on",
                "-device",
                "virtio-net-pci,netdev=net,romfile=",
            ])
            .args(["-device", "virtio-rng-pci"])
            .args(["-drive", &drive]);
        for device in self.disk.devices() {
            command.args(["-device", device]);
        }
    }

    /// UEFI keeps variables in a flash of its own, which a guest may write.
    fn add_firmware(
        &self,
        command: &mut Command,
        architecture: &Architecture,
        work_dir: &Utf8Path,
    ) -> Result<(), BootError> {
        let missing =
            || BootError::NoFirmware { firmware: self.firmware, arch: self.architecture.clone() };
        if self.firmware == Firmware::Bios {
            return if architecture.has_bios { Ok(()) } else { Err(missing()) };
        }
        let exists = |path: &str| fs_err::metadata(path).is_ok();
        let (code, variables) = architecture
            .firmware
            .iter()
            .find(|(code, variables)| exists(code) && exists(variables))
            .ok_or_else(missing)?;
        let own_variables = work_dir.join("firmware-variables.fd");
        fs_err::copy(variables, &own_variables)?;
        command
            .args(["-drive", &format!("if=pflash,format=raw,readonly=on,file={code}")])
            .args(["-drive", &format!("if=pflash,format=raw,file={}", escaped(&own_variables))]);
        Ok(())
    }
}

/// QEMU separates options by commas; a comma in a value is written twice.
fn escaped(path: &Utf8Path) -> String {
    path.as_str().replace(',', ",,")
}

fn require(program: &str) -> Result<(), BootError> {
    let answer = process::command(program)
        .arg("--version")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    match answer {
        Err(source) if source.kind() == ErrorKind::NotFound => {
            Err(BootError::NoQemu { program: program.to_owned(), source })
        },
        _ => Ok(()),
    }
}

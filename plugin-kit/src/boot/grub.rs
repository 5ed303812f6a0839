//! Making GRUB's core images and its menu.
//!
//! The core images are linked by `grub-mkimage` from the modules of the build machine; the same
//! modules and configuration give the same bytes.

use crate::run::CommandLine;
use camino::{Utf8Path, Utf8PathBuf};
use std::fmt::Write;

/// The two ways in which a PC starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Firmware {
    /// PC BIOS, or UEFI's emulation of it.
    Bios,
    /// 64-bit UEFI.
    Uefi,
}

impl Firmware {
    /// GRUB's name of the platform, which is also the name of the folder of its modules.
    pub fn platform(self) -> &'static str {
        match self {
            Self::Bios => "i386-pc",
            Self::Uefi => "x86_64-efi",
        }
    }

    /// The Debian package with the modules.
    fn package(self) -> &'static str {
        match self {
            Self::Bios => "grub-pc-bin",
            Self::Uefi => "grub-efi-amd64-bin",
        }
    }

    fn modules(self) -> impl Iterator<Item = &'static str> {
        let own: &[&str] = match self {
            Self::Bios => &["biosdisk", "vga_text"],
            Self::Uefi => &["efi_gop", "efi_uga"],
        };
        own.iter().chain(MODULES).copied()
    }
}

/// Where UEFI looks for the loader of a disk that it has not seen before (UEFI 2.10, 3.5.1.1).
pub const UEFI_LOADER: &str = "EFI/BOOT/BOOTX64.EFI";

/// GRUB as it is installed on the build machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grub {
    lib: Utf8PathBuf,
}

/// GRUB cannot be used because something is not installed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("GRUB is not complete on this machine: {} not found", .paths.join(", "))]
pub struct MissingGrub {
    /// What was looked for, in backticks.
    pub paths: Vec<String>,
    /// The Debian packages that contain it.
    pub packages: Vec<&'static str>,
}

impl MissingGrub {
    /// What to do about it.
    pub fn hint(&self) -> String {
        format!("install the packages `{}`", self.packages.join("`, `"))
    }
}

impl Grub {
    /// The installed GRUB, with the modules of all `firmwares`.
    ///
    /// # Errors
    /// A module or `grub-mkimage` is missing.
    pub fn installed(firmwares: &[Firmware]) -> Result<Self, MissingGrub> {
        Self::at("/usr/lib/grub".into(), "/usr/bin/grub-mkimage".into(), firmwares)
    }

    fn at(lib: &Utf8Path, mkimage: &Utf8Path, firmwares: &[Firmware]) -> Result<Self, MissingGrub> {
        let mut missing = MissingGrub { paths: Vec::new(), packages: Vec::new() };
        let mut need = |path: Utf8PathBuf, package| {
            if !path.exists() {
                missing.paths.push(format!("`{path}`"));
                if !missing.packages.contains(&package) {
                    missing.packages.push(package);
                }
            }
        };
        need(mkimage.to_owned(), "grub-common");
        for firmware in firmwares {
            // One file stands for the package: its other modules come with it.
            let file = match firmware {
                Firmware::Bios => "boot.img",
                Firmware::Uefi => "kernel.img",
            };
            need(lib.join(firmware.platform()).join(file), firmware.package());
        }
        if missing.paths.is_empty() { Ok(Self { lib: lib.to_owned() }) } else { Err(missing) }
    }

    /// The boot sector that [`super::bios::embed`] completes.
    pub fn boot_img(&self) -> Utf8PathBuf {
        self.lib.join(Firmware::Bios.platform()).join("boot.img")
    }

    /// Links a core image to `output`. It runs the commands in the file `early_config` first, whose
    /// text is [`early_config`].
    pub fn mkimage(
        &self,
        firmware: Firmware,
        early_config: &Utf8Path,
        output: &Utf8Path,
    ) -> CommandLine {
        let modules = self.lib.join(firmware.platform());
        CommandLine::new("grub-mkimage")
            .args(["-O", firmware.platform(), "-d", modules.as_str()])
            .args(["-p", "/boot/grub", "-c", early_config.as_str(), "-o", output.as_str()])
            .args(firmware.modules())
            .env("SOURCE_DATE_EPOCH", "0")
    }
}

/// The commands that find the file system `uuid` and make `folder` on it the place of `grub.cfg`.
pub fn early_config(uuid: &str, folder: &str) -> String {
    format!("search --no-floppy --fs-uuid --set=root {uuid}\nset prefix=($root){folder}\n")
}

/// One line of GRUB's menu.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MenuEntry {
    /// What the menu shows.
    pub title: String,
    /// Path of the kernel on the file system that holds the menu.
    pub kernel: String,
    /// Path of the initial RAM disk.
    pub initrd: String,
    /// Kernel parameters.
    pub parameters: String,
    /// Leaves the entry out of the menu while there is no such kernel.
    pub only_if_present: bool,
}

/// GRUB's menu.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Menu {
    /// Seconds for which the menu is shown; with 0 the first entry starts at once.
    pub timeout: u32,
    /// The entries; the first one is the default.
    pub entries: Vec<MenuEntry>,
}

impl Menu {
    /// The menu of a Debian system: the links in `/` that Debian keeps on the newest kernel and the
    /// one before it, so that a kernel update needs no new menu.
    pub fn debian(root: &str, parameters: &str, timeout: u32) -> Self {
        let entry = |title: &str, suffix: &str, only_if_present| MenuEntry {
            title: title.to_owned(),
            kernel: format!("/vmlinuz{suffix}"),
            initrd: format!("/initrd.img{suffix}"),
            parameters: format!("root={root} ro {parameters}").trim_end().to_owned(),
            only_if_present,
        };
        let entries =
            vec![entry("Debian", "", false), entry("Debian, previous kernel", ".old", true)];
        Self { timeout, entries }
    }

    /// The text of `grub.cfg`: menu and messages on the display and the first serial port.
    pub fn text(&self) -> String {
        let mut text = String::from(
            "serial --unit=0 --speed=115200\n\
             terminal_input console serial\n\
             terminal_output console serial\n\
             set default=0\n",
        );
        let mut line = |indent: &str, rest: &str| {
            text.push_str(indent);
            text.push_str(rest);
            text.push('\n');
        };
        line("", &format!("set timeout={}", self.timeout));
        for entry in &self.entries {
            let indent = if entry.only_if_present {
                line("", &format!("if [ -e {} ]; then", entry.kernel));
                "  "
            } else {
                ""
            };
            line(indent, &format!("menuentry {} {{", quoted(&entry.title)));
            line(indent, &format!("  linux {} {}", entry.kernel, kernel_line(&entry.parameters)));
            line(indent, &format!("  initrd {}", entry.initrd));
            line(indent, "}");
            if entry.only_if_present {
                line("", "fi");
            }
        }
        text
    }
}

/// `text` as one word of GRUB's shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''").replace('\n', " "))
}

/// Kernel parameters with everything escaped that GRUB's shell would interpret.
fn kernel_line(parameters: &str) -> String {
    let mut line = String::new();
    for character in parameters.chars() {
        match character {
            '\n' | '\r' | '\t' => line.push(' '),
            '$' | '\\' | '\'' | '"' | ';' | '&' | '|' | '<' | '>' | '{' | '}' | '#' => {
                let _infallible = write!(line, "\\{character}");
            },
            _ => line.push(character),
        }
    }
    line
}

/// What the menu and both file systems need; modules are not loaded from the disk.
const MODULES: &[&str] = &[
    "part_gpt",
    "fat",
    "ext2",
    "search",
    "search_fs_uuid",
    "normal",
    "configfile",
    "test",
    "echo",
    "minicmd",
    "linux",
    "gzio",
    "serial",
    "terminal",
    "ls",
    "cat",
    "halt",
    "reboot",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named_with_its_packages() {
        let nowhere = Utf8Path::new("/nonexistent/grub");
        let missing = Grub::at(nowhere, nowhere, &[Firmware::Bios, Firmware::Uefi]).unwrap_err();
        assert_eq!(missing.packages, ["grub-common", "grub-pc-bin", "grub-efi-amd64-bin"]);
        assert!(missing.to_string().contains("`/nonexistent/grub/i386-pc/boot.img`"), "{missing}");
        assert!(missing.hint().contains("`grub-pc-bin`"));
    }
}

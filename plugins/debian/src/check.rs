//! Everything that stands against a build, found before it begins.

use camino::Utf8Path;
use plugin_api::{Builder, DelegateError};
use plugin_kit::boot::grub::{Firmware, Grub};

use crate::archive;
use crate::base::MMDEBSTRAP;
use crate::settings::Settings;
use crate::whole_template;

/// Programs that a build runs, and the Debian packages that they come with.
const PROGRAMS: &[(&str, &str)] = &[
    (MMDEBSTRAP, "mmdebstrap"),
    ("/usr/bin/apt-get", "apt"),
    ("/usr/lib/apt/apt-helper", "apt"),
    ("/usr/bin/dpkg", "dpkg"),
    ("/usr/bin/tar", "tar"),
    ("/usr/sbin/chroot", "coreutils"),
    ("/usr/bin/mount", "mount"),
];

/// All problems of the template, the parameters and the machine.
pub fn check(builder: &Builder) -> Vec<DelegateError> {
    let mut problems = Vec::new();
    tools(&mut problems);
    let read = match whole_template(builder) {
        Ok(template) => Settings::read(&template, builder.parameters()),
        Err(error) => Err(vec![error]),
    };
    match read {
        Ok(settings) => {
            architecture(&settings, &mut problems);
            keyring(&settings, &mut problems);
            if let Err(error) = archive::resolve(builder, &settings) {
                problems.push(error);
            }
        },
        Err(wrong) => problems.extend(wrong),
    }
    problems
}

fn tools(problems: &mut Vec<DelegateError>) {
    let missing: Vec<_> =
        PROGRAMS.iter().filter(|(path, _)| !Utf8Path::new(path).exists()).collect();
    for (path, package) in missing {
        problems.push(
            DelegateError::missing_requirement(format!("program `{path}` is not installed"))
                .hint(format!("install it: apt-get install {package}")),
        );
    }
    if let Err(error) = Grub::installed(&[Firmware::Bios, Firmware::Uefi]) {
        let hint = error.hint();
        problems.push(DelegateError::missing_requirement(error.to_string()).hint(hint));
    }
    if !rustix::process::geteuid().is_root() {
        problems.push(
            DelegateError::missing_requirement(
                "this build needs root, or a user namespace with sub-ids",
            )
            .hint(
                "install `uidmap` and give the user a line in /etc/subuid and /etc/subgid \
                       (`usermod --add-subuids 100000-165535 --add-subgids 100000-165535 USER`)",
            ),
        );
    }
}

/// GRUB's images for PCs are what makes the disk boot, so only PCs are served.
fn architecture(settings: &Settings, problems: &mut Vec<DelegateError>) {
    let arch = settings.distribution.arch.as_str();
    if !matches!(arch, "amd64" | "i386") {
        problems.push(
            DelegateError::unsupported(format!("cannot make a disk for `{arch}` bootable"))
                .hint("disks are made for `x86_64` and `i386`"),
        );
    } else if !runs_here(arch) {
        problems.push(
            DelegateError::missing_requirement(format!(
                "this machine cannot run programs for `{arch}`"
            ))
            .hint("install `qemu-user-static` and `binfmt-support`, or build on another machine"),
        );
    }
}

/// Whether programs for `arch` run, natively or by a registered interpreter.
fn runs_here(arch: &str) -> bool {
    let native = match std::env::consts::ARCH {
        "x86_64" => matches!(arch, "amd64" | "i386"),
        "aarch64" => arch == "arm64",
        "x86" => arch == "i386",
        _ => false,
    };
    let interpreter = match arch {
        "amd64" => "x86_64",
        "arm64" => "aarch64",
        other => other,
    };
    native || Utf8Path::new("/proc/sys/fs/binfmt_misc").join(format!("qemu-{interpreter}")).exists()
}

fn keyring(settings: &Settings, problems: &mut Vec<DelegateError>) {
    let keyring = &settings.keyring;
    if !Utf8Path::new(keyring).exists() {
        let package = settings.distribution.keyring_package();
        problems.push(
            DelegateError::missing_requirement(format!("keyring `{keyring}` does not exist")).hint(
                format!("install `{package}`, or name another file with the parameter `keyring`"),
            ),
        );
    }
}

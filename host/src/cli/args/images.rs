//! `images …`

use camino::Utf8PathBuf;
use clap::{Args, Subcommand, ValueEnum};

/// `imageforge images …`
#[derive(Debug, Subcommand)]
pub enum Images {
    /// List images, newest first
    List {
        /// Only this tier: base, target or provider
        #[arg(long)]
        tier: Option<String>,
        /// Only this status
        #[arg(long)]
        status: Option<String>,
        /// Only this target
        #[arg(long)]
        target: Option<String>,
        /// Only this label (may be repeated)
        #[arg(long = "label", value_name = "KEY=VALUE")]
        labels: Vec<String>,
        /// At most this many
        #[arg(long, value_name = "N")]
        limit: Option<u32>,
    },
    /// Show one image
    Show {
        /// Identifier, its beginning, or a name
        id: String,
    },
    /// Show the build log of an image
    Log {
        /// Identifier, its beginning, or a name
        id: String,
        /// Go on until the build ends
        #[arg(long, short)]
        follow: bool,
    },
    /// Cancel builds
    Cancel {
        /// Identifiers, their beginnings, or names
        #[arg(required = true)]
        ids: Vec<String>,
    },
    /// Delete images
    Delete {
        /// Identifiers, their beginnings, or names
        #[arg(required = true)]
        ids: Vec<String>,
        /// Also delete images that were made from them
        #[arg(long, conflicts_with = "force")]
        cascade: bool,
        /// Delete them though others were made from them
        #[arg(long)]
        force: bool,
        /// Provider of a provider image, when it is another than recorded
        #[arg(long)]
        provider: Option<String>,
        /// Credentials for the provider of a provider image: a file, or `@TEXT`
        #[arg(long)]
        credentials: Option<String>,
        /// Do not ask the provider of a provider image: what it has stays there
        #[arg(long, conflicts_with_all = ["provider", "credentials"])]
        leave_at_provider: bool,
    },
    /// Verify size and SHA-256 of images
    Check {
        /// Identifiers, their beginnings, or names; all images by default
        ids: Vec<String>,
    },
    /// Boot an image in a virtual machine and wait for a text on its serial console
    Boot(Boot),
    /// Copy the body of an image to a file
    Export {
        /// Identifier, its beginning, or a name
        id: String,
        /// Where to
        path: Utf8PathBuf,
        /// Replace a file that is there
        #[arg(long)]
        force: bool,
    },
    /// Take a disk (raw or qcow2) in as a base image
    Import {
        /// The disk
        path: Utf8PathBuf,
        /// Template that describes it
        #[arg(long)]
        template: Utf8PathBuf,
        /// Name of the image; the template's name by default
        #[arg(long)]
        name: Option<String>,
    },
}

/// `imageforge images boot`
#[derive(Args, Debug)]
pub struct Boot {
    /// Identifier, its beginning, or a name
    pub id: String,
    /// Text on the serial console that means success
    #[arg(long, value_name = "TEXT", default_value = "login:")]
    pub until: String,
    // 300, or what the settings file says.
    /// Seconds to wait for it
    ///
    /// [default: 300]
    #[arg(long, value_name = "S", help = "Seconds to wait for it [default: 300]")]
    pub timeout: Option<u64>,
    /// Firmware of the machine
    #[arg(long, default_value = "uefi")]
    pub firmware: Firmware,
    /// How the disk is attached
    #[arg(long, default_value = "virtio")]
    pub disk: DiskBus,
    /// Memory of the machine in MiB
    #[arg(long, value_name = "MIB", default_value_t = 1024)]
    pub memory: u32,
}

/// Firmware of a virtual machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Firmware {
    /// UEFI (OVMF).
    Uefi,
    /// BIOS (SeaBIOS).
    Bios,
}

/// How a disk is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum DiskBus {
    /// virtio-blk.
    Virtio,
    /// `NVMe`.
    Nvme,
    /// SCSI (virtio-scsi).
    Scsi,
    /// SATA (AHCI).
    Sata,
}

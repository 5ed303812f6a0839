//! Raw disks to convert, and every way to convert them.

use std::os::unix::fs::FileExt;

use camino::{Utf8Path, Utf8PathBuf};
use plugin_kit::formats::{FormatError, Written, qcow2, raw, vhd, vmdk};
use plugin_kit::sparse::{Control, ReadAt};

/// A directory that is removed at the end of the test.
pub(crate) struct Scratch(tempfile::TempDir);

impl Scratch {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().expect("scratch directory"))
    }

    pub(crate) fn path(&self, name: &str) -> Utf8PathBuf {
        Utf8Path::from_path(self.0.path()).expect("UTF-8 scratch directory").join(name)
    }
}

/// What fills a range of a disk.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Fill {
    Text,
    Noise,
    Zeros,
}

impl Fill {
    pub(crate) fn bytes(self, len: usize, seed: u64) -> Vec<u8> {
        let mut state = seed | 1;
        let noise = std::iter::repeat_with(move || {
            // Xorshift: nothing compresses it.
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()[3]
        });
        match self {
            Self::Text => b"the quick brown fox ".iter().copied().cycle().take(len).collect(),
            Self::Noise => noise.take(len).collect(),
            Self::Zeros => vec![0; len],
        }
    }
}

/// Makes a raw file of `size` bytes with the given fills at the given offsets, holes elsewhere.
pub(crate) fn make_disk(path: &Utf8Path, size: u64, fills: &[(u64, usize, Fill)]) {
    let file = fs_err::File::create(path).expect("new disk");
    file.set_len(size).expect("size of the disk");
    for (offset, len, fill) in fills {
        let bytes = fill.bytes(*len, offset + 1);
        file.file().write_all_at(&bytes, *offset).expect("data of the disk");
    }
}

pub(crate) const MIB: u64 = 1 << 20;

/// Every case at once: data at the start, over the borders of grain tables (32 MiB) and L2 tables (512 MiB),
/// stored zeros, noise between compressible data, and a last sector in a partial cluster.
pub(crate) fn make_varied_disk(path: &Utf8Path) -> u64 {
    let size = 1030 * MIB + 5 * 512;
    make_disk(
        path,
        size,
        &[
            (0, 200_000, Fill::Text),
            (300_000, 70_000, Fill::Noise),
            (MIB, 400_000, Fill::Zeros),
            (2 * MIB + 7, 1_000_000, Fill::Text),
            (2 * MIB + 200_000, 100_000, Fill::Noise),
            (32 * MIB - 100_000, 200_000, Fill::Text),
            (512 * MIB - 300_000, 500_000, Fill::Noise),
            (700 * MIB, 1, Fill::Noise),
            (size - 512, 512, Fill::Text),
        ],
    );
    size
}

/// A writer with its options: name, format for `qemu-img`, and whether that can check it.
pub(crate) struct Target {
    pub(crate) name: &'static str,
    pub(crate) qemu_format: &'static str,
    pub(crate) checkable: bool,
    write: fn(&dyn ReadAt, &Utf8Path, &Control<'_>) -> Result<Written, FormatError>,
}

impl Target {
    pub(crate) fn write(
        &self,
        disk: &dyn ReadAt,
        output: &Utf8Path,
        control: &Control<'_>,
    ) -> Result<Written, FormatError> {
        (self.write)(disk, output, control)
    }
}

pub(crate) const TARGETS: [Target; 8] = [
    Target { name: "raw", qemu_format: "raw", checkable: false, write: raw::write },
    Target {
        name: "qcow2",
        qemu_format: "qcow2",
        checkable: true,
        write: |disk, output, control| to_qcow2(disk, output, qcow2::Compression::None, control),
    },
    Target {
        name: "qcow2-zlib",
        qemu_format: "qcow2",
        checkable: true,
        write: |disk, output, control| to_qcow2(disk, output, qcow2::Compression::ZLIB, control),
    },
    Target {
        name: "qcow2-zstd",
        qemu_format: "qcow2",
        checkable: true,
        write: |disk, output, control| to_qcow2(disk, output, qcow2::Compression::ZSTD, control),
    },
    Target {
        name: "vmdk-stream",
        qemu_format: "vmdk",
        checkable: true,
        write: |disk, output, control| {
            to_vmdk(disk, output, vmdk::Layout::STREAM_OPTIMIZED, control)
        },
    },
    Target {
        name: "vmdk-sparse",
        qemu_format: "vmdk",
        checkable: true,
        write: |disk, output, control| {
            to_vmdk(disk, output, vmdk::Layout::MonolithicSparse, control)
        },
    },
    Target {
        name: "vhd-fixed",
        qemu_format: "vpc",
        checkable: false,
        write: |disk, output, control| to_vhd(disk, output, vhd::Layout::Fixed, control),
    },
    Target {
        name: "vhd-dynamic",
        qemu_format: "vpc",
        checkable: false,
        write: |disk, output, control| to_vhd(disk, output, vhd::Layout::Dynamic, control),
    },
];

fn to_qcow2(
    disk: &dyn ReadAt,
    output: &Utf8Path,
    compression: qcow2::Compression,
    control: &Control<'_>,
) -> Result<Written, FormatError> {
    qcow2::write(disk, output, &qcow2::Options { compression }, control)
}

fn to_vmdk(
    disk: &dyn ReadAt,
    output: &Utf8Path,
    layout: vmdk::Layout,
    control: &Control<'_>,
) -> Result<Written, FormatError> {
    let options = vmdk::Options {
        layout,
        adapter: vmdk::Adapter::LsiLogic,
        unique_id: *b"0123456789abcdef",
        extent_name: "disk.vmdk".to_owned(),
    };
    vmdk::write(disk, output, &options, control)
}

fn to_vhd(
    disk: &dyn ReadAt,
    output: &Utf8Path,
    layout: vhd::Layout,
    control: &Control<'_>,
) -> Result<Written, FormatError> {
    let options = vhd::Options {
        layout,
        align_to_mib: false,
        unique_id: *b"0123456789abcdef",
        timestamp: 700_000_000,
    };
    vhd::write(disk, output, &options, control)
}

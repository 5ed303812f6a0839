//! What a disk file from elsewhere is.

use camino::Utf8Path;

use crate::formats::FormatError;
use crate::formats::bytes::field;
use crate::formats::qcow2::{self, Qcow2Disk};
use crate::formats::tables::Source;
use crate::formats::vhd::{self, VhdDisk};
use crate::formats::vmdk::{self, VmdkDisk};
use crate::sparse::{RawDisk, ReadAt};

/// A format that can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImageFormat {
    /// Bytes of the disk as they are.
    Raw,
    /// QEMU's format, version 2 or 3.
    Qcow2,
    /// VMware's format in one file.
    Vmdk,
    /// Virtual PC's and Azure's format.
    Vhd,
}

impl ImageFormat {
    /// Name of the format in lower case.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Qcow2 => "qcow2",
            Self::Vmdk => "vmdk",
            Self::Vhd => "vhd",
        }
    }
}

/// What [`inspect`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Inspection {
    /// Format of the file.
    pub format: ImageFormat,
    /// Bytes that a guest sees.
    pub virtual_bytes: u64,
}

/// Recognises the format of `path` by magic number and checks its header and tables.
///
/// A raw disk has no magic number, so what nothing else claims is raw; who wrote a raw disk's first bytes
/// decides what it is taken for. Open files whose format is known with that format's own reader.
///
/// The virtual size is a claim: a small file may rightly describe petabytes of zeros. Limit it before importing.
///
/// # Errors
/// [`FormatError::Malformed`], [`FormatError::Unsupported`] (other formats, backing files, data in other files),
/// [`FormatError::Stream`].
pub fn inspect(path: &Utf8Path) -> Result<Inspection, FormatError> {
    let (format, disk) = open(path)?;
    Ok(Inspection { format, virtual_bytes: disk.size_bytes() })
}

/// Recognises `path` like [`inspect`] and opens it for reading.
///
/// # Errors
/// Those of [`inspect`].
pub fn open(path: &Utf8Path) -> Result<(ImageFormat, Box<dyn ReadAt + Send>), FormatError> {
    let file = RawDisk::open(path)?;
    let source = Source { file: &file, format: "raw" };
    let head: [u8; 512] = source.head()?;
    let tail = match file.size_bytes().checked_sub(512) {
        Some(at) => source.read("the footer", at, 8)?,
        None => Vec::new(),
    };
    if let Some((_, _, name)) =
        UNREADABLE.iter().find(|(at, magic, _)| head[*at..].starts_with(magic))
    {
        return Err(FormatError::unsupported(path, name, "its own layout"));
    }
    Ok(if head.starts_with(&qcow2::MAGIC) {
        (ImageFormat::Qcow2, Box::new(Qcow2Disk::from_file(file)?))
    } else if head.starts_with(&vmdk::MAGIC) || head.starts_with(b"# Disk DescriptorFile") {
        (ImageFormat::Vmdk, Box::new(VmdkDisk::from_file(file)?))
    } else if head.starts_with(&vhd::MAGIC) || field(&tail, 0) == vhd::MAGIC {
        (ImageFormat::Vhd, Box::new(VhdDisk::from_file(file)?))
    } else {
        source.require(file.size_bytes() > 0, "it is empty")?;
        (ImageFormat::Raw, Box::new(file))
    })
}

/// Offset, magic number and name of formats that must not pass for raw disks.
const UNREADABLE: [(usize, &[u8], &str); 9] = [
    (0, b"vhdxfile", "VHDX"),
    (0, b"COWD", "VMDK (ESX 2 sparse)"),
    (0, b"QED\0", "QED"),
    (0, b"WithoutFreeSpace", "Parallels"),
    (0, b"WithouFreSpacExt", "Parallels"),
    (64, b"\x7f\x10\xda\xbe", "VDI"),
    (0, b"\x1f\x8b", "gzip"),
    (0, b"\xfd7zXZ\0", "xz"),
    (0, b"\x28\xb5\x2f\xfd", "zstd"),
];

//! The text that describes a disk, embedded in its file.

use std::fmt::Write;

use super::{Layout, Options};
use crate::formats::FormatError;
use crate::formats::tables::Source;

/// Controller of the disk, `ddb.adapterType`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Adapter {
    /// LSI Logic SCSI, what OVF tools expect.
    LsiLogic,
    /// IDE; also the value for SATA.
    Ide,
    /// `BusLogic` SCSI.
    BusLogic,
    /// VMware's paravirtual SCSI.
    PvScsi,
}

impl Adapter {
    /// The value of `ddb.adapterType`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::LsiLogic => "lsilogic",
            Self::Ide => "ide",
            Self::BusLogic => "buslogic",
            Self::PvScsi => "pvscsi",
        }
    }

    /// Cylinders, heads and sectors per track that VMware's own tools give to a disk of this size.
    fn geometry(self, capacity_sectors: u64) -> (u64, u64, u64) {
        const GIB_SECTORS: u64 = (1 << 30) / 512;
        let (heads, sectors) = match (self, capacity_sectors) {
            (Self::Ide, _) => (16, 63),
            (_, ..GIB_SECTORS) => (64, 32),
            (_, size) if size < 2 * GIB_SECTORS => (128, 32),
            _ => (255, 63),
        };
        let cylinders = capacity_sectors / (heads * sectors);
        // ATA-4 ends at 16383 cylinders.
        let limit = if self == Self::Ide { 16_383 } else { u64::from(u16::MAX) };
        (cylinders.clamp(1, limit), heads, sectors)
    }
}

/// Room for the descriptor in sectors, as VMware reserves it.
pub(super) const DESCRIPTOR_SECTORS: u64 = 20;

pub(super) fn render(options: &Options, capacity_sectors: u64) -> Result<String, FormatError> {
    let name = &options.extent_name;
    let unfit = |c: char| c.is_control() || c == '"' || c == '/';
    if name.is_empty() || name.len() > 255 || name.contains(unfit) {
        return Err(FormatError::InvalidOption { option: "extent name", value: name.clone() });
    }
    let (create_type, access) = match options.layout {
        Layout::StreamOptimized { .. } => ("streamOptimized", "RDONLY"),
        Layout::MonolithicSparse => ("monolithicSparse", "RW"),
    };
    let [.., a, b, c, d] = options.unique_id;
    // All ones means "no parent".
    let content_id = u32::from_be_bytes([a, b, c, d]).min(u32::MAX - 1);
    let [long_id, uuid] = ["", " "].map(|separator| hex(&options.unique_id, separator));
    let adapter = options.adapter.as_str();
    let (cylinders, heads, sectors) = options.adapter.geometry(capacity_sectors);
    Ok(format!(
        "# Disk DescriptorFile\n\
         version=1\n\
         CID={content_id:08x}\n\
         parentCID=ffffffff\n\
         createType=\"{create_type}\"\n\
         \n\
         # Extent description\n\
         {access} {capacity_sectors} SPARSE \"{name}\"\n\
         \n\
         # The Disk Data Base\n\
         #DDB\n\
         \n\
         ddb.adapterType = \"{adapter}\"\n\
         ddb.geometry.cylinders = \"{cylinders}\"\n\
         ddb.geometry.heads = \"{heads}\"\n\
         ddb.geometry.sectors = \"{sectors}\"\n\
         ddb.longContentID = \"{long_id}\"\n\
         ddb.uuid = \"{uuid}\"\n\
         ddb.virtualHWVersion = \"4\"\n"
    ))
}

/// Refuses whatever needs a second file.
pub(super) fn check(source: &Source<'_>, descriptor: &[u8]) -> Result<(), FormatError> {
    let text = descriptor.split(|byte| *byte == 0).next().unwrap_or_default();
    let text = String::from_utf8_lossy(text);
    let mut extents = 0;
    for line in text.lines().map(str::trim) {
        let value = |key: &str| {
            let (name, value) = line.split_once('=')?;
            name.trim().eq_ignore_ascii_case(key).then(|| value.trim().trim_matches('"'))
        };
        if value("parentCID").is_some_and(|id| !id.eq_ignore_ascii_case("ffffffff")) {
            return Err(source.unsupported("a parent disk"));
        }
        let single = ["monolithicSparse", "streamOptimized"];
        if let Some(other) = value("createType").filter(|kind| !single.contains(kind)) {
            return Err(source.unsupported(format!("type `{}`", other.escape_default())));
        }
        let mut words = line.split_whitespace();
        if matches!(words.next(), Some("RW" | "RDONLY" | "NOACCESS")) {
            extents += 1;
            if words.nth(1) != Some("SPARSE") {
                return Err(source.unsupported("extents in other files"));
            }
        }
    }
    match extents {
        0 => Err(source.malformed("the descriptor names no extent")),
        1 => Ok(()),
        _ => Err(source.unsupported("extents in other files")),
    }
}

fn hex(bytes: &[u8], separator: &str) -> String {
    let mut text = String::new();
    for (i, byte) in bytes.iter().enumerate() {
        let separator = if i == 0 { "" } else { separator };
        // Writing to a `String` does not fail.
        write!(text, "{separator}{byte:02x}").unwrap_or_default();
    }
    text
}

//! What kind of file an image is.

use camino::Utf8Path;
use plugin_kit::formats::{ImageFormat, inspect};

/// What a disk is by its own word; plugins may say better with the property `media_type`.
pub(super) fn media_type_of(path: &Utf8Path) -> &'static str {
    match inspect(path).map(|found| found.format) {
        Ok(ImageFormat::Raw) => "application/x-raw-disk-image",
        Ok(ImageFormat::Qcow2) => "application/x-qemu-disk",
        Ok(ImageFormat::Vmdk) => "application/x-vmdk",
        Ok(ImageFormat::Vhd) => "application/x-vhd",
        _ => "application/octet-stream",
    }
}

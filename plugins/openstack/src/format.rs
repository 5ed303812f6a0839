//! The body of the target image: QCOW2 or raw.

use plugin_api::{Builder, DelegateError};
use plugin_kit::delegate::{choice, disk_of, with_control};
use plugin_kit::formats::qcow2::{self, Compression};
use plugin_kit::sparse::ReadAt;

/// Parameter, and setting of the plugin, with the format; upstream's name.
const FORMAT: &str = "openstack_image_format";
/// Parameter with the compression of QCOW2.
const COMPRESSION: &str = "openstack_compression";
/// Property of the target image with its format in Glance's words.
const DISK_FORMAT: &str = "disk_format";

/// What is written.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Format {
    Raw,
    Qcow2(Compression),
}

impl Format {
    /// In Glance's words.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Qcow2(_) => "qcow2",
        }
    }
}

/// Reads the parameters; a setting of the plugin stands in for the format.
pub(crate) fn wanted(builder: &Builder) -> Result<Format, DelegateError> {
    const FORMATS: [(&str, bool); 2] = [("qcow2", false), ("raw", true)];
    let compressions =
        [("none", Compression::None), ("zlib", Compression::ZLIB), ("zstd", Compression::ZSTD)];
    let compression = choice(builder, COMPRESSION, &compressions)?;
    let is_raw = match choice(builder, FORMAT, &FORMATS)? {
        Some(is_raw) => is_raw,
        None => builder.configuration().string(FORMAT)?.as_deref() == Some("raw"),
    };
    match (is_raw, compression) {
        (true, None) => Ok(Format::Raw),
        (true, Some(_)) => Err(DelegateError::invalid_input(format!(
            "parameter `{COMPRESSION}`: a raw image is not compressed"
        ))
        .hint(format!("leave it out, or set `{FORMAT}` to `qcow2`"))),
        (false, compression) => Ok(Format::Qcow2(compression.unwrap_or(Compression::ZLIB))),
    }
}

/// Writes the body, and records what it is.
pub(crate) fn write(builder: &Builder) -> Result<(), DelegateError> {
    let disk = disk_of(builder)?;
    let format = wanted(builder)?;
    let media_type = match format {
        Format::Raw => {
            builder.activity("copying the disk");
            builder.copy_file(disk.path(), builder.image_path())?;
            "application/octet-stream"
        },
        Format::Qcow2(compression) => {
            builder.activity("writing the QCOW2 image");
            with_control(builder, |control| {
                let options = qcow2::Options { compression };
                qcow2::write(&disk, builder.image_path(), &options, control)
            })?;
            "application/x-qemu-disk"
        },
    };
    builder.set_property("media_type", media_type)?;
    builder.set_property("virtual_size_bytes", disk.size_bytes())?;
    builder.set_property(DISK_FORMAT, format.name())
}

/// The format of what is delivered, in Glance's words: that of the finished target image, or of the one that
/// will be made.
pub(crate) fn delivered(builder: &Builder) -> &str {
    let Some(image) = builder.target_image() else {
        return wanted(builder).map_or("qcow2", Format::name);
    };
    let known = |name: &str| image.properties.get(name).and_then(serde_json::Value::as_str);
    known(DISK_FORMAT).unwrap_or("qcow2")
}

//! Target `qcow2`: a QCOW2 image, version 3, for QEMU, KVM and OpenStack.
//!
//! Compressed with zlib unless the parameters say otherwise: what is built here is published and
//! downloaded far more often than it is started in place, and every QEMU reads it.

use plugin_api::{Builder, CloudDelegate, DelegateError};
use plugin_kit::delegate::{choice, disk_of, level, refuse_provider, with_control};
use plugin_kit::formats::qcow2::{self, Compression, Options};

plugin_api::export_plugin!(cloud => Qcow2);

/// The delegate.
#[derive(Debug)]
struct Qcow2;

impl CloudDelegate for Qcow2 {
    fn check(&self, builder: &Builder) -> Vec<DelegateError> {
        let answers = [refuse_provider(builder), compression(builder).map(drop)];
        answers.into_iter().filter_map(Result::err).collect()
    }

    fn finish_target_image(&self, builder: &Builder) -> Result<(), DelegateError> {
        let compression = compression(builder)?;
        let disk = disk_of(builder)?;
        builder.activity("writing the QCOW2 image");
        let written = with_control(builder, |control| {
            let options = Options { compression };
            qcow2::write(&disk, builder.image_path(), &options, control)
        })?;
        builder.set_property("media_type", "application/x-qemu-disk")?;
        builder.set_property("virtual_size_bytes", written.virtual_bytes)?;
        builder.set_property("subformat", "version 3")?;
        builder.set_property("compression", name(compression))
    }
}

/// Reads `qcow2_compression` and `qcow2_level`.
fn compression(builder: &Builder) -> Result<Compression, DelegateError> {
    const LEVEL: &str = "qcow2_level";
    let choices = [Compression::None, Compression::ZLIB, Compression::ZSTD]
        .map(|compression| (name(compression), compression));
    let chosen = choice(builder, "qcow2_compression", &choices)?.unwrap_or(Compression::ZLIB);
    Ok(match chosen {
        Compression::None if builder.parameters().value(LEVEL).is_some() => {
            return Err(DelegateError::invalid_input(format!(
                "parameter `{LEVEL}`: without compression there is no level"
            ))
            .hint("leave it out, or set `qcow2_compression` to `zlib` or `zstd`"));
        },
        Compression::None => Compression::None,
        Compression::Zlib { level: default } => {
            Compression::Zlib { level: level(builder, LEVEL, 1..=12)?.unwrap_or(default) }
        },
        Compression::Zstd { level: default } => {
            Compression::Zstd { level: level(builder, LEVEL, 1..=22)?.unwrap_or(default) }
        },
    })
}

/// The word of the parameter and of the property.
fn name(compression: Compression) -> &'static str {
    match compression {
        Compression::None => "none",
        Compression::Zlib { .. } => "zlib",
        Compression::Zstd { .. } => "zstd",
    }
}

#[cfg(test)]
mod tests;

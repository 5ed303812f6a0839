//! Target `raw`: the disk, byte for byte.
//!
//! The cheapest way that the file system has is taken: blocks are shared where it can do that, copied by
//! the kernel where it cannot; holes stay holes.

use plugin_api::{Builder, CloudDelegate, DelegateError};
use plugin_kit::delegate::{refuse_provider, with_control};
use plugin_kit::sparse::{Zeros, clone_file};

plugin_api::export_plugin!(cloud => Raw);

/// The delegate.
#[derive(Debug)]
struct Raw;

impl CloudDelegate for Raw {
    fn check(&self, builder: &Builder) -> Vec<DelegateError> {
        refuse_provider(builder).err().into_iter().collect()
    }

    fn finish_target_image(&self, builder: &Builder) -> Result<(), DelegateError> {
        builder.activity("copying the disk");
        builder.check_cancelled()?;
        let disk = builder.disk()?;
        let copied = with_control(builder, |control| {
            clone_file(&disk, builder.image_path(), Zeros::Keep, control)
        })?;
        builder.set_property("media_type", "application/x-raw-disk-image")?;
        builder.set_property("virtual_size_bytes", copied.size_bytes)
    }
}

#[cfg(test)]
mod tests;

//! Target `vhd`: a VHD for Hyper-V, by default in the form that Azure takes (fixed, whole MiB).
//!
//! Its identifier follows from the template's name and the content of the disk, its time from the build's
//! source date, so that the same image is built twice with the same bytes. Only the file is made: what
//! Azure wants inside the image, such as its agent, is the template's business.

use plugin_api::{Builder, CloudDelegate, DelegateError};
use plugin_kit::delegate::{choice, content_id, disk_of, refuse_provider, with_control};
use plugin_kit::formats::vhd::{self, Layout, Options};

plugin_api::export_plugin!(cloud => Vhd);

/// The delegate.
#[derive(Debug)]
struct Vhd;

impl CloudDelegate for Vhd {
    fn check(&self, builder: &Builder) -> Vec<DelegateError> {
        let answers =
            [refuse_provider(builder), layout(builder).map(drop), align(builder).map(drop)];
        answers.into_iter().filter_map(Result::err).collect()
    }

    fn finish_target_image(&self, builder: &Builder) -> Result<(), DelegateError> {
        let layout = layout(builder)?;
        let align_to_mib = align(builder)?;
        let disk = disk_of(builder)?;
        builder.activity("writing the VHD");
        let options = Options {
            layout,
            align_to_mib,
            unique_id: content_id(builder, &disk, "vhd")?,
            timestamp: timestamp(builder.source_date_epoch()),
        };
        let written = with_control(builder, |control| {
            vhd::write(&disk, builder.image_path(), &options, control)
        })?;
        builder.set_property("media_type", "application/x-vhd")?;
        builder.set_property("virtual_size_bytes", written.virtual_bytes)?;
        builder.set_property("subformat", name(layout))
    }
}

/// Reads `vhd_layout`.
fn layout(builder: &Builder) -> Result<Layout, DelegateError> {
    let choices = [Layout::Fixed, Layout::Dynamic].map(|layout| (name(layout), layout));
    Ok(choice(builder, "vhd_layout", &choices)?.unwrap_or(Layout::Fixed))
}

/// Reads `vhd_align`.
fn align(builder: &Builder) -> Result<bool, DelegateError> {
    Ok(builder.parameters().bool("vhd_align")?.unwrap_or(true))
}

/// The word of the parameter and of the property.
fn name(layout: Layout) -> &'static str {
    match layout {
        Layout::Fixed => "fixed",
        Layout::Dynamic => "dynamic",
    }
}

/// Seconds since 2000-01-01 00:00 UTC, as the format counts; that very moment for a build without source
/// date, never the clock.
fn timestamp(source_date_epoch: Option<i64>) -> u32 {
    const YEAR_2000: i64 = 946_684_800;
    let seconds = source_date_epoch
        .unwrap_or(YEAR_2000)
        .saturating_sub(YEAR_2000)
        .clamp(0, i64::from(u32::MAX));
    u32::try_from(seconds).unwrap_or_default()
}

#[cfg(test)]
mod tests;

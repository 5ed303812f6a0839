//! Target `vmdk`: a VMDK in one file, for vSphere, OVF and VMware's desktop products.
//!
//! Its identifiers follow from the template's name and the content of the disk, so that the same image is
//! built twice with the same bytes. The file stands alone; the virtual machine around it (an OVF
//! envelope) is not made here.

use plugin_api::{Builder, CloudDelegate, DelegateError};
use plugin_kit::delegate::{choice, content_id, disk_of, level, refuse_provider, with_control};
use plugin_kit::formats::vmdk::{self, Adapter, Layout, Options};

plugin_api::export_plugin!(cloud => Vmdk);

/// The delegate.
#[derive(Debug)]
struct Vmdk;

impl CloudDelegate for Vmdk {
    fn check(&self, builder: &Builder) -> Vec<DelegateError> {
        let answers =
            [refuse_provider(builder), layout(builder).map(drop), adapter(builder).map(drop)];
        answers.into_iter().filter_map(Result::err).collect()
    }

    fn finish_target_image(&self, builder: &Builder) -> Result<(), DelegateError> {
        let (layout, adapter) = (layout(builder)?, adapter(builder)?);
        let disk = disk_of(builder)?;
        builder.activity("writing the VMDK");
        let options = Options {
            layout,
            adapter,
            unique_id: content_id(builder, &disk, "vmdk")?,
            // The name of the body in the store differs from build to build, and nobody reads this one.
            extent_name: "disk.vmdk".to_owned(),
        };
        let written = with_control(builder, |control| {
            vmdk::write(&disk, builder.image_path(), &options, control)
        })?;
        let subformat = match layout {
            Layout::StreamOptimized { .. } => "streamOptimized",
            Layout::MonolithicSparse => "monolithicSparse",
        };
        builder.set_property("media_type", "application/x-vmdk")?;
        builder.set_property("virtual_size_bytes", written.virtual_bytes)?;
        builder.set_property("subformat", subformat)?;
        builder.set_property("adapter", adapter.as_str())
    }
}

/// Reads `vmdk_layout`, the older name of the same choice, and `vmdk_level`.
fn layout(builder: &Builder) -> Result<Layout, DelegateError> {
    const LAYOUT: &str = "vmdk_layout";
    const UPSTREAM: &str = "vsphere_vmdk_format";
    const LEVEL: &str = "vmdk_level";
    let (stream, sparse) = (Layout::STREAM_OPTIMIZED, Layout::MonolithicSparse);
    let own = [("stream-optimized", stream), ("monolithic-sparse", sparse)];
    let own = choice(builder, LAYOUT, &own)?;
    let upstream = [("streaming", stream), ("standard", sparse)];
    let upstream = choice(builder, UPSTREAM, &upstream)?;
    if let (Some(own), Some(upstream)) = (own, upstream)
        && own != upstream
    {
        return Err(DelegateError::invalid_input(format!(
            "parameters `{LAYOUT}` and `{UPSTREAM}` contradict each other"
        ))
        .hint(format!("leave `{UPSTREAM}` out")));
    }
    match own.or(upstream).unwrap_or(stream) {
        Layout::StreamOptimized { level: default } => {
            Ok(Layout::StreamOptimized { level: level(builder, LEVEL, 1..=12)?.unwrap_or(default) })
        },
        Layout::MonolithicSparse if builder.parameters().value(LEVEL).is_some() => {
            Err(DelegateError::invalid_input(format!(
                "parameter `{LEVEL}`: a monolithic sparse VMDK is not compressed"
            ))
            .hint(format!("leave it out, or set `{LAYOUT}` to `stream-optimized`")))
        },
        Layout::MonolithicSparse => Ok(Layout::MonolithicSparse),
    }
}

/// Reads `vmdk_adapter`.
fn adapter(builder: &Builder) -> Result<Adapter, DelegateError> {
    let choices = [Adapter::LsiLogic, Adapter::Ide, Adapter::BusLogic, Adapter::PvScsi]
        .map(|adapter| (adapter.as_str(), adapter));
    Ok(choice(builder, "vmdk_adapter", &choices)?.unwrap_or(Adapter::LsiLogic))
}

#[cfg(test)]
mod tests;

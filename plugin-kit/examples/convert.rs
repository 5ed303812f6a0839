//! Converts any readable disk image and says how long it took:
//! `convert INPUT OUTPUT raw|qcow2|qcow2-zlib[:LEVEL]|qcow2-zstd[:LEVEL]|vmdk-stream[:LEVEL]|vmdk-sparse|vhd-fixed|vhd-dynamic`.

use std::error::Error;
use std::time::Instant;

use camino::Utf8Path;
use plugin_kit::formats::{self, FormatError, Written, qcow2, vhd, vmdk};
use plugin_kit::sparse::{Control, ReadAt};

#[expect(clippy::print_stdout, reason = "its purpose")]
fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [input, output, format] = arguments.as_slice() else {
        return Err("usage: convert INPUT OUTPUT FORMAT[:LEVEL]".into());
    };
    let (name, level) = match format.split_once(':') {
        Some((name, level)) => (name, Some(level.parse()?)),
        None => (format.as_str(), None),
    };
    let (_, disk) = formats::open(Utf8Path::new(input))?;
    let start = Instant::now();
    let written = write(disk.as_ref(), Utf8Path::new(output), name, level)?;
    println!(
        "{format}: {:.2} s, {} MB",
        start.elapsed().as_secs_f64(),
        written.file_bytes / 1_000_000
    );
    Ok(())
}

fn write(
    disk: &dyn ReadAt,
    output: &Utf8Path,
    format: &str,
    level: Option<i32>,
) -> Result<Written, FormatError> {
    let control = Control::default();
    let to_qcow2 =
        |compression| qcow2::write(disk, output, &qcow2::Options { compression }, &control);
    let to_vmdk = |layout| {
        let options = vmdk::Options {
            layout,
            adapter: vmdk::Adapter::LsiLogic,
            unique_id: [7; 16],
            extent_name: "disk.vmdk".to_owned(),
        };
        vmdk::write(disk, output, &options, &control)
    };
    let to_vhd = |layout| {
        let options = vhd::Options { layout, align_to_mib: true, unique_id: [7; 16], timestamp: 0 };
        vhd::write(disk, output, &options, &control)
    };
    match (format, level) {
        ("raw", None) => formats::raw::write(disk, output, &control),
        ("qcow2", None) => to_qcow2(qcow2::Compression::None),
        ("qcow2-zlib", None) => to_qcow2(qcow2::Compression::ZLIB),
        ("qcow2-zlib", Some(level)) => to_qcow2(qcow2::Compression::Zlib { level }),
        ("qcow2-zstd", None) => to_qcow2(qcow2::Compression::ZSTD),
        ("qcow2-zstd", Some(level)) => to_qcow2(qcow2::Compression::Zstd { level }),
        ("vmdk-stream", None) => to_vmdk(vmdk::Layout::STREAM_OPTIMIZED),
        ("vmdk-stream", Some(level)) => to_vmdk(vmdk::Layout::StreamOptimized { level }),
        ("vmdk-sparse", None) => to_vmdk(vmdk::Layout::MonolithicSparse),
        ("vhd-fixed", None) => to_vhd(vhd::Layout::Fixed),
        ("vhd-dynamic", None) => to_vhd(vhd::Layout::Dynamic),
        _ => Err(FormatError::InvalidOption { option: "format", value: format.to_owned() }),
    }
}

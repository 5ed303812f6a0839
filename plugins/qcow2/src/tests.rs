//! What the plugin promises, without a host. `qemu-img` must be installed.

use camino::Utf8Path;
use plugin_api::testing::{DelegateHarness, HarnessedDelegate};
use plugin_api::{DelegateErrorKind, Tier};

use super::*;

/// Data at both ends, data that does not shrink in between, and holes.
fn disk() -> Vec<u8> {
    let mut disk = vec![0; 3 << 20];
    disk[..6].copy_from_slice(b"loader");
    let mut state = 1_u32;
    for byte in &mut disk[1 << 20..][..200_000] {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        *byte = state.to_be_bytes()[0];
    }
    disk.extend(b"the end ".repeat(64));
    disk
}

fn harness(parameters: &[(&str, &str)]) -> DelegateHarness {
    let harness = DelegateHarness::cloud(Qcow2).target("qcow2").base_image(disk());
    parameters.iter().fold(harness, |harness, (name, value)| harness.parameter(*name, *value))
}

fn built(parameters: &[(&str, &str)]) -> HarnessedDelegate {
    let delegate = harness(parameters).open().unwrap();
    assert_eq!(delegate.check(), []);
    delegate.build().unwrap();
    delegate
}

fn body(delegate: &HarnessedDelegate) -> Vec<u8> {
    fs_err::read(&delegate.context().image_path).unwrap()
}

fn assert_refused(parameters: &[(&str, &str)], name: &str) {
    let delegate = harness(parameters).open().unwrap();
    let problems = delegate.check();
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert_eq!(problems[0].kind(), DelegateErrorKind::InvalidInput);
    assert!(problems[0].message().contains(name), "{problems:?}");
    assert_eq!(delegate.build().unwrap_err(), problems[0]);
}

fn qemu_img(arguments: &[&str]) -> String {
    #[expect(clippy::disallowed_methods, reason = "the judge of these tests is another program")]
    let output = std::process::Command::new("qemu-img")
        .args(arguments)
        .output()
        .expect("`qemu-img` is needed for these tests (package `qemu-utils`)");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{arguments:?} {text} {output:?}");
    text
}

fn assert_same_content(delegate: &HarnessedDelegate, base: &Utf8Path) {
    let body = delegate.context().image_path.as_str();
    qemu_img(&["compare", "-f", "raw", "-F", "qcow2", base.as_str(), body]);
}

fn base(delegate: &HarnessedDelegate) -> &Utf8Path {
    &delegate.context().base_image.as_ref().unwrap().path
}

#[test]
fn every_compression_keeps_the_content() {
    for method in ["none", "zlib", "zstd"] {
        let delegate = built(&[("qcow2_compression", method)]);
        let path = delegate.context().image_path.as_str();
        qemu_img(&["check", "-f", "qcow2", path]);
        assert_same_content(&delegate, base(&delegate));
        assert_eq!(delegate.properties()["compression"], method);
    }
}

#[test]
fn zlib_is_the_default_and_is_smaller_than_none() {
    let default = built(&[]);
    assert_eq!(body(&default), body(&built(&[("qcow2_compression", "zlib")])));
    let plain = built(&[("qcow2_compression", "none")]);
    assert!(body(&default).len() < body(&plain).len());
}

#[test]
fn the_format_is_recorded() {
    let properties = built(&[]).properties();
    assert_eq!(properties["media_type"], "application/x-qemu-disk");
    assert_eq!(properties["virtual_size_bytes"], disk().len());
    assert_eq!(properties["subformat"], "version 3");
}

#[test]
fn a_level_is_refused_where_it_means_nothing() {
    const LEVEL: &str = "qcow2_level";
    assert_refused(&[("qcow2_compression", "none"), (LEVEL, "3")], LEVEL);
    assert_refused(&[("qcow2_compression", "zlib"), (LEVEL, "13")], LEVEL);
    assert_refused(&[("qcow2_compression", "zstd"), (LEVEL, "0")], LEVEL);
    built(&[("qcow2_compression", "zstd"), (LEVEL, "19")]);
}

#[test]
fn an_unknown_compression_is_refused() {
    assert_refused(&[("qcow2_compression", "xz")], "qcow2_compression");
}

#[test]
fn the_same_disk_gives_the_same_bytes_with_and_without_holes() {
    let first = built(&[]);
    let second = harness(&[]).open().unwrap();
    let sparse = second.context().work_dir.join("disk.raw");
    plugin_kit::sparse::clone_file(
        base(&second),
        &sparse,
        plugin_kit::sparse::Zeros::Skip,
        &plugin_kit::sparse::Control::default(),
    )
    .unwrap();
    second.build().unwrap();
    assert_eq!(body(&first), body(&second));
}

#[test]
fn a_changed_disk_is_preferred() {
    let delegate = harness(&[]).open().unwrap();
    let changed = delegate.context().work_dir.join("disk.raw");
    let mut disk = disk();
    disk[2 << 20] = 1;
    fs_err::write(&changed, disk).unwrap();
    delegate.build().unwrap();
    assert_same_content(&delegate, &changed);
}

#[test]
fn progress_ends_at_100_and_never_falls() {
    let delegate = built(&[]);
    let progress = delegate.progress();
    assert!(progress.is_sorted(), "{progress:?}");
    assert_eq!(progress.last(), Some(&100));
    assert_eq!(delegate.activities().len(), 1);
}

#[test]
fn a_cancelled_build_leaves_nothing_behind() {
    let delegate = harness(&[]).open().unwrap();
    delegate.cancel();
    let error = delegate.build().unwrap_err();
    assert_eq!(error.kind(), DelegateErrorKind::Cancelled);
    assert!(!delegate.context().image_path.exists());
}

#[test]
fn a_provider_is_refused_before_the_build() {
    let delegate = harness(&[]).tier(Tier::Provider).open().unwrap();
    assert_eq!(delegate.check()[0].kind(), DelegateErrorKind::Unsupported);
}

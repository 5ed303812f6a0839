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
    let harness = DelegateHarness::cloud(Vhd).target("vhd").base_image(disk());
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
    qemu_img(&["compare", "-f", "raw", "-F", "vpc", base.as_str(), body]);
}

fn base(delegate: &HarnessedDelegate) -> &Utf8Path {
    &delegate.context().base_image.as_ref().unwrap().path
}

/// The footer of a fixed VHD, or the copy that a dynamic one starts with.
fn footer(body: &[u8], at: usize) -> &[u8] {
    let footer = &body[at..at + 512];
    assert_eq!(&footer[..8], b"conectix");
    footer
}

#[test]
fn both_layouts_keep_the_content() {
    for layout in ["fixed", "dynamic"] {
        let delegate = built(&[("vhd_layout", layout)]);
        assert_same_content(&delegate, base(&delegate));
        assert_eq!(delegate.properties()["subformat"], layout);
    }
}

#[test]
fn a_fixed_disk_of_whole_mib_is_the_default() {
    let delegate = built(&[]);
    let body = body(&delegate);
    assert_eq!(body.len(), (4 << 20) + 512);
    footer(&body, 4 << 20);
    let properties = delegate.properties();
    assert_eq!(properties["media_type"], "application/x-vhd");
    assert_eq!(properties["virtual_size_bytes"], 4 << 20);
    assert_eq!(properties["subformat"], "fixed");
}

#[test]
fn without_alignment_the_size_stays() {
    let delegate = built(&[("vhd_align", "no")]);
    let body = body(&delegate);
    assert_eq!(body.len(), disk().len() + 512);
    assert_eq!(delegate.properties()["virtual_size_bytes"], disk().len());
}

#[test]
fn the_time_is_the_source_date_in_the_format_s_own_count() {
    for (seconds, expected) in [
        (None, 0),
        (Some(946_684_800), 0),
        (Some(946_684_801), 1),
        (Some(0), 0),
        (Some(i64::MIN), 0),
        (Some(i64::MAX), u32::MAX),
    ] {
        assert_eq!(timestamp(seconds), expected, "{seconds:?}");
    }
    let delegate = harness(&[("vhd_layout", "dynamic")])
        .source_date_epoch(946_684_800 + 0x0102_0304)
        .open()
        .unwrap();
    delegate.build().unwrap();
    assert_eq!(footer(&body(&delegate), 0)[24..28], [1, 2, 3, 4]);
}

#[test]
fn the_identifier_follows_the_content() {
    let identifier = |delegate: &HarnessedDelegate| footer(&body(delegate), 0)[68..84].to_vec();
    let parameters = [("vhd_layout", "dynamic")];
    let delegate = built(&parameters);
    let other = harness(&parameters).base_image("another").open().unwrap();
    other.build().unwrap();
    assert_ne!(identifier(&delegate), identifier(&other));
    assert_eq!(identifier(&delegate), identifier(&built(&parameters)));
}

#[test]
fn unknown_words_are_refused() {
    assert_refused(&[("vhd_layout", "differencing")], "vhd_layout");
    assert_refused(&[("vhd_align", "perhaps")], "vhd_align");
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

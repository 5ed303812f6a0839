//! What the plugin promises, without a host.

use std::os::unix::fs::MetadataExt;

use fs_err::os::unix::fs::FileExt;
use plugin_api::DelegateErrorKind;
use plugin_api::testing::DelegateHarness;

use super::*;

fn harness() -> DelegateHarness {
    DelegateHarness::cloud(Raw).target("raw").base_image("a disk")
}

#[test]
fn the_body_is_the_base_image() {
    let delegate = harness().open().unwrap();
    assert_eq!(delegate.check(), []);
    let body = delegate.build().unwrap().into_body().unwrap();
    assert_eq!(fs_err::read_to_string(body).unwrap(), "a disk");
    let properties = delegate.properties();
    assert_eq!(properties["media_type"], "application/x-raw-disk-image");
    assert_eq!(properties["virtual_size_bytes"], 6);
    assert_eq!(delegate.progress().last(), Some(&100));
}

#[test]
fn a_changed_disk_is_preferred_and_keeps_its_holes() {
    const DISK_BYTES: u64 = 64 << 20;
    let delegate = harness().open().unwrap();
    let disk = fs_err::File::create(delegate.context().work_dir.join("disk.raw")).unwrap();
    disk.set_len(DISK_BYTES).unwrap();
    disk.write_all_at(b"changed", 32 << 20).unwrap();
    let body = delegate.build().unwrap().into_body().unwrap();
    let stat = fs_err::metadata(&body).unwrap();
    assert_eq!(stat.len(), DISK_BYTES);
    assert!(stat.blocks() * 512 < DISK_BYTES / 2);
    let bytes = fs_err::read(&body).unwrap();
    assert_eq!(&bytes[32 << 20..][..7], b"changed");
}

#[test]
fn a_cancelled_copy_leaves_nothing_behind() {
    let delegate = harness().open().unwrap();
    delegate.cancel();
    let error = delegate.build().unwrap_err();
    assert_eq!(error.kind(), DelegateErrorKind::Cancelled);
    assert!(!delegate.context().image_path.exists());
}

#[test]
fn a_missing_disk_is_named() {
    let delegate = harness().open().unwrap();
    let base = delegate.context().base_image.clone().unwrap().path;
    fs_err::remove_file(&base).unwrap();
    let error = delegate.build().unwrap_err();
    assert_eq!(error.kind(), DelegateErrorKind::Failed);
    assert!(error.message().contains(base.as_str()));
}

#[test]
fn a_provider_is_refused_before_the_build() {
    let delegate = harness().provider("anywhere", "").open().unwrap();
    assert_eq!(delegate.check()[0].kind(), DelegateErrorKind::Unsupported);
}

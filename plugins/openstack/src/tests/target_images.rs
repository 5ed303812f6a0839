//! Target images: their format, and what is asked for in them.

use plugin_api::DelegateErrorKind;
use plugin_api::testing::{DelegateHarness, HarnessedDelegate};

use super::super::OpenStack;

fn harness(os: &str) -> DelegateHarness {
    DelegateHarness::cloud(OpenStack::default())
        .target("openstack-kvm")
        .operating_system(os, "12", "x86_64")
        .base_image(vec![7; 1 << 20])
}

fn magic(delegate: &HarnessedDelegate) -> Vec<u8> {
    delegate.build().unwrap();
    fs_err::read(&delegate.context().image_path).unwrap()[..4].to_vec()
}

#[test]
fn the_format_is_that_of_the_parameter_the_configuration_or_qcow2() {
    let qcow2 = harness("Debian").open().unwrap();
    assert_eq!(magic(&qcow2), b"QFI\xfb");
    assert_eq!(qcow2.properties()["disk_format"], "qcow2");
    assert_eq!(qcow2.properties()["virtual_size_bytes"], 1 << 20);
    let raw = harness("Debian").configuration("openstack_image_format", "raw");
    let raw = raw.open().unwrap();
    assert_eq!(magic(&raw), [7; 4]);
    assert_eq!(raw.properties()["disk_format"], "raw");
    let both = harness("Debian")
        .configuration("openstack_image_format", "raw")
        .parameter("openstack_image_format", "qcow2");
    assert_eq!(magic(&both.open().unwrap()), b"QFI\xfb");
}

#[test]
fn a_raw_image_is_not_compressed() {
    let delegate = harness("Debian")
        .parameter("openstack_image_format", "raw")
        .parameter("openstack_compression", "zlib")
        .open()
        .unwrap();
    assert_eq!(delegate.check()[0].kind(), DelegateErrorKind::InvalidInput);
}

#[test]
fn cloud_init_is_asked_for_where_it_is_known_how() {
    for (os, packages) in [
        ("Debian", &["cloud-init", "cloud-guest-utils"][..]),
        ("Fedora", &["cloud-init", "cloud-utils-growpart"]),
        ("Plan 9", &[]),
    ] {
        let delegate = harness(os).open().unwrap();
        let content = delegate.target_content().unwrap();
        let names: Vec<&str> = content.packages.iter().map(|package| &*package.name).collect();
        assert_eq!(names, packages);
        assert_eq!(content.files.len(), usize::from(!packages.is_empty()));
    }
}

//! Container images in a real registry, fetched by skopeo, unpacked by umoci, and run.

use crate::support::{Ran, Workshop};

use super::base::{GREETING, workshop_with_base};
use super::clouds::Delivery;

fn run(workshop: &Workshop, program: &str, arguments: &[&str]) -> Ran {
    Ran::from(workshop.environment(program).args(arguments).output().unwrap()).done()
}

/// Fetches an image with skopeo and unpacks it with umoci, the first time; answers what a program in its root prints.
#[track_caller]
fn run_inside(workshop: &Workshop, image: &str, program: &[&str]) -> String {
    if !workshop.path("fetched").exists() {
        let copy = ["copy", "--quiet", "--src-tls-verify=false", image, "oci:fetched:it"];
        run(workshop, "skopeo", &[&["--insecure-policy"], &copy[..]].concat());
        run(workshop, "umoci", &["unpack", "--rootless", "--image", "fetched:it", "bundle"]);
    }
    let chroot = ["--map-root-user", "chroot", "bundle/rootfs"];
    run(workshop, "unshare", &[&chroot[..], program].concat()).stdout
}

#[test]
fn a_layout_and_a_saved_archive_are_read_by_others_and_deleted() {
    let (workshop, base) = workshop_with_base(&["oci"], 1);
    let places = [("oci", "oci", "there:first"), ("docker", "docker-archive", "there.tar")];
    for (target, transport, name) in places {
        let place = format!("{transport}:{}", workshop.path(name).display());
        let provider = format!("@{place}");
        let to = Delivery { target, provider, credentials: "@".to_owned() };
        let record = to.done(&workshop, &base);
        let greeting = run_inside(&workshop, &place, &["/bin/cat", "/etc/greeting"]);
        assert_eq!(greeting, GREETING);
        for folder in ["fetched", "bundle"] {
            fs_err::remove_dir_all(workshop.path(folder)).unwrap();
        }
        to.delete(&workshop, &record).done();
        let skopeo = workshop.environment("skopeo").args(["inspect", &place]).output().unwrap();
        assert!(!skopeo.status.success(), "{skopeo:?}");
    }
    workshop.assert_tidy();
}

//! The whole way, once: Debian 12 out of its template to both clouds in one request, and back: the disk
//! boots, and what is in the container is Debian.

use serde_json::Value;

use crate::support::{Workshop, checkout, texts};

use super::clouds::{Cloud, Oci, OpenStack};
use super::oci::run_inside;

/// What only a look at the disk tells: a command takes away what was installed.
const CONTENT: &str = "[[include]]
target = 'oci'
packages = ['hello', 'tree']
[[include.commands]]
name = 'without'
script = 'dpkg --purge hello'
";

/// The packages that a bill of material names.
fn packages(bill: &Value) -> Vec<String> {
    texts(bill["packages"].as_array().unwrap(), "name")
}

/// The bill of material that the store keeps with an image.
fn kept_bill(image: &Value) -> Vec<String> {
    let artifacts = image["artifacts"].as_array().unwrap();
    let bill = artifacts.iter().find(|artifact| artifact["name"] == "packages.spdx.json").unwrap();
    let bill = fs_err::read(bill["path"].as_str().unwrap()).unwrap();
    packages(&serde_json::from_slice(&bill).unwrap())
}

/// The bill of material in the index of what refers to an image.
fn delivered_bill(oci: &Oci, index: &str) -> Vec<String> {
    let get = |path: &str| oci.registry.get(&format!("/v2/{}/{path}", Oci::REPOSITORY)).json();
    let index = get(&format!("manifests/{index}"));
    let [referrer] = &index["manifests"].as_array().unwrap()[..] else { panic!("{index:#}") };
    let referrer = get(&format!("manifests/{}", referrer["digest"].as_str().unwrap()));
    packages(&get(&format!("blobs/{}", referrer["layers"][0]["digest"].as_str().unwrap())))
}

#[test]
fn debian_12_goes_to_both_clouds_and_works_when_it_is_fetched() {
    let workshop = Workshop::without_plugins();
    for plugin in ["debian", "openstack", "oci"] {
        workshop.link(plugin);
    }
    let template = checkout().join("templates/debian-12.tdl");
    let template = template.to_str().unwrap();
    workshop.write("content.toml", CONTENT);
    let (stack, oci) = (OpenStack::start(), Oci::start());
    let (to_stack, to_oci) = (stack.delivery(), oci.delivery());
    let built = workshop.json(&[
        "build",
        template,
        "--target-content",
        "content.toml",
        "--target",
        to_stack.target,
        "--target",
        to_oci.target,
        "--provider",
        &format!("{}={}", to_stack.target, to_stack.provider),
        "--provider",
        &format!("{}={}", to_oci.target, to_oci.provider),
    ]);
    let images = built["images"].as_array().unwrap();
    let delivered = |target: &str| -> &Value {
        let here = |image: &&Value| image["tier"] == "provider" && image["target"] == target;
        images.iter().find(here).unwrap_or_else(|| panic!("{target} in {built:#}"))
    };
    let (disk, container) = (delivered(to_stack.target), delivered(to_oci.target));
    assert_eq!(stack.found(), [disk["identifier_on_provider"].as_str().unwrap()]);
    // The other one stands for what refers to the image: its bill of material.
    let [latest, referrers] = &oci.found()[..] else { panic!("{:?}", oci.found()) };
    assert_eq!(latest, "latest");
    assert!(referrers.starts_with("sha256-"), "{referrers}");
    let bill = delivered_bill(&oci, referrers);
    let kept = |id: &Value| kept_bill(images.iter().find(|image| image["id"] == *id).unwrap());
    assert_eq!(bill, kept(&container["target_image_id"]));
    let base = kept(&images[0]["id"]);
    let has = |bill: &[String], package: &str| bill.iter().any(|it| it == package);
    assert!(!has(&base, "tree") && !has(&base, "cloud-init"), "{base:?}");
    assert!(has(&kept(&disk["target_image_id"]), "cloud-init"));
    // Of two packages that were asked for one was removed again.
    let more: Vec<&String> = bill.iter().filter(|package| !base.contains(package)).collect();
    assert_eq!(more, ["tree"]);
    assert_eq!(bill.len(), base.len() + 1);

    let image = format!("docker://{}/{}:latest", oci.registry.address(), Oci::REPOSITORY);
    let release = run_inside(&workshop, &image, &["/bin/cat", "/etc/debian_version"]);
    assert!(release.starts_with("12."), "{release}");
    let status = run_inside(&workshop, &image, &["/usr/bin/dpkg-query", "--status", "dpkg"]);
    assert!(status.contains("Status: install ok installed"), "{status}");

    fs_err::copy(stack.glance.file(&stack.found()[0]), workshop.path("fetched.qcow2")).unwrap();
    let again = workshop.json(&["images", "import", "fetched.qcow2", "--template", template]);
    let boot = ["images", "boot", again["id"].as_str().unwrap(), "--timeout", "240"];
    workshop.run(&boot).done().says("login:");

    to_stack.delete(&workshop, disk).done();
    to_oci.delete(&workshop, container).done();
    assert!(stack.found().is_empty());
    assert!(oci.found().is_empty());
    workshop.assert_tidy();
}

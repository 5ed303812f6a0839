//! What the plugin promises, without a host. `skopeo` and `umoci` judge what it writes; a static
//! `busybox` is what runs in the containers.

mod delivering;
mod fake_registry;
mod registry;
mod target;

use camino::{Utf8Path, Utf8PathBuf};
use ext4::{Entry, Tree};
use plugin_api::testing::{DelegateHarness, HarnessedDelegate};
use plugin_kit::disk::{DiskSpec, Layout, MIB, Role};

use super::*;

const EPOCH: i64 = 1_700_000_000;
const SBOM: &str = r#"{"spdxVersion":"SPDX-2.3"}"#;
const SPDX: &str = "application/spdx+json";

/// A small system, with what a container has no use for.
fn tree() -> Tree {
    let mut tree = Tree::new();
    let busybox = fs_err::read("/bin/busybox").expect("package `busybox-static`");
    tree.add("bin/busybox", Entry::file(busybox).mode(0o755).mtime(EPOCH - 5)).unwrap();
    tree.add("bin/sh", Entry::hard_link("bin/busybox")).unwrap();
    tree.add("bin/ping", Entry::file("ping").xattr("security.capability", CAPABILITY)).unwrap();
    tree.add("etc/fstab", Entry::file("/dev/vda / ext4\n")).unwrap();
    tree.add("etc/machine-id", Entry::file("0123\n").mode(0o444)).unwrap();
    tree.add("etc/motd", Entry::file("hello from the image\n").mtime(EPOCH + 5)).unwrap();
    tree.add("boot/vmlinuz", Entry::file("kernel")).unwrap();
    tree.add("vmlinuz", Entry::symlink("boot/vmlinuz")).unwrap();
    tree.add("usr/lib/modules/6.1/x.ko", Entry::file("module")).unwrap();
    tree.add("proc", Entry::directory()).unwrap();
    tree.add("tmp", Entry::directory().mode(0o1777)).unwrap();
    tree.add("tmp/left", Entry::file("over")).unwrap();
    tree.add("usr/share/doc/x/copyright", Entry::file("text")).unwrap();
    tree
}

/// `cap_net_raw+ep`
const CAPABILITY: [u8; 20] = [1, 0, 0, 2, 0, 32, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// A disk as plugin `debian` lays it out.
fn disk(tree: &Tree) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let path = Utf8PathBuf::try_from(folder.path().join("disk")).unwrap();
    let spec = DiskSpec { seed: "oci".to_owned(), esp_bytes: 2 * MIB, root_bytes: Some(20 * MIB) };
    let layout = Layout::new(&spec).unwrap();
    let file = layout.create(&path, &[0; 440]).unwrap();
    let root = layout.partition(Role::Root).unwrap();
    let options = ext4::Options::new(root.len, [3; 16], EPOCH);
    tree.write(&options, &mut ext4::Region::new(file.file(), root.start)).unwrap();
    fs_err::read(&path).unwrap()
}

fn harness(target: &str, parameters: &[(&str, &str)]) -> DelegateHarness {
    let mut template = plugin_api::Template::default();
    "Small System".clone_into(&mut template.name);
    template.description = Some("A test".to_owned());
    "x86_64".clone_into(&mut template.os.arch);
    let harness = DelegateHarness::cloud(Oci::default())
        .template(template)
        .target(target)
        .source_date_epoch(EPOCH)
        .base_image(disk(&tree()))
        .disk_artifact("packages.spdx.json", SPDX, SBOM)
        .disk_artifact("console.log", "text/plain", "no bill");
    parameters.iter().fold(harness, |harness, (name, value)| harness.parameter(*name, *value))
}

/// A target image, with the harness that its file is in.
fn built(target: &str, parameters: &[(&str, &str)]) -> (HarnessedDelegate, Utf8PathBuf) {
    let delegate = harness(target, parameters).open().unwrap();
    assert_eq!(delegate.check(), []);
    let body = delegate.build().unwrap().into_body().unwrap();
    (delegate, body)
}

/// What a program says; it has to succeed.
fn run(program: &str, arguments: &[&str]) -> String {
    #[expect(clippy::disallowed_methods, reason = "the judge of these tests is another program")]
    let output =
        std::process::Command::new(program).args(arguments).output().unwrap_or_else(|error| {
            panic!("`{program}` is needed for these tests (`make setup`): {error}")
        });
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{program} {arguments:?} {text} {output:?}");
    text
}

/// Unpacks the image `from`, in skopeo's words, and answers its root file system.
fn unpacked(from: &str, folder: &Utf8Path) -> Utf8PathBuf {
    let layout = folder.join("layout");
    run("skopeo", &["copy", "--insecure-policy", from, &format!("oci:{layout}:judged")]);
    let bundle = folder.join("bundle");
    let image = format!("{layout}:judged");
    run("umoci", &["unpack", "--rootless", "--image", &image, bundle.as_str()]);
    bundle.join("rootfs")
}

/// Runs a program of the image inside its root file system.
fn inside(root: &Utf8Path, command: &str) -> String {
    run("unshare", &["--map-root-user", "chroot", root.as_str(), "/bin/sh", "-c", command])
}

/// A folder for one test.
fn folder() -> (tempfile::TempDir, Utf8PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = Utf8PathBuf::try_from(folder.path().to_owned()).unwrap();
    (folder, path)
}

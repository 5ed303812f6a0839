//! Images that boot: the appliance under QEMU, started by the real program.

use rustix::process::Signal;
use serde_json::Value;

use crate::support::{Workshop, wait_for};

/// A workshop and the appliance in it, for this target.
fn appliance(target: &str) -> (Workshop, String) {
    let workshop = Workshop::with_appliance();
    let document = workshop.json(&["build", "appliance.toml", "--target", target]);
    workshop.keep_downloads();
    let id = document["images"][1]["id"].as_str().unwrap().to_owned();
    (workshop, id)
}

/// A disk that says it can be booted, and has nothing on it: the machine runs and never gets anywhere.
fn hollow_disk(workshop: &Workshop) -> String {
    let mut disk = vec![0; 1 << 20];
    disk[510..512].copy_from_slice(&[0x55, 0xaa]);
    workshop.write("hollow.raw", disk);
    let image = workshop.json(&["images", "import", "hollow.raw", "--template", "mock.tdl"]);
    image["id"].as_str().unwrap().to_owned()
}

/// It boots until it asks for a login, and console and display are kept with it.
#[track_caller]
fn assert_boots(target: &str, options: &[&str]) {
    let (workshop, id) = appliance(target);
    let before = workshop.json(&["images", "show", &id]);
    let boot = ["images", "boot", &id, "--timeout", "150"];
    let ran = workshop.run(&[&boot[..], options].concat());
    ran.done().prints("boot: `login:` appeared after").says("appliance login:");
    let image = workshop.json(&["images", "show", &id]);
    assert_eq!(image["sha256"], before["sha256"]);
    let artifact = |name: &str| {
        let artifacts = image["artifacts"].as_array().unwrap();
        let found = artifacts.iter().find(|artifact| artifact["name"] == name);
        fs_err::read(found.unwrap()["path"].as_str().unwrap()).unwrap()
    };
    let console = artifact("boot-console.log");
    assert!(String::from_utf8_lossy(&console).contains("login:"));
    assert!(artifact("boot-screenshot.png").starts_with(b"\x89PNG"));
    workshop.run(&["images", "check"]).done();
    workshop.assert_tidy();
}

#[test]
fn a_qcow2_boots_on_uefi_from_virtio() {
    assert_boots("qcow2", &["--firmware", "uefi", "--disk", "virtio"]);
}

#[test]
fn a_raw_disk_boots_on_bios_from_scsi() {
    assert_boots("raw", &["--firmware", "bios", "--disk", "scsi"]);
}

#[test]
fn a_vhd_boots_on_uefi_from_nvme() {
    assert_boots("vhd", &["--firmware", "uefi", "--disk", "nvme"]);
}

#[test]
fn a_vmdk_boots_on_bios_from_sata() {
    assert_boots("vmdk", &["--firmware", "bios", "--disk", "sata", "--memory", "256"]);
}

#[test]
fn a_build_with_boot_check_tells_how_the_boot_went() {
    let workshop = Workshop::with_appliance();
    let check = ["build", "appliance.toml", "--target", "raw", "--boot-check"];
    let document = workshop.json(&check);
    workshop.keep_downloads();
    let boots = document["boots"].as_array().unwrap();
    assert_eq!(boots.len(), 1);
    assert_eq!(boots[0]["image"], document["images"][1]["id"]);
    assert_eq!(boots[0]["reached"], true);
    workshop.assert_tidy();
}

#[test]
fn a_failed_boot_shows_the_last_lines_and_ends_with_1() {
    let workshop = Workshop::new();
    let id = hollow_disk(&workshop);
    let id = id.as_str();
    let boot = ["images", "boot", id, "--timeout", "6"];
    let ran = workshop.run(&[&boot[..], &["--firmware", "uefi"]].concat()).ended(1);
    ran.says("`login:` did not appear within");
    let ran = workshop.run(&[&boot[..], &["--firmware", "bios", "--format", "json"]].concat());
    let document: Value = ran.ended(1).document();
    assert_eq!(document["reached"], false, "{document}");
    assert_eq!(document["firmware"], "BIOS", "{document}");
    workshop.assert_tidy();
}

#[test]
fn ctrl_c_ends_the_virtual_machine_with_8() {
    let workshop = Workshop::new();
    let id = hollow_disk(&workshop);
    let id = id.as_str();
    let boot = workshop.spawn(&["images", "boot", id, "--timeout", "600"]);
    wait_for("QEMU", || boot.descendants().iter().find(|process| process.is_qemu()).map(drop));
    boot.signal(Signal::INT);
    boot.wait().ended(8);
    workshop.assert_tidy();
}

#[test]
fn a_killed_boot_leaves_no_machine_and_no_files() {
    let workshop = Workshop::new();
    let id = hollow_disk(&workshop);
    let id = id.as_str();
    let boot = workshop.spawn(&["images", "boot", id, "--timeout", "600"]);
    wait_for("QEMU", || boot.descendants().iter().find(|process| process.is_qemu()).map(drop));
    boot.signal(Signal::KILL);
    drop(boot.wait());
    workshop.assert_quiet();
    workshop.assert_tidy();
    workshop.run(&["images", "check"]).done().prints("intact");
}

#[test]
fn what_is_no_disk_does_not_boot() {
    let workshop = Workshop::new();
    fs_err::create_dir(workshop.path("cloud")).unwrap();
    let to = ["--target", "mock", "--provider", "cloud"];
    let provider = workshop.build(&to).remove(2);
    let ran = workshop.run(&["images", "boot", provider["id"].as_str().unwrap()]);
    ran.ended(6).says("has no body");
    let base = workshop.build(&["--rebuild"]).remove(0);
    let ran = workshop.run(&["images", "boot", base["id"].as_str().unwrap()]);
    ran.refused(3).says("is no disk");
}

//! What GRUB's own tools make of the command lines and menus, and what a kernel's modules give.

use super::bios;
use super::grub::{Firmware, Grub, Menu, MenuEntry, early_config};
use super::initrd::{DebianRamdisk, ModuleError, ModuleTree, Node, debian};
use crate::run::directly;
use camino::{Utf8Path, Utf8PathBuf};
use std::io::Write;

fn folder() -> (tempfile::TempDir, Utf8PathBuf) {
    let keep = tempfile::tempdir().unwrap();
    let path = Utf8PathBuf::from_path_buf(keep.path().to_owned()).unwrap();
    (keep, path)
}

#[test]
fn core_images_are_the_same_every_time_and_fit_the_disk() {
    let (_keep, folder) = folder();
    let grub = Grub::installed(&[Firmware::Bios, Firmware::Uefi]).unwrap();
    let early = folder.join("early.cfg");
    fs_err::write(&early, early_config("CAFE-F00D", "/boot/grub")).unwrap();
    let link = |firmware, name: &str| {
        let output = folder.join(name);
        directly(&grub.mkimage(firmware, &early, &output)).unwrap();
        fs_err::read(output).unwrap()
    };
    for firmware in [Firmware::Bios, Firmware::Uefi] {
        assert!(link(firmware, "a") == link(firmware, "b"), "{firmware:?}");
    }
    assert!(link(Firmware::Uefi, "a").starts_with(b"MZ"));
    let boot_img = fs_err::read(grub.boot_img()).unwrap();
    let core = link(Firmware::Bios, "a");
    let boot = bios::embed(&boot_img, &core, 2048, 1 << 20).unwrap();
    assert_eq!(boot.core[512..], core[512..]);
}

#[test]
fn a_menu_is_valid_and_shows_itself_on_both_consoles() {
    let (_keep, folder) = folder();
    let menu = Menu::debian("UUID=x", "console=ttyS0 a=\"b c\" d=$e; #{}", 5);
    let path = folder.join("grub.cfg");
    fs_err::write(&path, menu.text()).unwrap();
    let check = crate::run::CommandLine::new("grub-script-check").args([path.as_str()]);
    directly(&check).unwrap();
    let text = menu.text();
    for line in ["set timeout=5", "terminal_output console serial", "if [ -e /vmlinuz.old ]; then"]
    {
        assert!(text.lines().any(|other| other == line), "{line} in {text}");
    }
    assert!(text.contains("linux /vmlinuz root=UUID=x ro console=ttyS0 a=\\\"b c\\\" d=\\$e\\;"));
}

#[test]
fn a_title_cannot_end_its_quotes() {
    let (_keep, folder) = folder();
    let entry = MenuEntry {
        title: "it's } a \"title\"\n{".to_owned(),
        kernel: "/vmlinuz".to_owned(),
        initrd: "/initrd.img".to_owned(),
        parameters: String::new(),
        only_if_present: false,
    };
    let path = folder.join("grub.cfg");
    fs_err::write(&path, Menu { timeout: 0, entries: vec![entry] }.text()).unwrap();
    let check = crate::run::CommandLine::new("grub-script-check").args([path.as_str()]);
    directly(&check).unwrap();
}

/// An ELF object whose only content is a `.modinfo` section.
fn elf(modinfo: &str) -> Vec<u8> {
    let names = b"\0.modinfo\0.shstrtab\0";
    let modinfo = modinfo.as_bytes();
    let names_at = 64 + modinfo.len();
    let table_at = (names_at + names.len()).next_multiple_of(8);
    let mut file = b"\x7fELF\x02\x01\x01".to_vec();
    file.resize(16, 0);
    let word = |file: &mut Vec<u8>, value: usize, bytes: usize| {
        file.extend_from_slice(&value.to_le_bytes()[..bytes]);
    };
    // Relocatable, x86-64, version 1; no entry, no segments, sections at `table_at`.
    for (value, bytes) in [(1, 2), (62, 2), (1, 4), (0, 8), (0, 8), (table_at, 8), (0, 4)] {
        word(&mut file, value, bytes);
    }
    for value in [64, 0, 0, 64, 3, 2] {
        word(&mut file, value, 2);
    }
    file.extend_from_slice(modinfo);
    file.extend_from_slice(names);
    file.resize(table_at + 64, 0);
    for (name, kind, offset, len) in [(1, 1, 64, modinfo.len()), (10, 3, names_at, names.len())] {
        for (value, bytes) in [(name, 4), (kind, 4), (0, 8), (0, 8), (offset, 8), (len, 8)] {
            word(&mut file, value, bytes);
        }
        for (value, bytes) in [(0, 4), (0, 4), (1, 8), (0, 8)] {
            word(&mut file, value, bytes);
        }
    }
    file
}

/// A kernel with three modules, of which one needs another.
fn kernel(root: &Utf8Path) {
    let drivers = root.join("kernel/drivers/block");
    fs_err::create_dir_all(&drivers).unwrap();
    fs_err::write(
        drivers.join("virtio-blk.ko"),
        elf("alias=virtio:d00000002v*\0depends=virtio-ring,\0"),
    )
    .unwrap();
    let packed = zstd::bulk::compress(&elf("depends=\0"), 1).unwrap();
    fs_err::write(drivers.join("virtio_ring.ko.zst"), packed).unwrap();
    fs_err::write(drivers.join("orphan.ko"), elf("depends=nowhere\0")).unwrap();
    fs_err::File::create(drivers.join("text.ko")).unwrap().write_all(b"no module").unwrap();
}

#[test]
fn modules_come_after_those_that_they_need() {
    let (_keep, root) = folder();
    kernel(&root);
    let tree = ModuleTree::open(&root).unwrap();
    assert!(tree.contains("virtio_blk") && !tree.contains("ext4"));
    let modules = tree.closure(&["virtio_blk", "ext4", "virtio_ring"]).unwrap();
    let names: Vec<_> = modules.iter().map(|module| module.name.as_str()).collect();
    assert_eq!(names, ["virtio_ring", "virtio_blk"]);
    assert_eq!(modules[0].path, "kernel/drivers/block/virtio_ring.ko");
    assert!(modules[0].contents.starts_with(b"\x7fELF"));
}

#[test]
fn a_module_without_what_it_needs_is_an_error_that_names_both() {
    let (_keep, root) = folder();
    kernel(&root);
    let tree = ModuleTree::open(&root).unwrap();
    let error = tree.closure(&["orphan"]).unwrap_err();
    assert!(matches!(&error, ModuleError::Dependency { module, needs }
        if module == "orphan" && needs == "nowhere"));
    assert!(matches!(tree.closure(&["text"]), Err(ModuleError::Elf { .. })));
    assert!(matches!(ModuleTree::open(&root.join("none")), Err(ModuleError::Read { .. })));
}

#[test]
fn the_initial_ram_disk_can_find_the_driver_of_a_device() {
    let (_keep, root) = folder();
    kernel(&root);
    let modules = ModuleTree::open(&root).unwrap().closure(&["virtio_blk"]).unwrap();
    let parts =
        DebianRamdisk { busybox: b"program", kernel_release: "6.1.0-1-amd64", modules: &modules };
    let disk = debian(&parts).unwrap();
    let text = |path: &str| match disk.node(path) {
        Some(Node::File { contents, .. }) => String::from_utf8_lossy(contents).into_owned(),
        other => panic!("{path}: {other:?}"),
    };
    let folder = "lib/modules/6.1.0-1-amd64";
    let block = "kernel/drivers/block";
    assert_eq!(
        text(&format!("{folder}/modules.dep")),
        format!("{block}/virtio_ring.ko:\n{block}/virtio-blk.ko: {block}/virtio_ring.ko\n")
    );
    assert_eq!(text(&format!("{folder}/modules.alias")), "alias virtio:d00000002v* virtio_blk\n");
    assert!(disk.node(&format!("{folder}/{block}/virtio-blk.ko")).is_some());
    assert!(text("init").starts_with("#!/bin/sh\n"));
    let bad = DebianRamdisk { kernel_release: "../..", ..parts };
    assert!(debian(&bad).is_err());
}

#[test]
fn the_script_of_the_initial_ram_disk_is_valid_shell() {
    let (_keep, folder) = folder();
    let path = folder.join("init");
    fs_err::write(&path, include_str!("initrd/init.sh")).unwrap();
    directly(&crate::run::CommandLine::new("sh").args(["-n", path.as_str()])).unwrap();
}

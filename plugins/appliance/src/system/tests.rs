use super::*;
use crate::settings::FileToWrite;
use plugin_kit::packages::{Archive, Freshness};

fn settings() -> Settings {
    Settings {
        archive: Archive::debian("http://mirror.invalid/debian", "bookworm", "amd64"),
        freshness: Freshness::Offline,
        host_name: "web".to_owned(),
        root_password: None,
        autologin: false,
        kernel_parameters: String::new(),
        boot_timeout: 0,
        disk_bytes: 0,
        files: Vec::new(),
        scripts: Vec::new(),
        seed: "seed".to_owned(),
    }
}

fn text(disk: &Ramdisk, path: &str) -> String {
    match disk.node(path) {
        Some(Node::File { contents, .. }) => String::from_utf8(contents.clone()).unwrap(),
        other => panic!("{path}: {other:?}"),
    }
}

fn file(path: &str) -> FileToWrite {
    FileToWrite { path: path.to_owned(), mode: 0o755, contents: b"content".to_vec() }
}

#[test]
fn without_a_password_nobody_can_log_in() {
    let disk = ramdisk(&settings(), b"busybox").unwrap();
    assert!(text(&disk, "etc/shadow").starts_with("root:*:"));
    assert!(!text(&disk, "etc/inittab").contains("autologin"));
}

#[test]
fn a_password_in_clear_is_stored_as_a_hash_and_the_same_one_every_time() {
    let settings = Settings { root_password: Some("secret".to_owned()), ..settings() };
    let shadow = text(&ramdisk(&settings, b"").unwrap(), "etc/shadow");
    assert!(shadow.starts_with("root:$6$") && !shadow.contains("secret"), "{shadow}");
    assert_eq!(text(&ramdisk(&settings, b"").unwrap(), "etc/shadow"), shadow);
    let other = Settings { seed: "other".to_owned(), ..settings };
    assert_ne!(text(&ramdisk(&other, b"").unwrap(), "etc/shadow"), shadow);
}

#[test]
fn a_hash_is_stored_as_it_is_and_cannot_add_fields() {
    let hash = "$6$salt$hash".to_owned();
    let with = |hash: String| Settings { root_password: Some(hash), ..settings() };
    let disk = ramdisk(&with(hash), b"").unwrap();
    assert!(text(&disk, "etc/shadow").starts_with("root:$6$salt$hash:"));
    for bad in ["$6$x:0:0", "$6$x\nevil::0:0"] {
        assert!(ramdisk(&with(bad.to_owned()), b"").is_err());
    }
}

#[test]
fn files_of_the_template_replace_those_of_the_system() {
    let files = vec![file("/etc/issue"), file("/usr/local/bin/tool")];
    let disk = ramdisk(&Settings { files, ..settings() }, b"").unwrap();
    assert_eq!(text(&disk, "etc/issue"), "content");
    let expected = Node::File { mode: 0o755, contents: b"content".to_vec() };
    assert_eq!(disk.node("usr/local/bin/tool"), Some(&expected));
}

#[test]
fn a_file_that_would_leave_the_system_is_refused() {
    for path in ["/../etc/passwd", "/bin/sh/x", ""] {
        let error = ramdisk(&Settings { files: vec![file(path)], ..settings() }, b"").unwrap_err();
        assert_eq!(error.kind(), plugin_api::DelegateErrorKind::InvalidInput, "{path}");
    }
}

#[test]
fn scripts_run_in_the_order_of_the_template() {
    let script = |name: &str, text: &str| (name.to_owned(), text.as_bytes().to_vec());
    let scripts = vec![script("z/../first", "echo 1"), script("a", "#!/bin/busybox awk -f\n")];
    let disk = ramdisk(&Settings { scripts, ..settings() }, b"").unwrap();
    assert_eq!(text(&disk, "etc/rc.d/001-z-..-first"), "#!/bin/sh\necho 1");
    assert_eq!(text(&disk, "etc/rc.d/002-a"), "#!/bin/busybox awk -f\n");
}

//! The delegate in the harness, with packages out of a cache that is filled beforehand.

use camino::Utf8Path;
use plugin_api::template::{Command, File, Source};
use plugin_api::testing::{DelegateHarness, HarnessedDelegate};
use plugin_api::{Content, DelegateErrorKind, Template, Tier};
use plugin_kit::packages::{Archive, Fetcher, Freshness, mirror};
use plugin_kit::run::{CommandLine, RunError};
use serde_json::json;

use crate::delegate::Appliance;
use crate::packages::CACHE;

fn template() -> Template {
    serde_json::from_value(json!({
        "name": "Test One",
        "os": { "name": "Appliance", "version": "1", "arch": "x86_64" },
        "files": [{ "name": "/etc/motd", "type": "raw", "content": "hello" }],
    }))
    .unwrap()
}

fn harness() -> DelegateHarness {
    DelegateHarness::os(Appliance).template(template()).parameter("freshness", "offline")
}

/// Plays an archive whose packages hold `kernel` and `busybox` as their only files.
fn fill_cache(delegate: &HarnessedDelegate) {
    let root = delegate.context().work_dir.parent().unwrap().to_owned();
    let source = root.join("archive");
    fs_err::create_dir_all(&source).unwrap();
    let packages = [
        ("busybox-static", deb("./bin/busybox")),
        ("linux-image-6.1-cloud-amd64", deb("./boot/vmlinuz-6.1-cloud-amd64")),
        ("linux-image-cloud-amd64", deb("./usr/share/doc/linux-image-cloud-amd64/copyright")),
    ];
    let run = |line: &CommandLine| answer(line, &packages, &source);
    let archive = Archive::debian(mirror::MACHINE_MIRROR, "bookworm", "amd64");
    let names = ["linux-image-cloud-amd64", "busybox-static"];
    Fetcher::new(&root.join("cache").join(CACHE), &run)
        .fetch(&archive, &names, Freshness::Reuse)
        .unwrap();
}

fn answer(
    line: &CommandLine,
    packages: &[(&str, Vec<u8>)],
    source: &Utf8Path,
) -> Result<String, RunError> {
    let has = |word: &str| line.argv.iter().any(|other| other == word);
    if has("indextargets") {
        return Ok("Debian\tDebian\thttp://mirror.invalid/debian/\n".to_owned());
    }
    let mut listed = String::new();
    for (name, contents) in packages {
        let path = source.join(name);
        fs_err::write(&path, contents)?;
        // The digest is asked of a program, so that the test shares no code with what it tests.
        let digest = sha256sum(&path);
        if has("--print-uris") {
            listed.push_str("'http://mirror.invalid/");
            listed.extend([name, "' ", name, "_1_amd64.deb 1 SHA256:", &digest, "\n"]);
        } else if has("download-file") {
            let target = line.argv.iter().find(|word| word.ends_with(&format!("/{digest}")));
            fs_err::copy(&path, target.unwrap())?;
        }
    }
    Ok(listed)
}

#[expect(clippy::disallowed_methods, reason = "a test outside of any build")]
fn sha256sum(path: &Utf8Path) -> String {
    let output = std::process::Command::new("sha256sum").arg(path).output().unwrap();
    String::from_utf8(output.stdout).unwrap()[..64].to_owned()
}

fn deb(file: &str) -> Vec<u8> {
    let mut tar = vec![0; 512];
    let contents = vec![0xA5; 2000];
    tar[..file.len()].copy_from_slice(file.as_bytes());
    tar[100..107].copy_from_slice(b"0000755");
    tar[124..135].copy_from_slice(format!("{:011o}", contents.len()).as_bytes());
    tar[148..156].fill(b' ');
    tar[156] = b'0';
    tar[257..265].copy_from_slice(b"ustar\x0000");
    let sum: u32 = tar.iter().copied().map(u32::from).sum();
    tar[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    tar.extend_from_slice(&contents);
    tar.resize(512 * 8, 0);
    let len = tar.len();
    let mut deb = b"!<arch>\n".to_vec();
    let header = format!("{:<16}{:<12}{:<6}{:<6}{:<8}{len:<10}`\n", "data.tar", 0, 0, 0, 644);
    deb.extend_from_slice(header.as_bytes());
    deb.extend_from_slice(&tar);
    deb
}

#[test]
fn the_same_template_and_packages_give_the_same_disk() {
    let disk = || {
        let delegate = harness().open().unwrap();
        fill_cache(&delegate);
        fs_err::read(delegate.build().unwrap().into_body().unwrap()).unwrap()
    };
    let first = disk();
    assert!(first == disk(), "two builds differ");
    assert_eq!(first.len(), 35 * 1024 * 1024);
    assert_eq!(first[510..512], [0x55, 0xAA]);
    assert_eq!(&first[512..520], b"EFI PART");
}

#[test]
fn a_disk_is_at_least_as_large_as_the_template_says() {
    let mut template = template();
    template.disk_size_bytes = Some(100 * 1024 * 1024 - 1);
    let delegate = harness().template(template).open().unwrap();
    fill_cache(&delegate);
    let body = delegate.build().unwrap().into_body().unwrap();
    assert_eq!(fs_err::metadata(body).unwrap().len(), 100 * 1024 * 1024);
}

#[test]
fn the_packages_are_recorded_and_decide_about_reuse() {
    let delegate = harness().open().unwrap();
    assert!(delegate.cache_key().is_err());
    fill_cache(&delegate);
    let key = delegate.cache_key().unwrap();
    assert_eq!(key.split(' ').count(), 3);
    delegate.build().unwrap();
    let recorded = &delegate.properties()["packages"];
    assert_eq!(recorded[1]["name"], "linux-image-6.1-cloud-amd64");
    assert!(key.contains(recorded[0]["sha256"].as_str().unwrap()));
    let refreshed = harness().parameter("freshness", "refresh").open().unwrap();
    fill_cache(&refreshed);
    assert!(refreshed.cache_key().is_err());
}

#[test]
fn content_of_a_cloud_changes_the_disk_and_none_leaves_it() {
    let content = |content: Content| {
        let target = harness().tier(Tier::Target).base_image(*b"base").content(content);
        let delegate = target.open().unwrap();
        fill_cache(&delegate);
        fs_err::read(delegate.build().unwrap().into_body().unwrap()).unwrap()
    };
    assert_eq!(content(Content::default()), b"base");
    let mut added = Content::default();
    added.files.push(File::new("/etc/cloud", Source::Raw("yes".to_owned())));
    added.commands.push(Command::new("greet", Source::Raw("echo hello".to_owned())));
    assert_eq!(content(added).len(), 35 * 1024 * 1024);
}

#[test]
fn everything_that_an_appliance_cannot_do_is_said_at_once() {
    let mut template = template();
    template.packages = serde_json::from_value(json!([{ "name": "vim" }])).unwrap();
    template.files.push(File::new("/x", Source::Url("http://x.invalid/".to_owned())));
    let harness = harness().template(template).parameter("freshness", "sometimes");
    let problems = harness.open().unwrap().check();
    let kinds: Vec<_> = problems.iter().map(plugin_api::DelegateError::kind).collect();
    let expected = [
        DelegateErrorKind::Unsupported,
        DelegateErrorKind::InvalidInput,
        DelegateErrorKind::Unsupported,
    ];
    assert_eq!(kinds, expected, "{problems:?}");
    assert!(problems[0].message().contains("`vim`"));
}

#[test]
fn an_empty_cache_offline_is_unavailable_with_a_remedy() {
    let error = harness().open().unwrap().build().unwrap_err();
    assert_eq!(error.kind(), DelegateErrorKind::Unavailable);
    assert!(error.message().contains("`linux-image-cloud-amd64`"), "{error}");
    assert!(!error.hints().is_empty());
}

#[test]
fn an_address_that_is_none_is_invalid_input() {
    let delegate = harness().parameter("mirror", "two words").open().unwrap();
    let problems = delegate.check();
    assert_eq!(problems[0].kind(), DelegateErrorKind::InvalidInput);
    assert!(problems[0].message().contains("`two words`"), "{problems:?}");
    assert_eq!(delegate.build().unwrap_err(), problems[0]);
}

use super::tests_support::{read, settings, template};
use plugin_api::template::{File, Install, Package, Source};
use serde_json::{Value, json};
use std::collections::BTreeSet;

fn problems(template: plugin_api::Template, parameters: &Value) -> String {
    let problems = read(template, parameters).unwrap_err();
    let texts: Vec<_> = problems.iter().map(ToString::to_string).collect();
    texts.join("\n")
}

#[test]
fn a_plain_template_has_sensible_defaults() {
    let settings = settings(&json!({}));
    assert_eq!(settings.distribution.suite, "bookworm");
    assert_eq!(settings.hostname, "my-web-server");
    assert_eq!(settings.kernel, "linux-image-amd64");
    assert_eq!(settings.kernel_parameters, "console=tty0 console=ttyS0,115200");
    assert_eq!(settings.components, ["main"]);
    assert!(settings.security && settings.updates && settings.docs && settings.dhcp);
    assert_eq!(settings.mirror, None);
    assert_eq!(settings.disk_bytes, 4 << 30);
}

#[test]
fn the_parameters_win_over_the_template() {
    let mut template = template();
    template.disk_size_bytes = Some(3 << 30);
    template.os.kernel_parameters = Some("quiet".into());
    template.os.install = Install::Url { url: "http://t.example/debian".into() };
    let given = json!({"disk_size": "2 GiB", "mirror": "http://p.example/debian/", "kernel_parameters": "nosmt",
        "console": "ttyS1"});
    let settings = read(template, &given).unwrap();
    assert_eq!(settings.disk_bytes, 2 << 30);
    assert_eq!(settings.mirror.as_deref(), Some("http://p.example/debian"));
    assert_eq!(settings.kernel_parameters, "console=ttyS1 quiet nosmt");
}

#[test]
fn every_problem_is_named_at_once() {
    let mut template = template();
    template.packages.push({
        let mut package = Package::default();
        package.name = "Bad Name".into();
        package.file = Some("/etc/passwd".into());
        package.arguments = Some("-o Foo=1".into());
        package
    });
    template.files.push(File::new("relative/../path", Source::Raw("x".into())));
    template.os.install =
        Install::Iso { iso: "http://x.example/i.iso".into(), checksum: None, extras: Vec::new() };
    let all = problems(
        template,
        &json!({"disk_size": "huge", "hostname": "-x", "kernel": "none", "users": "Root!", "mirror": "ldap://x"}),
    );
    let parts = [
        "ISO",
        "`Bad Name`",
        "`/etc/passwd`",
        "`-o`",
        "`relative/../path`",
        "`huge`",
        "`-x`",
        "`none`",
        "`Root!`",
        "`ldap://x`",
    ];
    for part in parts {
        assert!(all.contains(part), "{part} in\n{all}");
    }
}

#[test]
fn ubuntu_needs_a_mirror() {
    let mut template = template();
    template.os.name = "Ubuntu".into();
    template.os.version = "24.04".into();
    template.os.install = Install::Url { url: "mirror:debian".into() };
    assert!(problems(template.clone(), &json!({})).contains("Ubuntu needs the address"));
    let settings = read(template, &json!({"mirror": "http://u.example/ubuntu"})).unwrap();
    assert_eq!(settings.kernel, "linux-image-generic");
    assert_eq!(settings.keyring, "/usr/share/keyrings/ubuntu-archive-keyring.gpg");
}

#[test]
fn paths_cannot_be_smuggled_into_locale_and_time_zone() {
    assert!(problems(template(), &json!({"timezone": "../../etc/passwd"})).contains("`timezone`"));
    assert!(problems(template(), &json!({"locale": "C; reboot"})).contains("`locale`"));
}

#[test]
fn package_names_with_version_suite_or_architecture_are_accepted() {
    let settings = settings(
        &json!({"packages": ["vim=2:9.0", "libc6:i386", "curl/bookworm-backports", "g++"]}),
    );
    assert_eq!(settings.packages.len(), 4);
    assert!(problems(template(), &json!({"packages": ["a$(reboot)"]})).contains("`a$(reboot)`"));
}

#[test]
fn the_info_file_describes_every_parameter_that_is_read_and_no_other() {
    let info: Value = serde_json::from_str(include_str!("../../debian.info")).unwrap();
    let properties = info["parameters"]["properties"].as_object().unwrap();
    let described: BTreeSet<_> = properties.keys().map(String::as_str).collect();
    let source = include_str!("mod.rs");
    let calls =
        ["string", "bool", "number", "strings", "lines", "size", "address", "word", "value"];
    let read: BTreeSet<_> = calls
        .iter()
        .flat_map(|call| {
            let call = format!(".{call}(");
            source.split(&call).skip(1).map(str::trim_start).collect::<Vec<_>>()
        })
        .filter_map(|rest| rest.strip_prefix('"')?.split('"').next())
        .collect();
    assert_eq!(read, described);
}

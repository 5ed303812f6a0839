use proptest::prelude::*;
use serde_json::json;

use super::*;

fn read(value: &Value) -> Result<PluginInfo, InfoError> {
    PluginInfo::from_json(value.to_string().as_bytes())
}

/// The messages of all problems of `text`.
fn problems(text: impl AsRef<[u8]>) -> Vec<String> {
    match PluginInfo::from_json(text.as_ref()) {
        Ok(info) => panic!("no problem in {info:?}"),
        Err(error) => error.problems.iter().map(ToString::to_string).collect(),
    }
}

#[test]
fn every_wildcard_of_an_os_tuple_is_read() {
    let info = read(&json!({"type": "Os", "targets": [
        ["Debian", "12", "x86_64"], ["Debian", "12"], ["Debian"], [null, null, null], [null, "7"]
    ]}));
    let texts: Vec<String> = match info.unwrap().targets {
        Targets::Os(targets) => targets.iter().map(ToString::to_string).collect(),
        Targets::Cloud(_) => panic!("read as cloud"),
    };
    assert_eq!(texts, ["Debian 12 x86_64", "Debian 12 *", "Debian * *", "* * *", "* 7 *"]);
}

#[test]
fn cloud_targets_are_strings_or_tuples_of_one() {
    let info = read(&json!({"type": "CLOUD", "targets": ["qcow2", ["vsphere"]]})).unwrap();
    assert_eq!(info.targets, Targets::Cloud(vec!["qcow2".into(), "vsphere".into()]));
    assert_eq!(info.kind(), "cloud");
}

#[test]
fn all_problems_are_told_at_once_with_their_key_paths() {
    let text = json!({
        "type": "os",
        "targets": [["a"], ["b", "1", 3], [], "c", [""]],
        "description": 1,
        "maintainer": {"name": [], "email": "x@example.org"},
        "version": " ",
        "library": "/usr/lib/libx.so",
        "priority": 1.5,
        "parameters": [],
        "requires": {"commands": ["qemu-img", null], "api": "newest"},
        "depends": {"../x": "1", "mock-os": 2},
    });
    insta::assert_snapshot!(problems(text.to_string()).join("\n"), @r#"
    description: expected a string, found 1
    maintainer.name: expected a string, found a list
    version: expected a string that is not empty, found " "
    library: expected a file name or a path relative to this file, found "/usr/lib/libx.so"
    priority: expected an integer, found 1.5
    parameters: expected an object, found a list
    requires.commands[1]: expected a string, found null
    requires.api: expected a version range, found "newest": unexpected character 'n' while parsing major version number
    depends.../x: `../x` is no plugin name: expected a letter or digit, then up to 63 letters, digits, `.`, `_` and `-`
    depends.mock-os: expected a string, found 2
    targets[1][2]: expected a string or null, found 3
    targets[2]: expected one to three elements, found 0
    targets[3]: expected a tuple `[name, version, arch]`, found "c"
    targets[4][0]: expected a string or null, found ""
    "#);
}

#[test]
fn a_missing_or_unknown_type_is_a_problem() {
    assert_eq!(problems(r#"{"targets": ["a"]}"#), ["type: missing; expected `os` or `cloud`"]);
    assert_eq!(
        problems(r#"{"type": "disk", "targets": []}"#),
        [
            "type: expected `os` or `cloud`, found \"disk\"",
            "targets: expected at least one target, found an empty list"
        ]
    );
    assert_eq!(problems(r#"{"type": "os"}"#), ["targets: missing; expected a list of targets"]);
}

#[test]
fn a_key_given_twice_is_a_problem_at_any_depth() {
    let text = r#"{"type": "os", "type": "cloud", "targets": [["x"]],
                   "extra": [0, {"a": {"b": 1, "b": 2}}]}"#;
    assert_eq!(
        problems(text),
        ["type: the key is given twice", "extra[1].a.b: the key is given twice"]
    );
}

#[test]
fn text_that_is_no_json_object_is_explained() {
    let deep = "[".repeat(100_000);
    for (text, expected) in [
        (&b""[..], "the file is empty"),
        (b" \n", "the file is empty"),
        (b"[]", "expected an object, found a list"),
        (b"{\"type\": \"os\",}", "not valid JSON: trailing comma at line 1"),
        (b"{} {}", "not valid JSON: trailing characters"),
        (b"\xef\xbb\xbf{}", "byte order mark"),
        (b"{\n\"a\": \"\xff\"}", "line 2 is no UTF-8"),
        (b"{\"a\": 1e999}", "number out of range"),
        (deep.as_bytes(), "recursion limit exceeded"),
    ] {
        let found = problems(text);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].contains(expected), "{found:?} lacks {expected:?}");
    }
    let large = vec![b' '; MAX_INFO_BYTES + 1];
    assert_eq!(problems(large), ["the file has 1048577 bytes, more than 1048576"]);
}

#[test]
fn what_a_broken_file_claims_is_still_known() {
    let error = read(&json!({"type": "cloud", "targets": ["gce", 1], "priority": "high"}));
    assert_eq!(error.unwrap_err().targets, Some(Targets::Cloud(vec!["gce".into()])));
}

#[test]
fn unknown_fields_are_kept() {
    let info = read(&json!({"type": "os", "targets": [["x"]], "colour": "red",
        "maintainer": {"phone": 1}, "requires": {"memory": "1G"}}))
    .unwrap();
    assert_eq!(info.unknown("colour"), Some(&json!("red")));
    assert_eq!(info.unknown("maintainer.phone"), Some(&json!(1)));
    assert_eq!(info.unknown("requires.memory"), Some(&json!("1G")));
}

#[test]
fn null_counts_as_missing_for_optional_fields() {
    let info = read(&json!({"type": "os", "targets": [["x"]], "description": null,
        "maintainer": null, "version": null, "license": null, "library": null, "delegate": null,
        "priority": null, "parameters": null, "configuration": null, "requires": null,
        "depends": null}))
    .unwrap();
    assert_eq!(info, read(&json!({"type": "os", "targets": [["x"]]})).unwrap());
}

#[test]
fn a_library_is_relative_and_names_a_file() {
    for (library, valid) in [
        ("libx.so", true),
        ("../lib/libx.so", true),
        ("./libx.so", true),
        ("/libx.so", false),
        ("..", false),
        ("lib/", false),
        ("lib/.", false),
        ("a\0b", false),
    ] {
        let info = read(&json!({"type": "os", "targets": [["x"]], "library": library}));
        assert_eq!(info.is_ok(), valid, "{library:?}: {info:?}");
    }
}

#[test]
fn a_semantic_version_is_newer_than_any_opaque_one() {
    let mut versions = ["1.10.0", "1.0", "1.9.0", "zeta", "1.10.0-rc.1"].map(PluginVersion::new);
    versions.sort();
    assert_eq!(
        versions.map(|version| version.to_string()),
        ["1.0", "zeta", "1.9.0", "1.10.0-rc.1", "1.10.0"]
    );
}

#[test]
fn an_opaque_version_satisfies_only_the_star() {
    let opaque = PluginVersion::new("1.0");
    assert!(opaque.satisfies(&VersionReq::STAR));
    assert!(!opaque.satisfies(&VersionReq::parse("1").unwrap()));
    assert!(PluginVersion::new("1.4.0").satisfies(&VersionReq::parse("^1.2").unwrap()));
}

#[test]
fn a_plugin_name_is_a_safe_file_stem() {
    for valid in ["EC2", "mock-os", "a", "debian_12.1", "0x"] {
        assert_eq!(valid.parse::<PluginName>().unwrap().as_str(), valid);
    }
    for invalid in ["", "-x", ".x", "a/b", "a b", "ä", "a\n", &"x".repeat(65)] {
        assert!(invalid.parse::<PluginName>().is_err(), "{invalid:?}");
    }
}

#[test]
fn what_is_written_is_read_back() {
    let info = read(&json!({"type": "os", "targets": [["x", null, "riscv64"]], "version": "1.2.3",
        "priority": -3, "requires": {"commands": ["mke2fs"], "api": "^0.1"},
        "depends": {"qcow2": ">=1"}, "parameters": {"type": "object"}}))
    .unwrap();
    let written = serde_json::to_vec(&info).unwrap();
    assert_eq!(PluginInfo::from_json(&written).unwrap(), info);
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 5, |inner| {
        let key = prop_oneof![
            prop::sample::select(vec![
                "type",
                "targets",
                "maintainer",
                "name",
                "version",
                "library",
                "requires",
                "commands",
                "api",
                "depends",
                "parameters",
                "priority",
            ])
            .prop_map(str::to_owned),
            ".{0,6}"
        ];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::vec((key, inner), 0..6)
                .prop_map(|entries| Value::Object(entries.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn any_json_is_read_or_explained(value in any_json()) {
        if let Err(error) = read(&value) {
            prop_assert!(!error.problems.is_empty());
        }
    }

    #[test]
    fn any_bytes_are_read_or_explained(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Err(error) = PluginInfo::from_json(&bytes) {
            prop_assert!(!error.problems.is_empty());
        }
    }
}

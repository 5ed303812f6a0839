//! The house stays in order: arrows point down, files stay short, links resolve.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::support::checkout;

/// The modules of the host by layer, as `host/src/lib.rs` and the design say.
const LAYERS: [&[&str]; 6] = [
    &[
        "atomic_file",
        "audit",
        "failures",
        "fingerprint",
        "named_lock",
        "nearest",
        "paths",
        "process",
        "schemas",
        "scopes",
        "seal",
        "settings",
        "template",
    ],
    &["images", "plugins", "tokens"],
    &["boot", "factory"],
    &["doctor"],
    &["client", "daemon"],
    &["cli"],
];

/// No source file is longer.
const MAX_LINES: usize = 500;

fn layer(module: &str) -> usize {
    let found = LAYERS.iter().position(|modules| modules.contains(&module));
    found.unwrap_or_else(|| panic!("host module `{module}` is in no layer: name it in this test"))
}

/// Files below `folder` with this extension, without what was built.
fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs_err::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            if path.is_symlink() || name.starts_with('.') || name == "target" {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|found| found == extension) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn text(path: &Path) -> String {
    fs_err::read_to_string(path).unwrap()
}

/// The top modules that a source file of the host names as `crate::…`.
fn named_modules(source: &str) -> BTreeSet<String> {
    source
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .flat_map(|line| line.split("crate::").skip(1))
        .map(|rest| {
            let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
            rest[..end.unwrap_or(rest.len())].to_owned()
        })
        .filter(|name| !name.is_empty())
        .collect()
}

#[test]
fn arrows_between_modules_of_the_host_point_down() {
    let source = checkout().join("host/src");
    let mut seen = BTreeSet::new();
    for path in files(&source, "rs") {
        let below = path.strip_prefix(&source).unwrap();
        let top = below.iter().next().unwrap().to_str().unwrap();
        let module = top.trim_end_matches(".rs").trim_end_matches("_tests");
        if matches!(module, "lib" | "main") {
            continue;
        }
        seen.insert(module.to_owned());
        for named in named_modules(&text(&path)) {
            let down = layer(module) > layer(&named);
            let machinery = layer(module) == 0 && layer(&named) == 0;
            assert!(
                named == module || down || machinery,
                "{}: `{module}` (layer {}) names `{named}` (layer {})",
                below.display(),
                layer(module),
                layer(&named)
            );
        }
    }
    let known: BTreeSet<String> = LAYERS.concat().iter().map(|&name| name.to_owned()).collect();
    assert_eq!(seen, known, "the layers in this test are those of the host");
}

#[test]
fn the_main_file_only_calls_the_library() {
    let lines = text(&checkout().join("host/src/main.rs")).lines().count();
    assert!(lines < 20, "host/src/main.rs has {lines} lines");
}

/// The packages of this workspace that a manifest names in one of its tables.
fn dependencies(manifest: &Path, tables: &[&str]) -> BTreeSet<String> {
    let ours = ["imageforge", "plugin-api", "plugin-kit", "ext4", "imageforge-ext4"];
    let document: toml::Table = text(manifest).parse().unwrap();
    tables
        .iter()
        .filter_map(|table| document.get(*table)?.as_table())
        .flat_map(|table| table.keys().cloned())
        .filter(|name| ours.contains(&name.as_str()) || is_plugin(name))
        .collect()
}

fn is_plugin(package: &str) -> bool {
    checkout().join("plugins").join(package).is_dir()
}

const ALL_TABLES: [&str; 3] = ["dependencies", "dev-dependencies", "build-dependencies"];

#[test]
fn plugins_depend_on_the_api_and_the_kit_and_never_on_host_or_each_other() {
    for entry in fs_err::read_dir(checkout().join("plugins")).unwrap() {
        let manifest = entry.unwrap().path().join("Cargo.toml");
        for name in dependencies(&manifest, &ALL_TABLES) {
            let allowed = matches!(name.as_str(), "plugin-api" | "plugin-kit" | "ext4");
            assert!(allowed, "{} depends on {name}", manifest.display());
        }
    }
}

#[test]
fn what_plugins_share_knows_no_host_and_no_plugin() {
    for manifest in ["plugin-kit/Cargo.toml", "plugin-kit/ext4/Cargo.toml"] {
        for name in dependencies(&checkout().join(manifest), &ALL_TABLES) {
            let allowed = matches!(name.as_str(), "ext4" | "imageforge-ext4" | "plugin-api");
            assert!(allowed, "{manifest} depends on {name}");
        }
    }
    let api = dependencies(&checkout().join("plugin-api/Cargo.toml"), &["dependencies"]);
    assert_eq!(api, BTreeSet::new(), "plugin-api depends on nothing of ours");
    let host = dependencies(&checkout().join("host/Cargo.toml"), &["dependencies"]);
    assert!(host.iter().all(|name| !is_plugin(name)), "{host:?}");
}

#[test]
fn only_the_abi_folder_names_abi_stable() {
    let root = checkout();
    for path in files(&root, "rs") {
        let below = path.strip_prefix(&root).unwrap();
        if below.starts_with("plugin-api/src/abi") || below.starts_with("tests") {
            continue;
        }
        assert!(!text(&path).contains("abi_stable"), "{}", below.display());
    }
}

#[test]
fn no_source_file_is_too_long() {
    let root = checkout();
    let too_long: Vec<String> = files(&root, "rs")
        .iter()
        .map(|path| (path, text(path).lines().count()))
        .filter(|(_, lines)| *lines > MAX_LINES)
        .map(|(path, lines)| format!("{}: {lines} lines", path.display()))
        .collect();
    assert!(too_long.is_empty(), "{too_long:#?}");
}

#[test]
fn every_link_in_plugins_d_is_relative_and_resolves() {
    let folder = checkout().join("plugins.d");
    let mut links = 0;
    for entry in fs_err::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        let stem = path.file_stem().unwrap().to_str().unwrap();
        let goal = fs_err::read_link(&path).unwrap();
        assert_eq!(goal, Path::new("../plugins").join(stem).join(format!("{stem}.info")));
        assert!(folder.join(&goal).is_file(), "{} leads nowhere", path.display());
        links += 1;
    }
    let plugins = fs_err::read_dir(checkout().join("plugins")).unwrap().count();
    assert_eq!(links, plugins, "every plugin of the checkout is linked");
}

#[test]
fn every_file_of_the_suite_is_part_of_it() {
    let folder = checkout().join("tests/suite");
    let main = text(&folder.join("main.rs"));
    for path in files(&folder, "rs") {
        let below = path.strip_prefix(&folder).unwrap();
        let module = below.iter().next().unwrap().to_str().unwrap();
        let module = module.trim_end_matches(".rs");
        let declared = main.contains(&format!("mod {module};"));
        assert!(module == "main" || declared, "{}", below.display());
    }
}

#[test]
fn no_test_is_left_out() {
    // In two pieces, so that this file does not find itself.
    let attribute = concat!("#[", "ignore");
    for path in files(&checkout(), "rs") {
        assert!(!text(&path).contains(attribute), "{}", path.display());
    }
}

#[test]
fn ready_templates_are_valid() {
    let workshop = crate::support::Workshop::without_plugins();
    let folder = checkout().join("templates");
    let mut count = 0;
    for entry in fs_err::read_dir(folder).unwrap() {
        let path = entry.unwrap().path().display().to_string();
        // Valid, and no plugin to build it: exit code 4, where a bad template ends with 3.
        let ran = workshop.run(&["templates", "check", &path]);
        ran.refused(4).says("no plugin serves");
        count += 1;
    }
    assert!(count > 0);
}

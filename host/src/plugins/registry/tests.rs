use std::os::unix::fs::PermissionsExt;

use fs_err::os::unix::fs::symlink;
use serde_json::{Value, json};

use super::*;
use crate::plugins::NoPlugin;
use crate::plugins::matching::{cloud_claimants, os_claimants};

/// A `plugins.d` with real `.info` files beside libraries, as in a checkout.
struct House {
    _guard: tempfile::TempDir,
    root: Utf8PathBuf,
}

impl House {
    fn new() -> Self {
        let guard = tempfile::tempdir().unwrap();
        let root = Utf8PathBuf::from_path_buf(guard.path().canonicalize().unwrap()).unwrap();
        fs_err::create_dir(root.join("plugins.d")).unwrap();
        Self { _guard: guard, root }
    }

    /// Adds a plugin whose library is some file.
    fn add(&self, name: &str, info: &Value) -> &Self {
        self.add_without_library(name, info);
        let library = format!("plugins/{name}/lib{}.so", name.replace('-', "_"));
        fs_err::write(self.root.join(library), "not a library").unwrap();
        self
    }

    fn add_without_library(&self, name: &str, info: &Value) -> &Self {
        let folder = self.root.join("plugins").join(name);
        fs_err::create_dir_all(&folder).unwrap();
        fs_err::write(folder.join(format!("{name}.info")), info.to_string()).unwrap();
        let link = self.root.join(format!("plugins.d/{name}.info"));
        symlink(format!("../plugins/{name}/{name}.info"), link).unwrap();
        self
    }

    fn options(&self) -> RegistryOptions {
        RegistryOptions {
            executable: Some(self.root.join("bin/imageforge")),
            cache_file: Some(self.root.join("cache/probes.json")),
            ..RegistryOptions::new(self.root.join("plugins.d"))
        }
    }

    fn open(&self) -> Registry {
        Registry::open(&self.options()).unwrap()
    }
}

fn cloud(targets: &[&str]) -> Value {
    json!({"type": "cloud", "targets": targets})
}

fn os(targets: &Value) -> Value {
    json!({"type": "os", "targets": targets})
}

fn status(registry: &Registry, name: &str) -> Status {
    registry.status(registry.plugin(name).unwrap())
}

fn name(found: Result<&Plugin, NoPlugin>) -> String {
    found.unwrap().name().to_owned()
}

fn data(folder: &str) -> RegistryOptions {
    let root = Utf8Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/info");
    RegistryOptions { allow_insecure_permissions: true, ..RegistryOptions::new(root.join(folder)) }
}

#[test]
fn every_upstream_file_is_valid_and_its_conflicts_are_seen() {
    let registry = Registry::open(&data("good")).unwrap();
    for plugin in registry.plugins() {
        assert!(plugin.info().is_some(), "{plugin:?}");
    }
    assert_eq!(cloud_claimants(registry.infos(), "vsphere4").len(), 1);
    let fedora = os_claimants(registry.infos(), ["Fedora", "39", "x86_64"]);
    let names: Vec<_> = fedora.iter().map(|i| registry.plugins()[*i].name()).collect();
    assert_eq!(names, ["Nova", "TinMan", "seed-short"]);
}

#[test]
fn every_bad_file_is_a_problem_with_a_reason() {
    let registry = Registry::open(&data("bad")).unwrap();
    let told: Vec<String> = registry
        .plugins()
        .iter()
        .map(|plugin| format!("{}: {}", plugin.name(), registry.status(plugin).reason()))
        .collect();
    insta::assert_snapshot!(told.join("\n"));
    assert!(registry.targets().is_empty());
}

#[test]
fn a_link_gives_its_plugin_name_and_the_real_file_its_library() {
    let house = House::new();
    house.add("my-os", &os(&json!([["MyOS"]])));
    symlink("my-os.info", house.root.join("plugins.d/other.info")).unwrap();
    let registry = house.open();
    let other = registry.plugin("other").unwrap();
    let real = house.root.join("plugins/my-os/my-os.info");
    assert_eq!(registry.real_path(other), Some(real.as_path()));
    assert_eq!(registry.links(other).len(), 2);
    let library = registry.library(other).unwrap();
    assert_eq!(library.path, house.root.join("plugins/my-os/libmy_os.so"));
    assert_eq!(
        registry.conflicts(other),
        [Conflict { target: "MyOS * *".into(), winner: "my-os".into() }]
    );
    assert_eq!(registry.status(other).state, PluginState::Conflict);
    assert_eq!(status(&registry, "my-os").state, PluginState::Ready);
}

#[test]
fn removing_a_link_removes_the_targets_and_adding_it_brings_them_back() {
    let house = House::new();
    house.add("gce", &cloud(&["gce"])).add("ova", &cloud(&["ova"]));
    let link = house.root.join("plugins.d/gce.info");
    let target = fs_err::read_link(&link).unwrap();
    let names = || -> Vec<String> {
        house.open().targets().into_iter().map(|entry| entry.target).collect()
    };
    assert_eq!(names(), ["gce", "ova"]);
    fs_err::remove_file(&link).unwrap();
    assert_eq!(names(), ["ova"]);
    symlink(target, &link).unwrap();
    assert_eq!(names(), ["gce", "ova"]);
}

#[test]
fn a_plugin_without_its_library_is_a_problem_and_takes_nothing_from_another() {
    let house = House::new();
    house.add_without_library("a-broken", &cloud(&["gce"])).add("gce", &cloud(&["gce"]));
    let registry = house.open();
    assert_eq!(name(registry.cloud_plugin("gce")), "gce");
    assert_eq!(status(&registry, "gce").state, PluginState::Ready);
    let broken = status(&registry, "a-broken");
    assert_eq!(broken.state, PluginState::Problem);
    assert!(broken.reason().contains("liba_broken.so"), "{broken:?}");
    assert_eq!(registry.targets().len(), 1);
}

#[test]
fn the_winner_of_a_claim_is_not_replaced_in_silence() {
    let house = House::new();
    let mut wanting = os(&json!([["Debian", "12"]]));
    wanting["requires"] = json!({"commands": ["no-such-program"], "api": ">=99"});
    house.add("debian", &wanting).add("any", &os(&json!([[null, null, null]])));
    let registry = house.open();
    assert_eq!(name(registry.os_plugin("Plan9", "4", "386")), "any");
    let error = registry.os_plugin("Debian", "12", "x86_64").unwrap_err();
    let missing = "(it needs plugin API >=99";
    assert!(error.to_string().contains(missing), "{error}");
    assert!(error.to_string().contains("program `no-such-program` is not installed"), "{error}");
    assert_eq!(error.hints().len(), 2);
}

#[test]
fn the_nearest_targets_are_suggested() {
    let house = House::new();
    house
        .add("debian", &os(&json!([["Debian", "12"], ["Debian", "13"], ["Fedora"]])))
        .add("qcow2", &cloud(&["qcow2", "vmdk"]));
    let registry = house.open();
    let error = registry.cloud_plugin("qcow").unwrap_err();
    assert_eq!(error.to_string(), "no plugin serves `qcow`");
    assert_eq!(error.hints()[0], "did you mean `qcow2`?");
    let error = registry.os_plugin("debian", "12", "x86_64").unwrap_err();
    assert_eq!(error.hints()[0], "did you mean `Debian 12 *`, `Debian 13 *`?");
    let nothing = House::new().open().cloud_plugin("qcow2").unwrap_err();
    assert!(nothing.hints()[0].contains("plugins.d"), "{nothing:?}");
}

#[test]
fn a_broken_file_that_claims_the_target_is_named_as_the_reason() {
    let house = House::new();
    house.add("gce", &json!({"type": "cloud", "targets": ["gce"], "priority": "high"}));
    let error = house.open().cloud_plugin("gce").unwrap_err();
    assert_eq!(
        error.to_string(),
        "no usable plugin serves `gce`: plugin `gce` is in state problem (priority: expected an \
         integer, found \"high\")"
    );
}

#[test]
fn a_dependency_must_be_there_in_a_version_that_will_do() {
    let house = House::new();
    let depends =
        |range: &str| json!({"type": "cloud", "targets": [range], "depends": {"base": range}});
    house
        .add("base", &json!({"type": "cloud", "targets": ["base"], "version": "1.4.0"}))
        .add("fits", &depends("^1.2"))
        .add("late", &depends("^2"))
        .add("lost", &json!({"type": "cloud", "targets": ["l"], "depends": {"absent": "*"}}));
    let registry = house.open();
    assert_eq!(status(&registry, "fits").state, PluginState::Ready);
    let late = status(&registry, "late");
    assert_eq!(late.reason(), "it depends on plugin `base` ^2, found 1.4.0");
    assert_eq!(status(&registry, "lost").state, PluginState::MissingRequirement);
}

#[test]
fn a_schema_that_is_none_is_a_problem() {
    let house = House::new();
    let mut info = cloud(&["gce"]);
    info["parameters"] = json!({"properties": {"size": {"type": "big"}}});
    let status = status(&house.add("gce", &info).open(), "gce");
    assert_eq!(status.state, PluginState::Problem);
    assert!(status.reason().starts_with("parameters.properties.size.type: "), "{status:?}");
}

#[test]
fn a_file_that_is_no_library_is_refused_without_a_child() {
    let house = House::new();
    let registry = house.add("gce", &cloud(&["gce"])).open();
    let plugin = registry.plugin("gce").unwrap();
    assert_eq!(registry.status(plugin).state, PluginState::Ready);
    let unusable = registry.ready(plugin).unwrap_err();
    assert_eq!(unusable.status.state, PluginState::Problem);
    assert!(unusable.to_string().contains("is not an ELF file"), "{unusable}");
    // The next process knows it from the record.
    let later = house.open();
    let plugin = later.plugin("gce").unwrap();
    assert_eq!(later.status(plugin).state, PluginState::Problem);
    // And forgets it as soon as the library is another one.
    fs_err::write(&later.library(plugin).unwrap().path, "something else").unwrap();
    assert_eq!(status(&house.open(), "gce").state, PluginState::Ready);
}

#[test]
fn the_digest_is_that_of_the_library() {
    let house = House::new();
    let registry = house.add("gce", &cloud(&["gce"])).open();
    let digest = registry.digest(registry.plugin("gce").unwrap()).unwrap();
    assert_eq!(
        digest.as_deref(),
        Some("f6bb034ecdd65239971cf2fbc49cb6ecef0dc0a192e40c2884e68e3346503e69")
    );
}

#[test]
fn a_library_that_anybody_may_change_is_refused() {
    let house = House::new();
    house.add("gce", &cloud(&["gce"]));
    let library = house.root.join("plugins/gce/libgce.so");
    fs_err::set_permissions(&library, PermissionsExt::from_mode(0o777)).unwrap();
    assert_eq!(status(&house.open(), "gce").state, PluginState::Problem);
    let options = RegistryOptions { allow_insecure_permissions: true, ..house.options() };
    assert_eq!(status(&Registry::open(&options).unwrap(), "gce").state, PluginState::Ready);
}

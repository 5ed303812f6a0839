//! Plugins come and go with their links, and a broken one hides nobody.

use fs_err::os::unix::fs::symlink;
use serde_json::{Value, json};

use crate::support::{Workshop, checkout, library_dir, texts};

fn states(workshop: &Workshop) -> Vec<(String, String)> {
    let plugins = workshop.json(&["plugins", "list"]);
    let state = |plugin: &Value| {
        let name = plugin["name"].as_str().unwrap().to_owned();
        let state = plugin["status"]["state"].as_str().unwrap().to_owned();
        (name, state)
    };
    plugins.as_array().unwrap().iter().map(state).collect()
}

/// What is said to be wrong with a plugin, and what to do.
fn reasons(workshop: &Workshop, plugin: &str) -> String {
    workshop.json(&["plugins", "show", plugin])["status"].to_string()
}

#[test]
fn a_removed_link_takes_its_targets_away_and_a_new_one_brings_them_back() {
    let workshop = Workshop::new();
    let before = workshop.targets();
    assert!(before.contains(&"mock".to_owned()), "{before:?}");

    workshop.unlink("mock-cloud");
    assert_eq!(workshop.targets(), ["MockOS_A * *", "MockOS_B 1 x86_64"]);
    let refused = workshop.run(&["build", "mock.tdl", "--target", "mock"]);
    refused.refused(4).says("no plugin serves `mock`");

    workshop.link("mock-cloud");
    assert_eq!(workshop.targets(), before);
    workshop.build(&["--target", "mock"]);
}

#[test]
fn no_plugin_is_no_error_and_serves_nothing() {
    let workshop = Workshop::without_plugins();
    assert_eq!(workshop.targets(), Vec::<String>::new());
    assert_eq!(workshop.json(&["plugins", "list"]), json!([]));
}

#[test]
fn a_broken_info_changes_nothing_for_the_others_and_is_explained() {
    let workshop = Workshop::new();
    let before = workshop.targets();
    let plugins_d = workshop.path("plugins.d");
    for (name, text, reason) in [
        ("bad-json", r#"{"type": "os", "#, "not valid JSON"),
        ("bad-key", r#"{"type":"os","targets":[["A",3]]}"#, "targets[0][1]"),
        ("bad-kind", r#"{"type":"toaster","targets":["a"]}"#, "toaster"),
        ("empty", "", "empty"),
        ("list", "[]", "expected"),
    ] {
        workshop.info(name, text);
        assert_eq!(workshop.targets(), before, "beside {name}");
        let explained = reasons(&workshop, name);
        assert!(explained.contains(reason), "{name}: {explained}");
    }
    workshop.info("huge", &" ".repeat(2 << 20));
    symlink("/nowhere/at/all", plugins_d.join("dangling.info")).unwrap();
    symlink("loop.info", plugins_d.join("loop.info")).unwrap();
    fs_err::create_dir(plugins_d.join("folder.info")).unwrap();
    assert_eq!(workshop.targets(), before);

    let list = workshop.run(&["plugins", "list"]).done();
    list.prints("huge: the file has 2097152 bytes")
        .prints("dangling: the link leads nowhere")
        .prints("loop: the link leads back to itself")
        .prints("folder: expected a file")
        .prints("hint: ");
    for (name, state) in states(&workshop) {
        let is_mock = name.starts_with("mock-");
        assert_eq!(state == "ready", is_mock, "{name} is {state}");
    }
    workshop.build(&["--target", "mock"]);
}

#[test]
fn an_unreadable_directory_of_plugins_is_explained() {
    let workshop = Workshop::new();
    let gone = workshop.path("gone").display().to_string();
    let ran = workshop.run(&["--plugins-d", &gone, "targets"]);
    ran.refused(4).says("gone");
    let file = workshop.path("mock.tdl").display().to_string();
    let ran = workshop.run(&["--plugins-d", &file, "targets"]);
    ran.refused(4).says("mock.tdl");
}

#[test]
fn plugins_that_everybody_may_change_are_refused_unless_accepted() {
    use std::os::unix::fs::PermissionsExt as _;
    let workshop = Workshop::new();
    let plugins_d = workshop.path("plugins.d");
    let allow = |mode| {
        let permissions = std::fs::Permissions::from_mode(mode);
        fs_err::set_permissions(&plugins_d, permissions).unwrap();
    };
    allow(0o777);
    let ran = workshop.run(&["build", "mock.tdl"]);
    ran.refused(4).says("writable by everybody").says("chmod o-w");
    workshop.run(&["build", "mock.tdl", "--allow-insecure-permissions"]).done();
    allow(0o755);
    workshop.run(&["build", "mock.tdl"]).done();

    let info = workshop.write("plugins.d/open.info", r#"{"type":"os","targets":[["Open"]]}"#);
    fs_err::set_permissions(info, std::fs::Permissions::from_mode(0o666)).unwrap();
    assert!(!workshop.targets().contains(&"Open * *".to_owned()));
    let explained = reasons(&workshop, "open");
    assert!(explained.contains("writable by everybody"), "{explained}");
}

#[test]
fn of_several_claims_the_most_specific_wins_and_the_others_are_shown() {
    let workshop = Workshop::new();
    workshop.info(
        "any-os",
        r#"{"type":"os","targets":[[null,null,null]],"library":"libmock_os.so","priority":9}"#,
    );
    workshop.info(
        "same-cloud",
        r#"{"type":"cloud","targets":["mock"],"library":"libmock_cloud.so","priority":-1}"#,
    );
    let plan = workshop.json(&["build", "mock.tdl", "--dry-run", "--target", "mock"]);
    assert_eq!(plan["base"]["build"]["plugin"]["name"], "mock-os");
    assert_eq!(plan["targets"][0]["cloud"]["name"], "mock-cloud");

    let shown = workshop.json(&["plugins", "show", "same-cloud"]);
    assert_eq!(shown["status"]["state"], "conflict");
    assert!(shown.to_string().contains("mock-cloud"), "{shown}");

    workshop.template_for("other.tdl", "SomethingElse");
    let plan = workshop.json(&["build", "other.tdl", "--dry-run"]);
    assert_eq!(plan["base"]["build"]["plugin"]["name"], "any-os");
}

#[test]
fn a_higher_priority_wins_among_equal_claims() {
    let workshop = Workshop::new();
    workshop.info(
        "zz-cloud",
        r#"{"type":"cloud","targets":["mock"],"library":"libmock_cloud.so","priority":1}"#,
    );
    let plan = workshop.json(&["build", "mock.tdl", "--dry-run", "--target", "mock"]);
    assert_eq!(plan["targets"][0]["cloud"]["name"], "zz-cloud");
}

#[test]
fn upstreams_forms_of_claims_are_valid() {
    let workshop = Workshop::new();
    workshop.info(
        "upstream",
        r#"{"type":"CLOUD","targets":[["one"],"two"],"library":"libmock_cloud.so",
            "description":"d","maintainer":{"name":"n","email":"e","url":"u"},
            "version":"1.0","license":"l","future":{"unknown":true}}"#,
    );
    let targets = workshop.targets();
    assert!(targets.contains(&"one".to_owned()), "{targets:?}");
    assert!(targets.contains(&"two".to_owned()), "{targets:?}");
    let shown = workshop.json(&["plugins", "show", "upstream"]);
    assert_eq!(shown["status"]["state"], "ready", "{shown}");
    assert!(shown["info"].to_string().contains("future"), "{shown}");
}

#[test]
fn a_misspelt_plugin_is_answered_with_the_nearest_one() {
    let workshop = Workshop::new();
    let ran = workshop.run(&["plugins", "show", "mock-cluod"]);
    ran.refused(5).says("did you mean `mock-cloud`");
    let ran = workshop.run(&["targets", "mockspec"]);
    ran.refused(4).says("did you mean `mockspace`");
}

#[test]
fn an_info_file_is_checked_where_it_is() {
    let workshop = Workshop::without_plugins();
    let good = checkout().join("plugins/mock-os/mock-os.info");
    let ran = workshop.run(&["plugins", "check", good.to_str().unwrap()]);
    ran.done().prints("ready");
    workshop.write("bad.info", r#"{"type":"os","targets":[["A"]],"library":"libgone.so"}"#);
    let ran = workshop.run(&["plugins", "check", "bad.info"]);
    ran.ended(4).prints("libgone.so");
}

#[test]
fn what_a_target_understands_is_explained() {
    let workshop = Workshop::new();
    let explained = workshop.run(&["targets", "MockOS_B"]).done();
    explained.prints("delay_ms (integer)").prints("[default: 0]");
    let document = workshop.json(&["targets", "mock"]);
    assert_eq!(document["target"]["plugin"], "mock-cloud");
    assert_eq!(document["parameters"]["properties"]["add_file"]["type"], "string");
    assert_eq!(document["configuration"]["properties"]["password"]["x-secret"], true);
    assert_eq!(document["provider"]["required"], json!(["directory"]));
    let explained = workshop.run(&["targets", "mock"]).done();
    explained
        .prints("settings, below `[plugin.mock-cloud]`:")
        .prints("password (string, secret): ")
        .prints("provider: the path of a directory")
        .prints("directory (string, required): ")
        .prints("credentials: none, or JSON");
}

#[test]
fn settings_of_plugins_are_held_to_their_schema_when_planning_and_by_doctor() {
    let workshop = Workshop::new();
    let with = |settings: &str, arguments: &[&str]| {
        workshop.write("settings.toml", settings);
        workshop.run(&[&["--config", "settings.toml"], arguments].concat())
    };
    let plan = ["build", "mock.tdl", "--target", "mock", "--dry-run"];
    let misspelt = "[plugin.mock-cloud]\nusernam = \"ada\"\n";
    let ran = with(misspelt, &plan).refused(3);
    ran.says("no setting `plugin.mock-cloud.usernam`").says("`plugin.mock-cloud.username`?");
    let ran = with(misspelt, &["doctor"]);
    ran.prints("plugins-settings").prints("`plugin.mock-cloud.usernam`");
    // What is wrong with a secret is told without it.
    let ill_typed = "[plugin.mock-cloud]\npassword = [\"hunter2\"]\n";
    let ran = with(ill_typed, &plan).refused(3);
    ran.says("setting `plugin.mock-cloud.password`: ").never_says("hunter2");
    with("[plugin.mock-os]\nany = 1\n", &plan).refused(3).says("`plugin.mock-os.any`");
    with("[plugin.mock-clout]\n", &["doctor"]).prints("did you mean `[plugin.mock-cloud]`?");
    // Those of a plugin that takes no part are nothing to this build.
    with("[plugin.other]\nany = 1\n", &plan).done();
    with("[plugin.mock-cloud]\nusername = \"ada\"\n", &plan).done();
}

#[test]
fn every_shipped_plugin_explains_all_that_it_may_be_told() {
    for folder in fs_err::read_dir(checkout().join("plugins")).unwrap() {
        let folder = folder.unwrap();
        let name = folder.file_name().into_string().unwrap();
        let text = fs_err::read(folder.path().join(format!("{name}.info"))).unwrap();
        let info: Value = serde_json::from_slice(&text).unwrap();
        for field in ["parameters", "configuration"] {
            let schema = &info[field];
            assert_eq!(schema["additionalProperties"], false, "{name}: {field}");
            for (key, property) in schema["properties"].as_object().unwrap() {
                assert!(property["description"].is_string(), "{name}: {field}.{key}");
            }
        }
    }
}

#[test]
fn a_library_that_is_replaced_is_looked_at_anew() {
    let workshop = Workshop::without_plugins();
    workshop.template_for("mock.tdl", "Own");
    workshop.info("own", r#"{"type":"os","targets":[["Own"]]}"#);
    workshop.library("own", b"not yet");
    assert_eq!(states(&workshop), [("own".to_owned(), "problem".to_owned())]);
    let real = fs_err::read(library_dir().join("libmock_os.so")).unwrap();
    workshop.library("own", &real);
    assert_eq!(states(&workshop), [("own".to_owned(), "ready".to_owned())]);
    let images = workshop.build(&[]);
    assert_eq!(texts(&images, "status"), ["COMPLETE"]);
}

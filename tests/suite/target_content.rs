//! What images get besides their template: from the cloud's plugin, or from an operator's file.

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::fixtures_abi::build_fixture;
use crate::support::{Daemon, Workshop, kill, texts, wait_for};

const AGENT: [&str; 4] = ["--target", "mock", "--parameter", "agent=true"];

/// An operator's file: an entry for one target and system, one for the target alone.
const FILE: &str = "<template_includes>
  <include target='mock' os='MockOS_B'>
    <packages><package name='chosen'/></packages>
    <repositories><repository name='extra'><url>http://extra.example/</url></repository></repositories>
  </include>
  <include target='mock'/>
</template_includes>
";

/// What the teaching system wrote into the image for the target.
fn added(images: &[Value]) -> Vec<String> {
    let target = images.iter().find(|image| image["tier"] == "target").unwrap();
    let body = fs_err::read_to_string(target["path"].as_str().unwrap()).unwrap();
    let lines = body.lines().filter(|line| line.starts_with("target "));
    lines.map(|line| line.trim_start_matches("target ").to_owned()).collect()
}

fn planned(plan: &Value) -> Value {
    plan["targets"][0]["content"].clone()
}

#[test]
fn what_a_plugin_asks_for_is_in_the_plan_and_in_the_image() {
    let workshop = Workshop::new();
    let dry = [&["build", "mock.tdl", "--dry-run"], &AGENT[..]].concat();
    let plan = workshop.run(&dry).done();
    plan.prints("content of plugin `mock-cloud`").prints("mock-agent-b").prints("/etc/mock-agent");
    let content = planned(&workshop.json(&dry));
    assert_eq!(content["from"], json!({ "plugin": "mock-cloud" }));
    assert_eq!(texts(content["packages"].as_array().unwrap(), "name"), ["mock-agent-b"]);
    assert_eq!(content["files"][0]["content"], "system=MockOS_B 1\n");
    assert!(workshop.images().is_empty());

    // What is only asked for while the image is made comes after it, and is in no plan.
    let images = workshop.build(&[&AGENT[..], &["--parameter", "add_file=more"]].concat());
    assert_eq!(
        added(&images),
        [
            "package: mock-agent-b",
            "file: /etc/mock-agent (18 bytes)",
            "file: /etc/mock-cloud (4 bytes)",
            "command: enable"
        ]
    );
}

#[test]
fn what_tells_about_the_disk_of_a_target_image_is_its_own_or_that_of_the_same_disk() {
    let workshop = Workshop::new();
    fs_err::create_dir(workshop.path("cloud")).unwrap();
    workshop.write("content.toml", "[[include]]\ntarget = 'mock'\npackages = ['agent']\n");
    let to = ["--target", "mock", "--target", "mockstack", "--provider", "mock=cloud"];
    let note = |image: &Value| {
        let [note] = &image["artifacts"].as_array().unwrap()[..] else { panic!("{image:#}") };
        assert_eq!(note["name"], "mock-os.txt");
        let text = fs_err::read_to_string(note["path"].as_str().unwrap()).unwrap();
        (text, json!({ "mock-os.txt": note["size_bytes"] }))
    };
    // Only one of the targets asks for content; a push later is told the same.
    let images = workshop.build(&[&to[..], &["--target-content", "content.toml"]].concat());
    let [base, changed, same, pushed] = &images[..] else { panic!("{images:#?}") };
    let ((base, _), (changed_text, changed_told)) = (note(base), note(changed));
    assert_eq!(changed_text, format!("{base}target package: agent\n"));
    assert_eq!(changed["properties"]["told"], changed_told);
    assert_eq!(pushed["properties"]["told"], changed_told);
    let (same_text, same_told) = note(same);
    assert_eq!(same_text, base);
    assert_eq!(same["properties"]["told"], same_told);
    assert_ne!(same_told, changed_told);

    let base = images[0]["id"].as_str().unwrap();
    workshop.run(&["images", "delete", base, "--force"]).done();
    let later = ["provider-image", "mock", "cloud", "@", "--id", changed["id"].as_str().unwrap()];
    let later = workshop.json(&later);
    let later = later["images"].as_array().unwrap().last().unwrap();
    assert_eq!(later["properties"]["told"], changed_told, "{later:#}");
    workshop.run(&["images", "check"]).done();
}

#[test]
fn a_system_that_a_cloud_has_nothing_for_is_refused_before_anything_is_built() {
    let workshop = Workshop::new();
    workshop.template_for("mock.tdl", "MockOS_A");
    let ran = workshop.run(&[&["build", "mock.tdl"], &AGENT[..]].concat());
    ran.refused(3).says("there is no agent for `MockOS_A`");
    assert!(workshop.images().is_empty());
}

#[test]
fn a_file_takes_the_place_of_what_the_plugin_asks_for() {
    let workshop = Workshop::new();
    workshop.write("content.xml", FILE);
    workshop.write("settings.toml", "target_content = \"content.xml\"\n");
    let with = |more: &[&'static str]| [&["--config", "settings.toml"], more].concat();
    let dry = with(&[&["build", "mock.tdl", "--dry-run"], &AGENT[..]].concat());
    workshop.run(&dry).done().prints("content.xml` line 2 (target mock, os MockOS_B)");
    let content = planned(&workshop.json(&dry));
    assert_eq!(content["from"]["file"]["line"], 2);
    assert_eq!(content["from"]["file"]["entry"], "target mock, os MockOS_B");
    let images = workshop.json(&with(&[&["build", "mock.tdl"], &AGENT[..]].concat()));
    let images = images["images"].as_array().unwrap().clone();
    assert_eq!(added(&images), ["package: chosen", "repository: extra"]);

    // The entry for the target says: nothing. Where no entry fits, the plugin is asked.
    workshop.template_for("mock.tdl", "MockOS_A");
    let images = workshop.json(&with(&[&["build", "mock.tdl"], &AGENT[..]].concat()));
    assert_eq!(added(images["images"].as_array().unwrap()), Vec::<String>::new());
    let other = ["build", "mock.tdl", "--target", "mockstack", "--parameter", "agent=true"];
    workshop.run(&with(&other)).refused(3).says("there is no agent");
}

#[test]
fn a_flag_wins_over_the_variable_and_this_over_the_settings() {
    let workshop = Workshop::new();
    let entry = |package: &str| format!("[[include]]\npackages = [\"{package}\"]\n");
    for name in ["settings", "variable", "flag"] {
        workshop.write(&format!("{name}-content.toml"), entry(name));
    }
    workshop.write("settings.toml", "target_content = \"settings-content.toml\"\n");
    let dry = ["build", "mock.tdl", "--target", "mock", "--dry-run", "--config", "settings.toml"];
    let package = |variable: bool, flag: bool| {
        let flags: &[&str] = if flag { &["--target-content", "flag-content.toml"] } else { &[] };
        let mut command = workshop.command(&[&dry, flags, &["--format", "json"]].concat());
        if variable {
            command.env("IMAGEFORGE_TARGET_CONTENT", "variable-content.toml");
        }
        let plan: Value = serde_json::from_slice(&command.output().unwrap().stdout).unwrap();
        planned(&plan)["packages"][0]["name"].clone()
    };
    assert_eq!(package(false, false), "settings");
    assert_eq!(package(true, false), "variable");
    assert_eq!(package(true, true), "flag");
}

#[test]
fn a_file_that_is_wrong_is_refused_with_place_and_nearest_name_and_only_builds_need_it() {
    let workshop = Workshop::new();
    let with = |text: &str, arguments: &[&str]| {
        workshop.write("content.toml", text);
        workshop.run(&[arguments, &["--target-content", "content.toml"]].concat())
    };
    let build = ["build", "mock.tdl", "--target", "mock"];
    let ran = with("[[include]]\ntarget = 'mock'\npakages = []\n", &build);
    ran.refused(3).says("line 3: include[1].pakages: ").says("did you mean `packages`?");
    with("[[include]]\narch = 'x86_64'\n", &build).refused(3).says("`arch` without `target`");
    with("[[include]]\nfiles = [{ name = 'etc', content = '' }]", &build)
        .refused(3)
        .says("include[1].files[1].name: must be an absolute path");
    with("<template_includes>\n<include>", &build).refused(3).says("line 2");
    with("no toml", &["images", "list"]).done();
    with("no toml", &["doctor"]).ended(70).prints("target-content");
    with("[[include]]\ntarget = 'mock'\n", &["doctor"]).done().prints("can be used");
    workshop.run(&[&build[..], &["--target-content", "nowhere"]].concat()).refused(3);
    assert!(workshop.images().is_empty());
}

#[test]
fn a_daemon_has_a_file_of_its_own_and_reads_it_again_on_a_hang_up() {
    let workshop = Workshop::new();
    workshop.write("content.toml", "[[include]]\npackages = ['first']\n");
    workshop.write("clients.toml", "[[include]]\npackages = ['of a client']\n");
    let daemon = Daemon::start(&workshop, "");
    let template = fs_err::read_to_string(workshop.path("mock.tdl")).unwrap();
    let request = json!({ "template": template, "targets": ["mock"] });
    let content = || planned(&daemon.post("/v1/builds?dry_run=true", &request).json());
    assert_eq!(content()["from"], json!({ "plugin": "mock-cloud" }));
    let package = || content()["packages"][0]["name"].clone();
    let read_again = |package_is: &str| {
        kill(daemon.id(), Signal::HUP);
        wait_for("the settings", || (package() == package_is).then_some(()));
    };
    workshop.write("serve.toml", "target_content = \"content.toml\"\n");
    read_again("first");
    let dry = ["build", "mock.tdl", "--target", "mock", "--dry-run"];
    let at_server = daemon.command(&[&dry[..], &["--target-content", "clients.toml"]].concat());
    let mut at_server = at_server;
    let plan = String::from_utf8(at_server.output().unwrap().stdout).unwrap();
    assert!(plan.contains("first") && !plan.contains("of a client"), "{plan}");

    // A file that is wrong changes nothing, nor does one that nobody told the daemon of.
    workshop.write("content.toml", "[[include]]\npackages = ['second']\n");
    assert_eq!(package(), "first");
    workshop.write("content.toml", "[[include]]\nnonsense = 1\n");
    kill(daemon.id(), Signal::HUP);
    daemon.says("nonsense");
    assert_eq!(package(), "first");
    workshop.write("content.toml", "[[include]]\npackages = ['third']\n");
    read_again("third");
}

/// Two entries for a target that nobody serves, after two that may be used.
const STRAY: &str = "[[include]]
packages = ['every']
[[include]]
target = 'mock'
[[include]]
target = 'mockstak'
[[include]]
target = 'mockstak'
os = 'MockOS_B'
";

#[test]
fn an_entry_for_a_target_that_no_plugin_serves_is_told_with_the_nearest_name_and_refuses_nothing() {
    let workshop = Workshop::new();
    workshop.write("content.toml", STRAY);
    let with = |arguments: &[&str]| {
        workshop.run(&[arguments, &["--target-content", "content.toml"]].concat()).done()
    };
    let build = ["build", "mock.tdl", "--target", "mock"];
    for ran in [with(&[&build[..], &["--dry-run"]].concat()), with(&build)] {
        let ran = ran.says("content.toml` line 5: no plugin serves `mockstak`");
        let ran = ran.says("did you mean `mockstack`");
        assert_eq!(ran.stderr.matches("no plugin serves").count(), 1, "{}", ran.stderr);
    }
    let doctor = with(&["doctor"]).prints("line 5: no plugin serves `mockstak`");
    doctor.prints("did you mean `mockstack`");
    // What is as it should be is not talked about.
    workshop.write("content.toml", STRAY.replace("mockstak", "mockstack"));
    assert!(!with(&build).stderr.contains("content.toml"));
}

#[test]
fn a_daemon_tells_of_such_entries_whenever_it_reads_the_file() {
    let workshop = Workshop::new();
    let file = workshop.write("content.toml", STRAY);
    let variable = [("IMAGEFORGE_TARGET_CONTENT", file.to_str().unwrap())];
    let daemon = Daemon::start_with(&workshop, "", &variable);
    assert!(daemon.says("no plugin serves `mockstak`").contains("`mockstack`"));
    workshop.write("content.toml", "[[include]]\ntarget = 'mokc'\n");
    kill(daemon.id(), Signal::HUP);
    assert!(daemon.says("no plugin serves `mokc`").contains("`mock`"));
}

#[test]
fn a_plugin_that_was_built_before_it_could_be_asked_asks_for_nothing() {
    let workshop = Workshop::new();
    workshop.library("fixture", &fs_err::read(build_fixture("older")).unwrap());
    let info = r#"{"type": "cloud", "targets": ["aged"], "delegate": "cloud"}"#;
    workshop.info("fixture", info);
    let plan = workshop.json(&["build", "mock.tdl", "--target", "aged", "--dry-run"]);
    assert_eq!(planned(&plan)["packages"], json!([]));
    let images = workshop.build(&["--target", "aged"]);
    assert_eq!(texts(&images, "status"), ["COMPLETE"; 2]);
}

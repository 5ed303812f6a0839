//! Both syntaxes of templates, as a user meets them.

use std::io::Write as _;
use std::process::Stdio;

use crate::support::{Ran, Workshop};

const TOML: &str = r#"
name = "mock"

[os]
name = "MockOS_B"
version = "1"
arch = "x86_64"
url = "http://mirror.example/"
"#;

fn check(workshop: &Workshop, name: &str, text: &str) -> Ran {
    workshop.write(name, text);
    workshop.run(&["templates", "check", name])
}

#[test]
fn a_valid_template_is_answered_with_its_plan() {
    let workshop = Workshop::new();
    let ran = workshop.run(&["templates", "check", "mock.tdl", "--target", "mock"]);
    ran.done().prints("mock: MockOS_B 1 x86_64").prints("mock with plugin `mock-cloud`");
    assert_eq!(workshop.images(), Vec::<serde_json::Value>::new());
}

#[test]
fn the_same_template_in_toml_is_the_same_image() {
    let workshop = Workshop::new();
    workshop.write("mock.toml", TOML);
    let tdl = workshop.build(&[]);
    let toml = workshop.json(&["build", "mock.toml"]);
    assert_eq!(toml["reused"][0], tdl[0]["id"]);
}

#[test]
fn a_template_may_come_from_standard_input() {
    let workshop = Workshop::new();
    let mut command = workshop.command(&["build", "-", "--format", "json"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(TOML.as_bytes()).unwrap();
    let ran = Ran::from(child.wait_with_output().unwrap()).done();
    assert_eq!(ran.document()["images"][0]["name"], "mock");
}

#[test]
fn every_problem_of_a_template_is_listed_with_its_line() {
    let workshop = Workshop::new();
    let ran = check(
        &workshop,
        "bad.tdl",
        "<template>\n  <os>\n    <name>MockOS_B</name>\n    <arch>x86_64</arch>\n    \
         <colour>red</colour>\n  </os>\n</template>\n",
    );
    let text = ran.ended(3).stderr;
    assert!(text.contains("line 5"), "{text}");
    assert!(text.contains("colour"), "{text}");
    assert!(text.contains("version"), "{text}");
    assert!(text.contains("install"), "{text}");
}

#[test]
fn files_may_be_included_from_beside_the_template_and_nowhere_else() {
    let workshop = Workshop::new();
    let including = |file: &str| {
        let text = fs_err::read_to_string(workshop.path("mock.tdl")).unwrap();
        let files = format!(
            "<files><file name='/etc/motd'><xi:include \
             xmlns:xi='http://www.w3.org/2001/XInclude' href='{file}' parse='text'/>\
             </file></files></template>"
        );
        text.replace("</template>", &files)
    };
    workshop.write("motd", "ahoy\n");
    let inside = check(&workshop, "inside.tdl", &including("motd"));
    inside.done().prints("mock-os");
    let outside = check(&workshop, "outside.tdl", &including("/etc/hostname"));
    assert_eq!(outside.code, Some(3), "{outside:?}");
}

#[test]
fn what_a_plugin_has_against_a_template_is_told_before_building() {
    let workshop = Workshop::new();
    let ran = workshop.run(&["templates", "check", "mock.tdl", "--parameter", "size_bytes=-4"]);
    ran.refused(3).says("parameter `size_bytes`");
    let ran = workshop.run(&["templates", "check", "mock.tdl", "--target", "moc"]);
    ran.refused(4).says("did you mean `mock`");
}

//! The command line as a new user meets it.

use std::fmt::Write as _;

use crate::support::Workshop;

/// A change of any command's help is a change that somebody reviews.
#[test]
fn the_whole_help_is_as_reviewed() {
    let workshop = Workshop::without_plugins();
    let mut whole = String::new();
    collect(&workshop, &[], &mut whole);
    insta::assert_snapshot!("help", whole);
}

fn collect(workshop: &Workshop, path: &[&str], whole: &mut String) {
    let help = workshop.run(&[path, &["--help"]].concat()).done().stdout;
    let name = [&["imageforge"], path].concat().join(" ");
    writeln!(whole, "===== {name} --help\n{help}").unwrap();
    for command in commands(&help) {
        collect(workshop, &[path, &[command]].concat(), whole);
    }
}

/// The names in the section `Commands:`.
fn commands(help: &str) -> Vec<&str> {
    help.lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .take_while(|line| !line.is_empty())
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .collect()
}

#[test]
fn every_command_needs_neither_plugins_nor_data_for_its_help() {
    let workshop = Workshop::without_plugins();
    let plugins_d = workshop.path("gone").display().to_string();
    workshop.run(&["--plugins-d", &plugins_d, "images", "boot", "--help"]).done();
    assert!(!workshop.data_dir().exists());
}

#[test]
fn a_wrong_command_line_is_usage_and_ends_with_2() {
    let workshop = Workshop::new();
    for wrong in [
        &["bild", "mock.tdl"][..],
        &["build"],
        &["build", "mock.tdl", "--provider", "x"],
        &["build", "mock.tdl", "--target", "mock", "--credentials", "x"],
        &["target-image", "mock"],
        &["images", "delete", "x", "--cascade", "--force"],
        &["images", "list", "--tier", "roof"],
        &["images", "list", "--status", "READY"],
        &["images", "list", "--label", "key"],
        &["build", "mock.tdl", "-q", "-v"],
        &["build", "mock.tdl", "--format", "yaml"],
        &["build", "mock.tdl", "--target", "mock", "--target", "mock"],
        &["build", "mock.tdl", "--parameter", "delay_ms"],
    ] {
        workshop.run(wrong).ended(2).says("error: ");
    }
    assert_eq!(workshop.images(), Vec::<serde_json::Value>::new());
}

#[test]
fn a_misspelt_command_is_answered_with_the_nearest_one() {
    Workshop::new().run(&["bild"]).ended(2).says("'build'");
}

#[test]
fn completions_are_made_for_every_common_shell() {
    let workshop = Workshop::without_plugins();
    for shell in ["bash", "zsh", "fish"] {
        let script = workshop.run(&["completions", shell]).done().stdout;
        assert!(script.contains("provider-image"), "{shell}: {script}");
        assert!(script.ends_with('\n'));
    }
}

#[test]
fn version_is_that_of_the_workspace() {
    let ran = Workshop::new().run(&["--version"]).done();
    assert_eq!(ran.stdout, concat!("imageforge ", env!("CARGO_PKG_VERSION"), "\n"));
}

//! Commands that look say the same whether they ask the data directory or the daemon that serves it.

use super::said::said;
use crate::support::{Daemon, Workshop};

/// A workshop with images in several states.
fn furnished() -> Workshop {
    let workshop = Workshop::new();
    drop(workshop.build(&["--target", "mock", "--name", "first", "--label", "team=a"]));
    drop(workshop.build(&["--target", "mock", "--label", "team=b"]));
    workshop
        .run(&["build", "mock.tdl", "--parameter", "fail_with=failed", "--name", "broken"])
        .ended(1);
    workshop
}

#[test]
fn what_looks_says_the_same_at_a_server_as_here() {
    let workshop = furnished();
    let daemon = Daemon::start(&workshop, "");
    let ids: Vec<String> =
        workshop.images().iter().map(|image| image["id"].as_str().unwrap().to_owned()).collect();
    let newest = ids[0].as_str();
    let commands: &[&[&str]] = &[
        &["images", "list"],
        &["images", "list", "--tier", "target"],
        &["images", "list", "--status", "FAILED"],
        &["images", "list", "--target", "mock", "--limit", "1"],
        &["images", "list", "--label", "team=a"],
        &["images", "list", "--tier", "attic"],
        &["images", "list", "--status", "HAPPY"],
        &["images", "show", "first"],
        &["images", "show", newest],
        &["images", "show", &newest[..6]],
        &["images", "show", "mock"],
        &["images", "show", "no such/image?"],
        &["images", "log", "broken"],
        &["images", "log", "broken", "--follow"],
        &["images", "log", "nobody"],
        &["images", "cancel", newest],
        &["images", "cancel", "nobody", "nothing"],
        &["images", "delete", "nobody"],
        &["targets"],
        &["targets", "mock"],
        &["targets", "mockos_b"],
        &["targets", "mokc"],
        &["plugins", "list"],
        &["plugins", "show", "mock-os"],
        &["plugins", "show", "mock-so"],
        &["templates", "check", "nowhere.tdl"],
        &["build", "mock.tdl", "--target", "nowhere", "--parameter", "delay_ms=soon", "--dry-run"],
        &["build", "mock.tdl", "--target", "nowhere"],
        &["build", "mock.tdl", "--parameters", "mock.tdl"],
        &["target-image", "mock", "--id", "broken"],
        &["target-image", "mock", "--id", "nobody"],
        &["base-image", "nowhere.tdl"],
    ];
    for arguments in commands {
        for format in ["text", "json"] {
            let arguments = [*arguments, &["--format", format]].concat();
            let here = said(&workshop.run(&arguments));
            assert_eq!(said(&daemon.run(&arguments)), here, "{arguments:?}");
        }
    }
}

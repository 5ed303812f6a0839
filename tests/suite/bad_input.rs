//! Bad input: one clear error with a hint, the documented exit code, nothing half-made.

use std::fmt::Write as _;

use serde_json::Value;

use crate::support::{Ran, Workshop};

/// Runs a build that must be refused, and looks that it left no record.
#[track_caller]
fn refused(workshop: &Workshop, arguments: &[&str], code: i32) -> Ran {
    let ran = workshop.run(arguments).refused(code);
    assert_eq!(workshop.images(), Vec::<Value>::new());
    workshop.assert_tidy();
    ran
}

#[test]
fn a_missing_template_ends_with_5() {
    let workshop = Workshop::new();
    refused(&workshop, &["build", "gone.tdl"], 5).says("`gone.tdl`");
}

#[test]
fn a_template_that_is_a_folder_or_empty_or_huge_ends_with_3() {
    let workshop = Workshop::new();
    refused(&workshop, &["build", "lib"], 3).says("`lib`");
    workshop.write("empty.tdl", "");
    refused(&workshop, &["build", "empty.tdl"], 3).says("empty");
    let huge = fs_err::File::create(workshop.path("huge.tdl")).unwrap();
    huge.set_len(8 << 30).unwrap();
    refused(&workshop, &["build", "huge.tdl"], 3).says("huge.tdl");
}

#[test]
fn an_xml_bomb_is_refused_and_not_expanded() {
    let workshop = Workshop::new();
    let mut bomb = String::from("<!DOCTYPE t [<!ENTITY a0 \"ha\">");
    for level in 1..40 {
        let below = level - 1;
        write!(bomb, "<!ENTITY a{level} \"&a{below};&a{below};&a{below};\">").unwrap();
    }
    bomb += "]><template><name>&a39;</name></template>";
    workshop.write("bomb.tdl", bomb);
    refused(&workshop, &["build", "bomb.tdl"], 3).says("entities are never expanded");
}

#[test]
fn a_deep_template_is_refused() {
    let workshop = Workshop::new();
    let deep = format!("{}{}", "<a>".repeat(100_000), "</a>".repeat(100_000));
    workshop.write("deep.tdl", deep);
    let ran = workshop.run(&["build", "deep.tdl"]).ended(3);
    assert!(ran.stderr.len() < 10_000, "{} bytes of errors", ran.stderr.len());
}

#[test]
fn an_external_entity_is_not_read() {
    let workshop = Workshop::new();
    workshop.write("secret", "hunter2-and-more");
    workshop.write(
        "xxe.tdl",
        "<!DOCTYPE t [<!ENTITY x SYSTEM 'secret'>]><template><name>&x;</name></template>",
    );
    refused(&workshop, &["build", "xxe.tdl"], 3).never_says("hunter2");
}

#[test]
fn broken_xml_and_broken_toml_end_with_3_and_name_the_line() {
    let workshop = Workshop::new();
    workshop.write("broken.tdl", "<template>\n<name>x</nome>\n</template>");
    refused(&workshop, &["build", "broken.tdl"], 3).says("line 2");
    workshop.write("broken.toml", "name = \"x\"\n[os\n");
    refused(&workshop, &["build", "broken.toml"], 3).says("line 2");
    workshop.write("binary.toml", [0xff, 0xfe, 0, 0]);
    refused(&workshop, &["build", "binary.toml"], 3).says("line 1");
}

#[test]
fn an_unknown_operating_system_ends_with_4_and_names_the_nearest() {
    let workshop = Workshop::new();
    workshop.template_for("other.tdl", "MockOS_C");
    refused(&workshop, &["build", "other.tdl"], 4)
        .says("no plugin serves `MockOS_C 1 x86_64`")
        .says("MockOS_B");
}

#[test]
fn an_unknown_target_ends_with_4_and_names_the_nearest() {
    let workshop = Workshop::new();
    refused(&workshop, &["build", "mock.tdl", "--target", "mockstak"], 4)
        .says("no plugin serves `mockstak`")
        .says("`mockstack`");
}

#[test]
fn a_parameter_of_the_wrong_type_ends_with_3() {
    let workshop = Workshop::new();
    let build = ["build", "mock.tdl", "--parameter", "delay_ms=soon"];
    refused(&workshop, &build, 3).says("`delay_ms`: `soon` is not of type `integer`");
    workshop.write("p.json", r#"{"log_lines": "many"}"#);
    let build = ["build", "mock.tdl", "--parameters", "p.json"];
    refused(&workshop, &build, 3).says("`log_lines`");
    let build = ["build", "mock.tdl", "--parameter", "fail_with=sloth"];
    refused(&workshop, &build, 3).says("`fail_with`");
    let build = ["build", "mock.tdl", "--parameter", "delay_ms=-1"];
    refused(&workshop, &build, 3).says("`delay_ms`");
}

#[test]
fn an_unknown_parameter_ends_with_3_and_names_the_nearest() {
    let workshop = Workshop::new();
    let build = ["build", "mock.tdl", "--parameter", "log_line=1"];
    refused(&workshop, &build, 3).says("`log_line`").says("`log_lines`");
}

#[test]
fn files_of_parameters_that_do_not_read_are_named() {
    let workshop = Workshop::new();
    let build = ["build", "mock.tdl", "--parameters", "gone.json"];
    refused(&workshop, &build, 5).says("gone.json");
    workshop.write("list.json", "[1]");
    let build = ["build", "mock.tdl", "--parameters", "list.json"];
    refused(&workshop, &build, 3).says("list.json");
    let build = ["build", "mock.tdl", "--file-parameter", "skip=gone"];
    refused(&workshop, &build, 5).says("gone");
}

#[test]
fn a_clock_that_is_no_number_ends_with_3() {
    let workshop = Workshop::new();
    for garbage in ["yesterday", "", "-1", "99999999999999999999"] {
        let mut command = workshop.command(&["build", "mock.tdl"]);
        let ran = Ran::from(command.env("SOURCE_DATE_EPOCH", garbage).output().unwrap());
        ran.refused(3).says("error: `SOURCE_DATE_EPOCH`");
    }
    assert_eq!(workshop.images(), Vec::<Value>::new());
}

#[test]
fn a_settings_file_that_does_not_read_ends_with_3() {
    let workshop = Workshop::new();
    workshop.write("typo.toml", "data_dri = \"/x\"\n");
    refused(&workshop, &["build", "mock.tdl", "--config", "typo.toml"], 3).says("data_dir");
    let ran = workshop.run(&["targets", "--config", "gone.toml"]);
    ran.ended(3).says("gone.toml");
}

#[test]
fn a_data_directory_that_is_a_file_is_refused() {
    let workshop = Workshop::new();
    workshop.write("file", "precious");
    let ran = workshop.run(&["build", "mock.tdl", "--data-dir", "file"]);
    ran.refused(70).says("`file`").says("--data-dir");
    let precious = fs_err::read(workshop.path("file")).unwrap();
    assert_eq!(precious, b"precious");
}

#[test]
fn a_read_only_data_directory_ends_with_70() {
    let workshop = Workshop::new();
    let ran = workshop.run_script(
        "mkdir ro; mount -t tmpfs -o ro none ro; exec $IMAGEFORGE --data-dir ro build mock.tdl",
    );
    ran.refused(70).says("is read-only").says("--data-dir");
    workshop.assert_quiet();
}

#[test]
fn a_data_directory_that_became_read_only_ends_with_70_and_stays_as_it_is() {
    let workshop = Workshop::new();
    workshop.build(&[]);
    let ran = workshop.run_script(
        "mount --bind data data; mount -o remount,bind,ro data; \
         exec $IMAGEFORGE build mock.tdl --target mock",
    );
    ran.refused(70).says("is read-only");
    assert_eq!(workshop.images().len(), 1);
    workshop.assert_tidy();
}

#[test]
fn a_data_directory_of_somebody_else_ends_with_70() {
    let workshop = Workshop::new();
    workshop.build(&[]);
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let open = "chmod 755 . data; exec setpriv --reuid 65534 --regid 65534 --clear-groups ";
    let ran = workshop.run_script(&format!("{open} $IMAGEFORGE build mock.tdl"));
    ran.refused(70).says("no permission");
    workshop.assert_tidy();
}

#[test]
fn an_unreadable_template_ends_with_3() {
    let workshop = Workshop::new();
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let ran = workshop.run_script(
        "chmod 755 .; chmod 600 mock.tdl; exec setpriv --reuid 65534 --regid 65534 \
         --clear-groups $IMAGEFORGE --data-dir /nowhere build mock.tdl",
    );
    ran.refused(3).says("mock.tdl");
}

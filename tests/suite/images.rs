//! Images once they are there: found, shown, checked, taken out and in, deleted.

use serde_json::Value;

use crate::support::{Workshop, texts};

fn id(image: &Value) -> &str {
    image["id"].as_str().unwrap()
}

#[test]
fn an_image_is_found_by_identifier_unique_beginning_and_name() {
    let workshop = Workshop::new();
    let image = workshop.build(&["--name", "harbour"]).remove(0);
    for reference in [id(&image), &id(&image)[..8], "harbour"] {
        assert_eq!(workshop.json(&["images", "show", reference]), image);
    }
    workshop
        .run(&["images", "show", "harbour"])
        .done()
        .prints("COMPLETE")
        .prints("mock-os 0.1.0")
        .prints(image["sha256"].as_str().unwrap());
}

#[test]
fn a_reference_that_fits_none_or_several_is_refused() {
    let workshop = Workshop::new();
    let images = workshop.build(&["--target", "mock"]);
    for command in ["show", "log", "delete", "cancel", "check", "boot"] {
        let ran = workshop.run(&["images", command, "nobody"]);
        ran.refused(5).says("there is no image `nobody`");
    }
    let ran = workshop.run(&["images", "delete", "mock"]).ended(3);
    for image in &images {
        assert!(ran.stderr.contains(id(image)), "{ran:?}");
    }
    assert_eq!(workshop.images().len(), 2);
}

#[test]
fn lists_are_newest_first_and_filtered() {
    let workshop = Workshop::new();
    workshop.build(&["--label", "for=tests", "--label", "team=a"]);
    workshop.build(&["--target", "mock", "--label", "team=b"]);
    let failing = ["build", "mock.tdl", "--parameter", "fail_with=failed"];
    workshop.run(&failing).ended(1);

    let list = |filter: &[&str]| {
        let images = workshop.json(&[&["images", "list"], filter].concat());
        texts(images.as_array().unwrap(), "tier")
    };
    assert_eq!(list(&[]), ["base", "target", "base"]);
    assert_eq!(list(&["--tier", "target"]), ["target"]);
    assert_eq!(list(&["--status", "failed"]), ["base"]);
    assert_eq!(list(&["--target", "mock"]), ["target"]);
    assert_eq!(list(&["--label", "for=tests"]), ["base"]);
    assert_eq!(list(&["--label", "for=tests", "--label", "team=b"]), [""; 0]);
    assert_eq!(list(&["--limit", "2"]), ["base", "target"]);
    workshop.run(&["images", "list"]).done().prints("ID ").prints("FAILED");
}

#[test]
fn the_log_tells_what_happened_in_order() {
    let workshop = Workshop::new();
    workshop.build(&["--name", "told", "--parameter", "log_lines=2"]);
    let log = workshop.run(&["images", "log", "told"]).done().stdout;
    let mut rest = log.as_str();
    for step in [
        "== NEW",
        "== PENDING",
        "== BUILDING",
        ">> mock-os: builder_should_create_image",
        ">> mock-os: builder_will_create_image",
        ">> mock-os: create_base_image",
        "-- pretending to install",
        "a line of the build log line=1",
        "a line of the build log line=2",
        "-- writing the image",
        ">> mock-os: builder_did_create_image",
        "-- artifact mock-os.txt",
        "== COMPLETE",
    ] {
        let at = rest.find(step).unwrap_or_else(|| panic!("`{step}` in order in {log}"));
        rest = &rest[at + step.len()..];
    }
    let events = workshop.json(&["images", "log", "told"]);
    let sequence: Vec<u64> = events
        .as_array()
        .unwrap()
        .iter()
        .map(|event| event["sequence"].as_u64().unwrap())
        .collect();
    assert!(sequence.is_sorted_by(|a, b| a < b), "{sequence:?}");
}

#[test]
fn the_calls_of_both_tiers_come_in_the_documented_order() {
    let workshop = Workshop::new();
    let images = workshop.build(&["--target", "mock", "--parameter", "add_file=x"]);
    let calls = |image: &Value| -> Vec<String> {
        let log = workshop.run(&["images", "log", id(image)]).done().stdout;
        log.lines()
            .filter_map(|line| Some(line.split_once(">> ")?.1.to_owned()))
            .filter(|call| !call.ends_with(": open") && !call.ends_with(": drop"))
            .collect()
    };
    let base = [
        "mock-os: builder_should_create_image",
        "mock-os: builder_will_create_image",
        "mock-os: create_base_image",
        "mock-os: builder_did_create_image",
    ];
    assert_eq!(calls(&images[0]), base);
    let target = [
        "mock-cloud: builder_should_create_image",
        "mock-cloud: builder_will_create_image",
        "mock-os: create_target_image",
        "mock-cloud: finish_target_image",
        "mock-cloud: builder_did_create_image",
    ];
    assert_eq!(calls(&images[1]), target);
}

#[test]
fn a_changed_byte_is_found_by_check() {
    let workshop = Workshop::new();
    let images = workshop.build(&["--target", "mock"]);
    workshop.run(&["images", "check"]).done().prints("intact");
    let body = images[0]["path"].as_str().unwrap();
    let mut bytes = fs_err::read(body).unwrap();
    bytes[3] ^= 1;
    // Bodies are read-only, so that nobody changes one by accident.
    let writable = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    fs_err::set_permissions(body, writable).unwrap();
    fs_err::write(body, &bytes).unwrap();
    let ran = workshop.run(&["images", "check"]).ended(1);
    ran.prints("damaged").prints("intact").prints(body);
    workshop.run(&["images", "check", id(&images[1])]).done();

    let artifact = images[0]["artifacts"][0]["path"].as_str().unwrap();
    fs_err::remove_file(artifact).unwrap();
    let report = workshop.run(&["images", "check", id(&images[0]), "--format", "json"]);
    let report = report.ended(1).document();
    assert_eq!(report[0]["damage"].as_array().unwrap().len(), 2, "{report}");
}

#[test]
fn an_exported_image_is_the_same_bytes_and_replaces_nothing_unasked() {
    let workshop = Workshop::new();
    let image = workshop.build(&["--parameter", "size_bytes=100000"]).remove(0);
    let export = ["images", "export", id(&image), "out.raw"];
    workshop.run(&export).done().prints("out.raw");
    let body = fs_err::read(image["path"].as_str().unwrap()).unwrap();
    assert_eq!(fs_err::read(workshop.path("out.raw")).unwrap(), body);

    workshop.write("out.raw", "precious");
    workshop.run(&export).refused(6).says("exists already");
    assert_eq!(fs_err::read(workshop.path("out.raw")).unwrap(), b"precious");
    workshop.run(&[&export[..], &["--force"]].concat()).done();
    assert_eq!(fs_err::read(workshop.path("out.raw")).unwrap(), body);
    workshop.assert_tidy();
}

#[test]
fn an_imported_disk_is_a_base_image() {
    let workshop = Workshop::new();
    let disk: Vec<u8> = (0..70_000_u32).flat_map(u32::to_le_bytes).collect();
    workshop.write("disk.raw", &disk);
    let import = ["images", "import", "disk.raw", "--template", "mock.tdl", "--name", "taken"];
    let image = workshop.json(&import);
    assert_eq!(image["status"], "COMPLETE");
    assert_eq!(image["tier"], "base");
    assert_eq!(fs_err::read(image["path"].as_str().unwrap()).unwrap(), disk);
    assert_eq!(fs_err::read(workshop.path("disk.raw")).unwrap(), disk);

    let made = workshop.json(&["target-image", "mock", "--id", "taken"]);
    let target = &made["images"][1];
    assert_eq!(target["sha256"], image["sha256"]);
    workshop.assert_tidy();
}

#[test]
fn what_is_no_disk_or_not_there_is_not_imported() {
    let workshop = Workshop::new();
    let import = |path: &str, template: &str| {
        workshop.run(&["images", "import", path, "--template", template])
    };
    import("gone.raw", "mock.tdl").ended(5).says("gone.raw");
    workshop.write("disk.raw", [1; 512]);
    import("disk.raw", "gone.tdl").refused(5).says("gone.tdl");
    let ran = import("lib", "mock.tdl");
    assert!(matches!(ran.code, Some(3)), "a folder is no disk: {ran:?}");
    assert_eq!(workshop.images(), Vec::<Value>::new());
    workshop.assert_tidy();
}

#[test]
fn an_image_that_others_were_made_from_is_kept_unless_told_otherwise() {
    let workshop = Workshop::new();
    let images = workshop.build(&["--target", "mock"]);
    let ran = workshop.run(&["images", "delete", id(&images[0])]);
    ran.refused(6).says(id(&images[1])).says("--cascade");
    workshop.run(&["images", "delete", id(&images[0]), "--force"]).done();
    let left = workshop.images();
    assert_eq!(texts(&left, "tier"), ["target"]);
    workshop.run(&["images", "check"]).done().prints("intact");
    workshop.run(&["images", "delete", id(&images[1])]).done();
    assert_eq!(workshop.images(), Vec::<Value>::new());
    workshop.assert_tidy();
}

#[test]
fn several_images_are_deleted_at_once_and_each_failure_is_told() {
    let workshop = Workshop::new();
    let one = workshop.build(&[]).remove(0);
    let two = workshop.build(&["--rebuild"]).remove(0);
    let ran = workshop.run(&["images", "delete", id(&one), "nobody", id(&two)]);
    ran.ended(5).says("nobody");
    assert_eq!(workshop.images(), Vec::<Value>::new());
    workshop.assert_tidy();
}

#[test]
fn every_command_answers_with_one_json_document_and_the_same_exit_code() {
    let workshop = Workshop::new();
    workshop.build(&["--name", "one"]);
    for (command, code) in [
        (&["build", "mock.tdl", "--target", "mock"][..], 0),
        (&["build", "mock.tdl", "--parameter", "fail_with=failed"], 1),
        (&["build", "gone.tdl"], 5),
        (&["build", "mock.tdl", "--target", "nix"], 4),
        (&["build", "mock.tdl", "--dry-run"], 0),
        (&["images", "list"], 0),
        (&["images", "show", "one"], 0),
        (&["images", "show", "nobody"], 5),
        (&["images", "log", "one"], 0),
        (&["images", "cancel", "one"], 6),
        (&["images", "check"], 0),
        (&["images", "export", "one", "out"], 0),
        (&["images", "import", "out", "--template", "mock.tdl"], 0),
        (&["targets"], 0),
        (&["targets", "nix"], 4),
        (&["plugins", "list"], 0),
        (&["plugins", "show", "nix"], 5),
        (&["templates", "check", "mock.tdl"], 0),
    ] {
        let text = workshop.run(command);
        assert_eq!(text.code, Some(code), "{command:?}: {text:?}");
        if command.get(1) == Some(&"export") {
            fs_err::remove_file(workshop.path("out")).unwrap();
        }
        let ran = workshop.run(&[command, &["--format", "json"]].concat());
        let document = ran.ended(code).document();
        if code > 2 {
            let error = &document["errors"][0];
            assert_eq!(error["exit_code"], code, "{document}");
            assert!(!error["hints"].as_array().unwrap().is_empty() || code == 6, "{document}");
        }
    }
}

//! Images at a provider; the teaching cloud's provider is a directory.

use serde_json::{Value, json};

use crate::support::{Workshop, texts, wait_for};

const CREDENTIALS: &str = r#"@{"username": "ada", "password": "hunter2-and-more"}"#;
const WRONG: &str = r#"@{"username": "ada", "password": "wrong"}"#;

fn workshop() -> Workshop {
    let workshop = Workshop::new();
    fs_err::create_dir(workshop.path("cloud")).unwrap();
    workshop
}

fn at_provider(workshop: &Workshop) -> Vec<String> {
    fs_err::read_dir(workshop.path("cloud"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

fn push(workshop: &Workshop) -> Vec<Value> {
    let to = ["--target", "mock", "--provider", "cloud", "--credentials", CREDENTIALS];
    workshop.build(&to)
}

#[test]
fn a_pushed_image_is_at_the_provider_under_the_name_in_its_record() {
    let workshop = workshop();
    let images = push(&workshop);
    assert_eq!(texts(&images, "tier"), ["base", "target", "provider"]);
    let provider = &images[2];
    assert_eq!(provider["status"], "COMPLETE");
    assert_eq!(provider["target_image_id"], images[1]["id"]);
    assert_eq!(provider["provider_account_identifier"], "ada");
    let name = provider["identifier_on_provider"].as_str().unwrap();
    assert_eq!(at_provider(&workshop), [name]);
    let body = |path: &std::path::Path| fs_err::read(path).unwrap();
    assert_eq!(
        body(&workshop.path("cloud").join(name)),
        body(images[1]["path"].as_str().unwrap().as_ref())
    );
    workshop.assert_tidy();
}

/// A build whose cloud does `how` (`how=…`) at the moment `when` (`when=…`).
fn misbehaving<'a>(when: &'a str, how: &'a str) -> Vec<&'a str> {
    let to = ["build", "mock.tdl", "--target", "misbehaving", "--provider", "somewhere"];
    [&to[..], &["--parameter", when, "--parameter", how]].concat()
}

#[test]
fn an_image_that_is_at_its_provider_when_a_cancel_is_heard_is_complete() {
    let workshop = Workshop::new();
    workshop.link_misbehaving("clouds");
    let late = misbehaving("when=push_image_to_provider", "how=wait for a cancel");
    let build = workshop.spawn(&late);
    let pushed = wait_for("the push", || {
        let pushed = workshop.images_of("provider").pop()?;
        (pushed["status_detail"]["activity"] == "about to misbehave").then_some(pushed)
    });
    let id = pushed["id"].as_str().unwrap();
    workshop.run(&["images", "cancel", id]).done();
    build.wait().done();
    let record = workshop.json(&["images", "show", id]);
    assert_eq!(record["status"], "COMPLETE", "{record:#}");
    assert_eq!(record["identifier_on_provider"], "kept");
    workshop.assert_tidy();
}

#[test]
fn an_image_whose_plugin_crashes_once_it_is_at_its_provider_can_be_deleted_there() {
    let workshop = Workshop::new();
    workshop.link_misbehaving("clouds");
    let crashing = misbehaving("when=provider builder_did_create_image", "how=segfault");
    workshop.run(&crashing).ended(1).says("SIGSEGV");
    let record = workshop.images_of("provider").pop().unwrap();
    assert_eq!(
        (&record["status"], &record["identifier_on_provider"]),
        (&json!("FAILED"), &json!("kept"))
    );
    let id = record["id"].as_str().unwrap();
    let delete = ["images", "delete", id, "--credentials"];
    workshop.run(&[&delete[..], &["do: panic"]].concat()).ended(1).says("delete_from_provider");
    workshop.run(&[&delete[..], &["do: nothing"]].concat()).done();
    assert!(workshop.images_of("provider").is_empty());
    workshop.assert_tidy();
}

#[test]
fn refused_credentials_end_with_7_before_anything_is_built() {
    let workshop = workshop();
    let ran = workshop.run(&[
        "build",
        "mock.tdl",
        "--target",
        "mock",
        "--provider",
        "cloud",
        "--credentials",
        WRONG,
    ]);
    ran.refused(7).says("refuses the password");
    assert_eq!(workshop.images(), Vec::<Value>::new());
    workshop.assert_tidy();
}

#[test]
fn an_unreachable_provider_ends_with_7_before_anything_is_built() {
    let workshop = workshop();
    let to = ["build", "mock.tdl", "--target", "mock", "--provider", "nowhere"];
    workshop.run(&to).refused(7).says("cannot be reached");
    assert_eq!(workshop.images(), Vec::<Value>::new());
}

#[test]
fn credentials_that_do_not_read_end_with_3_and_are_not_repeated() {
    let workshop = workshop();
    let ran = workshop.run(&[
        "provider-image",
        "mock",
        "cloud",
        "@hunter2-and-more",
        "--template",
        "mock.tdl",
    ]);
    ran.refused(3).never_says("hunter2");
}

#[test]
fn a_snapshot_that_a_cloud_cannot_make_is_refused_before_anything_is_made() {
    let workshop = workshop();
    workshop.link("oci");
    let layout = format!("oci:{}", workshop.path("cloud").display());
    let to = ["build", "mock.tdl", "--target", "oci", "--provider", &layout, "--snapshot"];
    workshop.run(&to).refused(3).says("target `oci` cannot make snapshots");
    assert_eq!(workshop.images(), Vec::<Value>::new());
}

#[test]
fn a_snapshot_is_made_at_the_provider() {
    let workshop = workshop();
    let images = workshop.build(&["--target", "mock", "--provider", "cloud", "--snapshot"]);
    let provider = images.iter().find(|image| image["tier"] == "provider").unwrap();
    assert_eq!(provider["status"], "COMPLETE");
    let name = provider["identifier_on_provider"].as_str().unwrap();
    assert!(name.ends_with(".snapshot"));
    assert_eq!(at_provider(&workshop), [name]);
}

#[test]
fn a_skipped_push_leaves_the_target_image() {
    let workshop = workshop();
    let skip = ["--parameter", "skip_provider=later"];
    let to = ["--target", "mock", "--provider", "cloud"];
    let images = workshop.build(&[&to[..], &skip].concat());
    assert_eq!(texts(&images, "status"), ["COMPLETE", "COMPLETE", "SKIPPED"]);
    assert_eq!(images[2]["status_detail"]["error"], "later");
    assert!(at_provider(&workshop).is_empty());
}

#[test]
fn deleting_a_provider_image_deletes_it_at_the_provider_first() {
    let workshop = workshop();
    let images = push(&workshop);
    let id = images[2]["id"].as_str().unwrap();
    let refused = workshop.run(&["images", "delete", id, "--credentials", WRONG]);
    refused.ended(7).says("refuses the password");
    assert_eq!(at_provider(&workshop).len(), 1);
    assert_eq!(workshop.images_of("provider")[0]["status"], "DELETEFAILED");

    workshop.run(&["images", "delete", id, "--credentials", CREDENTIALS]).done();
    assert!(at_provider(&workshop).is_empty());
    assert_eq!(workshop.images_of("provider"), Vec::<Value>::new());
    workshop.assert_tidy();
}

#[test]
fn an_image_whose_cloud_is_gone_for_good_can_be_given_up() {
    let workshop = workshop();
    let images = push(&workshop);
    let id = images[2]["id"].as_str().unwrap();
    workshop.unlink("mock-cloud");
    let refused = workshop.run(&["images", "delete", id, "--credentials", CREDENTIALS]);
    refused.ended(4).says("`mock`").says("--leave-at-provider");
    assert_eq!(workshop.images_of("provider")[0]["status"], "DELETEFAILED");
    workshop.run(&["images", "delete", id, "--leave-at-provider"]).done();
    assert_eq!(workshop.images_of("provider"), Vec::<Value>::new());
    assert_eq!(at_provider(&workshop).len(), 1);
    workshop.assert_tidy();
}

#[test]
fn deleting_at_a_provider_has_the_limits_of_the_settings() {
    let workshop = workshop();
    let images = push(&workshop);
    let id = images[2]["id"].as_str().unwrap();
    // Not even its library can be opened.
    workshop.write("settings.toml", "[limits.plugin.mock-cloud]\nopen_files = 3\n");
    let delete = ["images", "delete", id, "--credentials", CREDENTIALS];
    let ran = workshop.run(&[&["--config", "settings.toml"], &delete[..]].concat());
    ran.ended(1).says("open_files = 3").says("[limits.plugin.mock-cloud]");
    assert_eq!(at_provider(&workshop).len(), 1);
    assert_eq!(workshop.images_of("provider")[0]["status"], "DELETEFAILED");
    workshop.run(&delete).done();
    workshop.assert_tidy();
}

#[test]
fn deleting_a_base_image_with_cascade_takes_all_tiers_along() {
    let workshop = workshop();
    let images = push(&workshop);
    let base = images[0]["id"].as_str().unwrap();
    let refused = workshop.run(&["images", "delete", base]);
    refused.refused(6).says("--cascade").says(images[1]["id"].as_str().unwrap());
    let deleted = workshop.json(&["images", "delete", base, "--cascade"]);
    let ids = json!([images[2]["id"], images[1]["id"], images[0]["id"]]);
    assert_eq!(deleted["deleted"], ids);
    assert!(at_provider(&workshop).is_empty());
    assert_eq!(workshop.images(), Vec::<Value>::new());
    workshop.assert_tidy();
}

#[test]
fn a_provider_needs_exactly_one_target() {
    let workshop = workshop();
    let two = ["build", "mock.tdl", "-t", "mock", "-t", "ecmock", "--provider", "cloud"];
    workshop.run(&two).refused(2).says("provider");
    assert_eq!(workshop.images(), Vec::<Value>::new());
}

#[test]
fn credentials_and_provider_may_be_files() {
    let workshop = workshop();
    workshop.write("who.json", &CREDENTIALS[1..]);
    let directory = workshop.path("cloud").display().to_string();
    workshop.write("where.json", json!({ "directory": directory }).to_string());
    let made = workshop.json(&[
        "provider-image",
        "mock",
        "where.json",
        "who.json",
        "--template",
        "mock.tdl",
    ]);
    let images = made["images"].as_array().unwrap();
    assert_eq!(texts(images, "status"), ["COMPLETE"; 3]);
    assert_eq!(at_provider(&workshop).len(), 1);
}

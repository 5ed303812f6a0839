//! Container images in a real registry, fetched by skopeo, unpacked by umoci, and run.

use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use serde_json::{Value, json};

use crate::support::servers::{FakeTokens, Login, Registry};
use crate::support::{Ran, Workshop};

use super::base::{GREETING, workshop_with_base};
use super::clouds::{Cloud, Delivery, Oci};
use super::secrets::assert_unseen;

/// To a registry, over HTTP or TLS.
fn delivery(scheme: &str, registry: &Registry, more: &Value, credentials: &str) -> Delivery {
    let mut provider =
        json!({ "registry": format!("{scheme}://{}/{}", registry.address(), Oci::REPOSITORY) });
    for (key, value) in more.as_object().unwrap() {
        provider[key] = value.clone();
    }
    Delivery {
        target: "oci",
        provider: format!("@{provider}"),
        credentials: credentials.to_owned(),
    }
}

fn login(password: &str) -> String {
    format!("@{}", json!({ "username": Login::ADA.username, "password": password }))
}

fn run(workshop: &Workshop, program: &str, arguments: &[&str]) -> Ran {
    Ran::from(workshop.environment(program).args(arguments).output().unwrap()).done()
}

/// Fetches an image with skopeo and unpacks it with umoci, the first time; answers what a program in its root prints.
#[track_caller]
pub(super) fn run_inside(workshop: &Workshop, image: &str, program: &[&str]) -> String {
    if !workshop.path("fetched").exists() {
        let copy = ["copy", "--quiet", "--src-tls-verify=false", image, "oci:fetched:it"];
        run(workshop, "skopeo", &[&["--insecure-policy"], &copy[..]].concat());
        run(workshop, "umoci", &["unpack", "--rootless", "--image", "fetched:it", "bundle"]);
    }
    let chroot = ["--map-root-user", "chroot", "bundle/rootfs"];
    run(workshop, "unshare", &[&chroot[..], program].concat()).stdout
}

#[test]
fn an_image_is_pushed_listed_fetched_run_and_deleted() {
    let cloud = Oci::start();
    let (workshop, base) = workshop_with_base(&["oci"], 1);
    let record = cloud.delivery().done(&workshop, &base);
    assert_eq!(cloud.found(), ["latest"]);
    let image = format!("docker://{}/{}", cloud.registry.address(), Oci::REPOSITORY);
    let inspect = ["inspect", "--tls-verify=false", &image];
    let seen: Value = serde_json::from_str(&run(&workshop, "skopeo", &inspect).stdout).unwrap();
    assert_eq!(seen["Os"], "linux");
    assert_eq!(seen["Architecture"], "amd64");
    let identity = record["identifier_on_provider"].as_str().unwrap();
    assert!(identity.contains(seen["Digest"].as_str().unwrap()), "{identity} {seen:#}");
    let greeting =
        run_inside(&workshop, &format!("{image}:latest"), &["/bin/cat", "/etc/greeting"]);
    assert_eq!(greeting, GREETING);

    cloud.delivery().delete(&workshop, &record).done();
    assert_eq!(cloud.found(), Vec::<String>::new());
    let gone = cloud.registry.get(&format!("/v2/{}/manifests/latest", Oci::REPOSITORY));
    assert_eq!(gone.status, 404);
    workshop.assert_tidy();
}

#[test]
fn a_layout_and_a_saved_archive_are_read_by_others_and_deleted() {
    let (workshop, base) = workshop_with_base(&["oci"], 1);
    let places = [("oci", "oci", "there:first"), ("docker", "docker-archive", "there.tar")];
    for (target, transport, name) in places {
        let place = format!("{transport}:{}", workshop.path(name).display());
        let provider = format!("@{place}");
        let to = Delivery { target, provider, credentials: "@".to_owned() };
        let record = to.done(&workshop, &base);
        let greeting = run_inside(&workshop, &place, &["/bin/cat", "/etc/greeting"]);
        assert_eq!(greeting, GREETING);
        for folder in ["fetched", "bundle"] {
            fs_err::remove_dir_all(workshop.path(folder)).unwrap();
        }
        to.delete(&workshop, &record).done();
        let skopeo = workshop.environment("skopeo").args(["inspect", &place]).output().unwrap();
        assert!(!skopeo.status.success(), "{skopeo:?}");
    }
    workshop.assert_tidy();
}

#[test]
fn a_wrong_password_is_refused_before_anything_is_made() {
    let registry = Registry::with_login(Login::ADA);
    let (workshop, base) = workshop_with_base(&["oci"], 1);
    let to = delivery("http", &registry, &json!({}), &login("swordfish-that-nobody-knows"));
    to.run(&workshop, &base).refused(7).never_says("swordfish");
    assert_eq!(workshop.images_of("provider"), Vec::<Value>::new());
    assert_eq!(registry.tags(Oci::REPOSITORY), Vec::<String>::new());
    workshop.assert_tidy();
}

#[test]
fn a_password_lets_in_and_is_nowhere_afterwards() {
    let registry = Registry::with_login(Login::ADA);
    let (workshop, base) = workshop_with_base(&["oci"], 1);
    let to = delivery("http", &registry, &json!({}), &login(Login::ADA.password));
    let (record, push) = to.told(&workshop, &base);
    assert_eq!(registry.tags(Oci::REPOSITORY), ["latest"]);
    let log = ["images", "log", record["id"].as_str().unwrap(), "--format", "json"];
    let ran = [push, workshop.run(&log).done(), to.delete(&workshop, &record).done()];
    assert_unseen(&workshop, &ran, &[Login::ADA.password]);
    assert_eq!(registry.tags(Oci::REPOSITORY), Vec::<String>::new());
    workshop.assert_tidy();
}

#[test]
fn a_token_service_lets_in_who_signs_in_there_and_its_tokens_are_nowhere_afterwards() {
    let tokens = FakeTokens::start();
    let registry = Registry::with_tokens(&tokens);
    let (workshop, base) = workshop_with_base(&["oci"], 1);
    let wrong = delivery("http", &registry, &json!({}), &login("swordfish-that-nobody-knows"));
    wrong.run(&workshop, &base).refused(7);
    assert_eq!(workshop.images_of("provider"), Vec::<Value>::new());
    let to = delivery("http", &registry, &json!({}), &login(Login::ADA.password));
    let (record, push) = to.told(&workshop, &base);
    let log = ["images", "log", record["id"].as_str().unwrap(), "--format", "json"];
    let ran = [push, workshop.run(&log).done(), to.delete(&workshop, &record).done()];
    // What every token begins with: `{"alg":"ES256",`
    assert_unseen(&workshop, &ran, &[Login::ADA.password, "eyJhbGciOiJFUzI1NiIs"]);
    assert!(tokens.asked().iter().any(|asked| asked.contains("push")), "{:?}", tokens.asked());
    workshop.assert_tidy();
}

#[test]
fn only_a_known_authority_is_believed() {
    let registry = Registry::with_tls();
    let (workshop, base) = workshop_with_base(&["oci"], 1);
    let ran = delivery("https", &registry, &json!({}), "@").run(&workshop, &base);
    ran.refused(7).says("certificate").says("ca");
    let authority = workshop.write("authority.pem", registry.authority());
    let known = json!({ "ca": authority });
    delivery("https", &registry, &known, "@").done(&workshop, &base);
    workshop.assert_tidy();
}

/// A folder outside of the workshop with the helper `docker-credential-suite`, and a `PATH` that finds it.
fn helper(script: &str) -> (tempfile::TempDir, OsString) {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("docker-credential-suite");
    fs_err::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs_err::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let path = std::env::var_os("PATH").unwrap();
    let folders = std::iter::once(folder.path().to_owned()).chain(std::env::split_paths(&path));
    (folder, std::env::join_paths(folders.collect::<Vec<_>>()).unwrap())
}

#[test]
fn a_credential_helper_is_asked_and_what_it_answers_is_nowhere_afterwards() {
    let registry = Registry::with_login(Login::ADA);
    let (workshop, base) = workshop_with_base(&["oci"], 1);
    let address = registry.address();
    let (name, password) = (Login::ADA.username, Login::ADA.password);
    let (folder, path) = helper(&format!(
        r#"test "$*" = get && test "$(cat)" = "{address}" || exit 2
        echo asked >> "$(dirname "$0")/asked"
        echo '{{"ServerURL": "{address}", "Username": "{name}", "Secret": "{password}"}}'"#
    ));
    // As docker leaves it where a helper keeps everything.
    let config = json!({ "auths": { &address: {} }, "credsStore": "suite" });
    let to = delivery("http", &registry, &json!({}), &format!("@{config}"));
    let found = |mut command: Command| Ran::from(command.env("PATH", &path).output().unwrap());
    let mut command = to.command(&workshop, &base);
    command.args(["--format", "json", "-v"]);
    let pushed = found(command).done();
    assert_eq!(registry.tags(Oci::REPOSITORY), ["latest"]);
    let record = workshop.images_of("provider").remove(0);
    assert_eq!(record["provider_account_identifier"], name);
    let id = record["id"].as_str().unwrap();
    let log = workshop.run(&["images", "log", id, "--format", "json"]).done();
    let delete = ["images", "delete", id, "--credentials", &to.credentials, "-v"];
    let deleted = found(workshop.command(&delete)).done();
    assert_eq!(registry.tags(Oci::REPOSITORY), Vec::<String>::new());
    // Once before the push, once for it, once for deleting.
    let asked = fs_err::read_to_string(folder.path().join("asked")).unwrap();
    assert_eq!(asked.lines().count(), 3);
    assert_unseen(&workshop, &[pushed, log, deleted], &[password]);
    workshop.assert_tidy();
}

#[test]
fn a_credential_helper_that_has_nothing_to_say_is_told_before_anything_is_made() {
    let registry = Registry::with_login(Login::ADA);
    let (workshop, base) = workshop_with_base(&["oci"], 1);
    let run = |script: &str, name: &str| -> Ran {
        let (_folder, path) = helper(script);
        let config = json!({ "credHelpers": { registry.address(): name } });
        let to = delivery("http", &registry, &json!({}), &format!("@{config}"));
        to.command(&workshop, &base).env("PATH", path).output().unwrap().into()
    };
    let nothing = "echo 'credentials not found in native keychain'; exit 1";
    run(nothing, "suite").refused(7).says("has no credentials for").says("docker login");
    let locked = run("echo 'the store is locked'; exit 1", "suite").refused(7);
    locked.says("it says: the store is locked");
    for script in ["echo swordfish", "echo swordfish; exit 3", "echo swordfish; kill -9 $$"] {
        let ran = run(script, "suite").refused(7).says("docker-credential-suite");
        ran.never_says("swordfish");
    }
    run("", "nowhere").refused(4).says("docker-credential-nowhere").says("PATH");
    run("", "../sh").refused(3).says("docker-credential-");
    assert_eq!(workshop.images_of("provider"), Vec::<Value>::new());
    workshop.assert_tidy();
}

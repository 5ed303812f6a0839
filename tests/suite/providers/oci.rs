//! Container images in a real registry, fetched by skopeo, unpacked by umoci, and run.

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

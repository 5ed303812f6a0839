//! OpenStack: images in a real Glance, for which a real keystone lets in. Nova is a fake.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::support::servers::{FakeNova, Fault, FaultProxy, Glance, Keystone, python};
use crate::support::{Ran, Workshop};

use super::base::workshop_with_base;
use super::clouds::{Cloud, Delivery, OpenStack};
use super::secrets::assert_unseen;

/// Prints the images that `openstacksdk` finds: `ID NAME STATUS`.
const LIST: &str = "
import json, openstack, sys
connection = openstack.connect(**json.loads(sys.argv[1]))
for image in connection.image.images():
    print(image.id, image.name, image.status)
";

/// Who `ada` is to a keystone, as JSON.
fn account(keystone: &Keystone, password: &str) -> Value {
    json!({
        "auth_url": keystone.url(), "username": "ada", "password": password,
        "project_name": "forge", "user_domain_name": "Default", "project_domain_name": "Default",
    })
}

fn delivery(provider: &Value, credentials: impl Into<String>) -> Delivery {
    let credentials = credentials.into();
    Delivery { target: "openstack", provider: format!("@{provider}"), credentials }
}

fn text<'a>(record: &'a Value, key: &str) -> &'a str {
    record[key].as_str().unwrap_or_else(|| panic!("`{key}` in {record:#}"))
}

/// Neither Glance nor the store has anything of an image that was deleted.
#[track_caller]
fn assert_gone(glance: &Glance, workshop: &Workshop) {
    assert_eq!(glance.images(), Vec::<Value>::new());
    assert_eq!(glance.files(), Vec::<String>::new());
    assert_eq!(workshop.images_of("provider"), Vec::<Value>::new());
    workshop.assert_tidy();
}

#[test]
fn an_image_is_pushed_listed_fetched_and_deleted() {
    let keystone = Keystone::start();
    let glance = Glance::behind(&keystone);
    let (workshop, base) = workshop_with_base(&["openstack"], 2);
    let provider = json!({
        "name": "from the forge", "visibility": "private", "min_disk": 1, "min_ram": 256,
        "tags": ["suite"], "properties": { "hw_disk_bus": "scsi" },
    });
    let account = account(&keystone, Keystone::PASSWORD);
    let delivery = delivery(&provider, format!("@{account}"));
    let record = delivery.done(&workshop, &base);
    let id = text(&record, "identifier_on_provider");

    // Its own client finds it.
    let auth = json!({ "auth": account, "region_name": "RegionOne" });
    let listed = python(LIST, &[&auth.to_string()]);
    assert_eq!(listed, format!("{id} from the forge active\n"));
    let image = glance.ask("GET", &format!("/v2/images/{id}")).json();
    assert_eq!(image["owner"], keystone.project());
    assert_eq!(image["visibility"], "private");
    assert_eq!(image["min_disk"], 1);
    assert_eq!(image["min_ram"], 256);
    assert_eq!(image["hw_disk_bus"], "scsi");
    assert_eq!(image["tags"], json!(["suite"]));
    assert_eq!(image["disk_format"], "qcow2");

    // What is there is what was made.
    let fetched = glance.ask("GET", &format!("/v2/images/{id}/file")).body;
    let target = workshop.images_of("target").remove(0);
    assert_eq!(text(&target, "sha256"), hex::encode(Sha256::digest(&fetched)));
    workshop.write("fetched.qcow2", &fetched);
    let again = ["images", "import", "fetched.qcow2", "--template", "mock.tdl"];
    assert_eq!(workshop.json(&again)["status"], "COMPLETE");

    delivery.delete(&workshop, &record).done();
    assert_gone(&glance, &workshop);
}

#[test]
fn an_image_of_another_project_is_not_taken_for_gone() {
    let keystone = Keystone::start();
    let glance = Glance::behind(&keystone);
    keystone.add_project("mint");
    let (workshop, base) = workshop_with_base(&["openstack"], 1);
    let mut account = account(&keystone, Keystone::PASSWORD);
    let of_forge = delivery(&json!({}), format!("@{account}"));
    let record = of_forge.done(&workshop, &base);
    account["project_name"] = "mint".into();
    let of_mint = delivery(&json!({}), format!("@{account}"));
    of_mint.delete(&workshop, &record).ended(7).says("`mint` sees no").says("as `forge`");
    assert_eq!(glance.images().len(), 1);
    of_forge.delete(&workshop, &record).done();
    assert_eq!(glance.images(), Vec::<Value>::new());
    workshop.assert_tidy();
}

#[test]
fn what_glance_would_refuse_is_refused_before_anything_is_made() {
    let cloud = OpenStack::start();
    let (workshop, base) = workshop_with_base(&["openstack"], 1);
    let endpoint = cloud.glance.url();
    for (key, value, code, told) in [
        ("visibility", json!("public"), 7, "publicize_image"),
        ("name", json!("an image \u{1f600}"), 3, "4 byte"),
        ("properties", json!({ "virtual_size": 1 }), 3, "`properties.virtual_size`"),
    ] {
        let provider = json!({ "image_endpoint": endpoint, "auth_type": "none", key: value });
        delivery(&provider, "@{}").run(&workshop, &base).refused(code).says(told);
    }
    assert_eq!(workshop.images_of("provider"), Vec::<Value>::new());
    assert_eq!(cloud.glance.images(), Vec::<Value>::new());
}

#[test]
fn a_wrong_password_is_refused_before_anything_is_made() {
    let keystone = Keystone::start();
    let glance = Glance::behind(&keystone);
    let (workshop, base) = workshop_with_base(&["openstack"], 1);
    let account = account(&keystone, "swordfish-that-nobody-knows");
    let ran = delivery(&json!({}), format!("@{account}")).run(&workshop, &base);
    ran.refused(7).says("401").says("credentials").never_says("swordfish");
    let mut unscoped = self::account(&keystone, Keystone::PASSWORD);
    unscoped.as_object_mut().unwrap().remove("project_name");
    let provider = json!({ "image_endpoint": glance.url() });
    let ran = delivery(&provider, format!("@{unscoped}")).run(&workshop, &base);
    ran.refused(7).says("for no project");
    assert_eq!(workshop.images_of("provider"), Vec::<Value>::new());
    assert_eq!(glance.images(), Vec::<Value>::new());
    workshop.assert_tidy();
}

#[test]
fn every_form_of_credentials_signs_in_and_is_nowhere_afterwards() {
    let keystone = Keystone::start();
    let glance = Glance::behind(&keystone);
    let (workshop, base) = workshop_with_base(&["openstack"], 1);
    let (id, secret) = keystone.application_credential();
    let token = keystone.token_of_ada();
    let url = keystone.url();
    let clouds = format!(
        "clouds:\n  suite:\n    region_name: RegionOne\n    auth: {}\n",
        account(&keystone, Keystone::PASSWORD)
    );
    let script = format!(
        "export OS_AUTH_URL={url}\nexport OS_USERNAME=ada\nexport OS_PASSWORD={}\n\
         export OS_PROJECT_NAME=forge\n",
        Keystone::PASSWORD
    );
    let xml = format!(
        "<provider_credentials><openstack_credentials><auth_url>{url}</auth_url>\
         <username>ada</username><password>{}</password><tenant>forge</tenant>\
         <strategy>keystone</strategy></openstack_credentials></provider_credentials>",
        Keystone::PASSWORD
    );
    let application = json!({
        "auth_url": url, "application_credential_id": id, "application_credential_secret": secret,
    });
    let by_token = json!({ "auth_url": url, "token": token, "project_name": "forge" });
    let forms = [
        ("clouds.yaml", clouds),
        ("openrc", script),
        ("upstream.xml", xml),
        ("application.json", application.to_string()),
        ("token.json", by_token.to_string()),
        ("bare-token.json", json!({ "auth_url": url, "token": token }).to_string()),
    ];
    let mut ran = Vec::new();
    for (name, credentials) in forms {
        let outside = tempfile::tempdir().unwrap();
        let path = outside.path().join(name);
        fs_err::write(&path, credentials).unwrap();
        let delivery = Delivery {
            target: "openstack",
            provider: "suite".to_owned(),
            credentials: path.display().to_string(),
        };
        let (record, push) = delivery.told(&workshop, &base);
        ran.push(push);
        let log = ["images", "log", text(&record, "id"), "--format", "json"];
        ran.push(workshop.run(&log).done());
        ran.push(delivery.delete(&workshop, &record).done());
        assert_eq!(glance.images(), Vec::<Value>::new(), "{name}");
    }
    assert_unseen(&workshop, &ran, &[Keystone::PASSWORD, &secret, &token]);
    workshop.assert_tidy();
}

#[test]
fn what_a_token_that_ran_out_leaves_is_told_recorded_and_deleted_by_others() {
    let keystone = Keystone::start();
    let glance = Glance::behind(&keystone);
    // Once the image is registered, Glance takes the token no longer.
    let proxy = FaultProxy::before(&glance.address());
    proxy.spoil(Fault::answer(401).on("PUT", "/file")).spoil(Fault::answer(401).on("DELETE", ""));
    let (workshop, base) = workshop_with_base(&["openstack"], 1);
    let settings = workshop.write("settings.toml", "[plugin.openstack]\ntry_rights = false\n");
    let token = keystone.token_of_ada();
    let provider = json!({ "image_endpoint": proxy.url() });
    let bare = json!({ "auth_url": keystone.url(), "token": token });
    let mut command = delivery(&provider, format!("@{bare}")).command(&workshop, &base);
    let ran = Ran::from(command.env("IMAGEFORGE_CONFIG", settings).output().unwrap()).ended(7);

    let there = glance.images();
    assert_eq!(there.len(), 1, "{there:#?}");
    let id = text(&there[0], "id");
    let record = workshop.images_of("provider").remove(0);
    assert_eq!(record["status"], "FAILED");
    assert_eq!(record["identifier_on_provider"], id);
    let place = format!("image `{id}` may be left at `{}/v2/images/{id}`", proxy.url());
    let remove = format!("imageforge images delete {}", text(&record, "id"));
    ran.says(&place).says(&remove).says("may have run out").never_says(&token);
    assert!(record["status_detail"].to_string().contains(&place), "{record:#}");

    proxy.behave();
    let account = account(&keystone, Keystone::PASSWORD);
    delivery(&provider, format!("@{account}")).delete(&workshop, &record).done();
    assert_gone(&glance, &workshop);
}

#[test]
fn parameters_of_snapshots_are_refused_for_a_push_before_anybody_is_asked() {
    let (workshop, base) = workshop_with_base(&["openstack"], 1);
    // Nobody listens there.
    let provider = json!({ "image_endpoint": "http://127.0.0.1:7", "auth_type": "none" });
    let mut command = delivery(&provider, "@{}").command(&workshop, &base);
    let ran = Ran::from(command.args(["--parameter", "openstack_server=db"]).output().unwrap());
    ran.refused(3).says("parameter `openstack_server`").says("--snapshot");
    assert_eq!(workshop.images_of("provider"), Vec::<Value>::new());
}

#[test]
fn a_snapshot_is_made_of_a_running_server() {
    let keystone = Keystone::start();
    let glance = Glance::behind(&keystone);
    let nova = FakeNova::start(&glance, Some(&keystone));
    let workshop = Workshop::new();
    workshop.link("openstack");
    let account = account(&keystone, Keystone::PASSWORD);
    let made = workshop.json(&[
        "provider-image",
        "openstack",
        "@{}",
        &format!("@{account}"),
        "--template",
        "mock.tdl",
        "--snapshot",
        "--parameter",
        &format!("openstack_server={}", FakeNova::NAME),
    ]);
    let images = made["images"].as_array().unwrap();
    let record = images.iter().find(|image| image["tier"] == "provider").unwrap();
    assert_eq!(record["status"], "COMPLETE", "{record:#}");
    let there = glance.images();
    assert_eq!(there.len(), 1);
    assert_eq!(there[0]["id"], record["identifier_on_provider"]);
    assert!(nova.asked().iter().any(|request| request.ends_with("/action")));
}

#[test]
fn a_snapshot_of_nothing_is_refused_before_anything_is_made() {
    let cloud = OpenStack::start();
    let nova = FakeNova::start(&cloud.glance, None);
    let workshop = Workshop::new();
    workshop.link("openstack");
    let provider = json!({
        "image_endpoint": cloud.glance.url(), "compute_endpoint": nova.url(), "auth_type": "none",
    });
    let provider = format!("@{provider}");
    let snapshot =
        ["provider-image", "openstack", &provider, "@{}", "--template", "mock.tdl", "--snapshot"];
    for (parameters, code, told) in [
        (&[][..], 3, "a snapshot needs parameter `openstack_server`"),
        (&["--parameter", "openstack_source_image=debian"], 3, "`flavor` is missing"),
        (&["--parameter", "openstack_server=nobody-s"], 5, "`nobody-s`"),
    ] {
        workshop.run(&[&snapshot, parameters].concat()).refused(code).says(told);
    }
    assert_eq!(workshop.images(), Vec::<Value>::new());
    assert_eq!(cloud.glance.images(), Vec::<Value>::new());
}

#[test]
fn a_proxy_that_stands_between_is_told() {
    let workshop = Workshop::new();
    workshop.link("openstack");
    let provider = json!({ "image_endpoint": "http://127.0.0.1:7", "auth_type": "none" });
    let provider = format!("@{provider}");
    let words =
        ["build", "mock.tdl", "--target", "openstack", "--provider", &provider, "--dry-run"];
    // Nobody listens on these ports.
    for (proxy, told) in [
        ("http://127.0.0.1:9", "by way of the proxy `127.0.0.1:9`"),
        ("socks5://127.0.0.1:9", "only proxies that speak HTTP"),
    ] {
        let mut command = workshop.command(&words);
        let ran = Ran::from(command.env("ALL_PROXY", proxy).output().unwrap());
        ran.refused(7).says("`127.0.0.1:7` cannot be reached").says(told);
    }
}

#[test]
fn only_a_known_authority_is_believed() {
    let (glance, authority) = Glance::with_tls();
    let (workshop, base) = workshop_with_base(&["openstack"], 1);
    let endpoint = format!("https://{}", glance.address());
    let provider = json!({ "image_endpoint": endpoint, "auth_type": "none" });
    let ran = delivery(&provider, "@{}").run(&workshop, &base);
    ran.refused(7).says("certificate").says("cacert");
    workshop.write("authority.pem", authority);
    let mut known = provider;
    known["cacert"] = workshop.path("authority.pem").display().to_string().into();
    delivery(&known, "@{}").done(&workshop, &base);
    workshop.assert_tidy();
}

#[test]
fn a_fetched_image_boots() {
    let cloud = OpenStack::start();
    let workshop = Workshop::with_appliance();
    workshop.link("openstack");
    let base = workshop.json(&["build", "appliance.toml"]);
    workshop.keep_downloads();
    let record = cloud.delivery().done(&workshop, text(&base["images"][0], "id"));
    let id = text(&record, "identifier_on_provider");
    let fetched = cloud.glance.ask("GET", &format!("/v2/images/{id}/file")).body;
    workshop.write("fetched.qcow2", fetched);
    let import = ["images", "import", "fetched.qcow2", "--template", "appliance.toml"];
    let again = workshop.json(&import);
    let boot = ["images", "boot", text(&again, "id"), "--timeout", "150"];
    workshop.run(&boot).done().says("appliance login:");
    workshop.assert_tidy();
}

//! Several targets and providers of one request, side by side.

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::servers::Fault;
use crate::support::{Daemon, Workshop, texts};

use super::base::workshop_with_base;
use super::clouds::{Cloud, Oci, OpenStack};

#[test]
fn one_provider_that_fails_leaves_the_others_of_its_request_alone() {
    let (good, bad) = (OpenStack::start(), OpenStack::start());
    bad.proxy().spoil(Fault::answer_with(503, "Retry-After", "0").on("PUT", "/file"));
    let workshop = Workshop::new();
    workshop.link("openstack");
    fs_err::create_dir(workshop.path("cloud")).unwrap();
    let of = |cloud: &OpenStack| format!("openstack={}", cloud.delivery().provider);
    let ran = workshop.run(&[
        "build",
        "mock.tdl",
        "--parameter",
        "size_bytes=1048576",
        "--target",
        "openstack",
        "--target",
        "mock",
        "--provider",
        &of(&bad),
        "--provider",
        &of(&good),
        "--provider",
        "mock=cloud",
    ]);
    ran.ended(7).says("the proxy answers 503");
    let records = workshop.images_of("provider");
    let status = |holds: &dyn Fn(&Value) -> bool| {
        let found: Vec<&Value> = records.iter().filter(|record| holds(record)).collect();
        assert_eq!(found.len(), 1, "{records:#?}");
        found[0]["status"].as_str().unwrap().to_owned()
    };
    let at = |cloud: &OpenStack| {
        let address = cloud.proxy().address();
        status(&|record| record["provider"].to_string().contains(&address))
    };
    assert_eq!(at(&bad), "FAILED");
    assert_eq!(at(&good), "COMPLETE");
    assert_eq!(status(&|record| record["target"] == "mock"), "COMPLETE");
    assert_eq!(good.found().len(), 1);
    assert_eq!(bad.found().len() + bad.half_there().len(), 0);
    // One target image is there for both.
    assert_eq!(workshop.images_of("target").len(), 2);
    assert_eq!(fs_err::read_dir(workshop.path("cloud")).unwrap().count(), 1);
    workshop.assert_tidy();
}

#[test]
fn a_registry_that_is_always_cut_off_leaves_the_others_of_its_request_alone() {
    let (workshop, base) = workshop_with_base(&["oci"], 2);
    let (good, bad) = (Oci::start(), Oci::start());
    let (method, path) = Oci::UPLOAD;
    bad.proxy().spoil(Fault::cut(1 << 20).on(method, path));
    let folder = workshop.path("cloud");
    fs_err::create_dir(&folder).unwrap();
    let daemon = Daemon::start(&workshop, "\n[plugin.oci]\nretries = 1");
    let of = |cloud: &Oci| {
        let to = cloud.delivery();
        json!({ "target": to.target, "provider": to.provider.trim_start_matches('@') })
    };
    let deliveries = [of(&bad), of(&good), json!({ "target": "mock", "provider": folder })];
    let request =
        json!({ "base_image": base, "targets": ["oci", "mock"], "deliveries": deliveries });
    let answer = daemon.post("/v1/builds", &request);
    assert_eq!(answer.status, 202, "{}", answer.text());
    let images = answer.json()["images"].as_array().unwrap().clone();
    let ended: Vec<Value> = images.iter().map(|image| daemon.ended(image)).collect();
    let delivered: Vec<Value> =
        ended.iter().filter(|image| image["tier"] == "provider").cloned().collect();
    assert_eq!(texts(&delivered, "status"), ["FAILED", "COMPLETE", "COMPLETE"], "{ended:#?}");
    let error = delivered[0]["status_detail"]["error"].to_string();
    let told = format!("the connection to `{}` broke", bad.proxy().address());
    assert!(error.contains(&told), "{:#}", delivered[0]);
    assert_eq!(bad.proxy().spoilt(), 2);
    assert_eq!(bad.found(), Vec::<String>::new());
    assert_eq!(good.found(), ["latest"]);
    assert_eq!(fs_err::read_dir(folder).unwrap().count(), 1);
    assert_eq!(daemon.stop(Signal::TERM), Some(0));
    workshop.assert_tidy();
}

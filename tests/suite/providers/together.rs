//! Several targets and providers of one request, side by side.

use serde_json::Value;

use crate::support::Workshop;
use crate::support::servers::Fault;

use super::clouds::{Cloud, OpenStack};

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

//! What goes wrong on the way to a real server, and what becomes of it. Every promise holds for every cloud.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;

use crate::support::servers::Fault;
use crate::support::{Ran, Running, Workshop, kill, wait_for};

use super::base::workshop_with_base;
use super::clouds::{Cloud, Oci, OpenStack};

/// Noise in MiB: the slow half of it takes eight seconds, in which a test does what it does.
const LARGE: u64 = 48;

/// How long a server may take to clear up after a client that hung up.
const PATIENCE: Duration = Duration::from_secs(20);

/// A test of each promise for each cloud.
macro_rules! promised {
    ($($promise:ident)*) => {
        mod openstack { $(#[test] fn $promise() { super::$promise::<super::OpenStack>(); })* }
        mod oci { $(#[test] fn $promise() { super::$promise::<super::Oci>(); })* }
    };
}

promised! {
    what_may_pass_is_tried_again
    a_server_that_never_recovers_fails_the_image_and_says_why
    a_connection_that_is_cut_early_is_made_again
    a_connection_that_is_cut_late_is_made_again
    a_connection_that_is_always_cut_early_fails_the_image_and_leaves_nothing
    a_connection_that_is_always_cut_late_fails_the_image_and_leaves_nothing
    a_server_that_always_has_enough_is_asked_as_often_as_the_settings_say
    a_full_disk_at_the_server_is_told
    a_cancel_in_the_middle_leaves_nothing
    what_a_killed_worker_left_behind_is_delivered_again
}

fn cloud<C: Cloud>() -> (C, Workshop, String) {
    let (workshop, base) = workshop_with_base(&[C::PLUGIN], 2);
    (C::start(), workshop, base)
}

/// The one record of an image at a provider.
#[track_caller]
fn record(workshop: &Workshop) -> Value {
    let mut records = workshop.images_of("provider");
    assert_eq!(records.len(), 1, "{records:#?}");
    records.remove(0)
}

/// Neither here nor there anything is left but records of what is over.
#[track_caller]
fn assert_nothing_left(cloud: &impl Cloud, workshop: &Workshop) {
    assert_eq!(cloud.found(), Vec::<String>::new());
    assert_nothing_half_there(cloud);
    workshop.assert_tidy();
}

#[track_caller]
fn assert_nothing_half_there(cloud: &impl Cloud) {
    let end = Instant::now() + PATIENCE;
    while !cloud.half_there().is_empty() {
        assert!(Instant::now() < end, "half there: {:#?}", cloud.half_there());
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// As far as the server can be made to forget it.
#[track_caller]
fn assert_nothing_of_a_cut<C: Cloud>(cloud: &C) {
    if !C::KEEPS_WHAT_WAS_CUT {
        assert_nothing_half_there(cloud);
    }
}

fn what_may_pass_is_tried_again<C: Cloud>() {
    let (cloud, workshop, base) = cloud::<C>();
    let (method, path) = C::UPLOAD;
    for status in [500, 503] {
        cloud.proxy().spoil(Fault::answer(status).on(method, path).times(1));
    }
    cloud.proxy().spoil(Fault::answer_with(429, "Retry-After", "1").on(method, path).times(1));
    let record = cloud.delivery().done(&workshop, &base);
    assert_eq!(cloud.proxy().spoilt(), 3);
    assert_eq!(cloud.found().len(), 1);
    assert_nothing_half_there(&cloud);
    let log = workshop.run(&["images", "log", record["id"].as_str().unwrap()]).done();
    log.prints("answered 500").prints("answered 503").prints("answered 429").prints("trying again");
    workshop.assert_tidy();
}

fn a_server_that_never_recovers_fails_the_image_and_says_why<C: Cloud>() {
    let (cloud, workshop, base) = cloud::<C>();
    let (method, path) = C::UPLOAD;
    cloud.proxy().spoil(Fault::answer_with(503, "Retry-After", "0").on(method, path));
    let ran = cloud.delivery().run(&workshop, &base).ended(7);
    ran.says("503").says("the proxy answers 503").says("hint: ");
    assert_eq!(record(&workshop)["status"], "FAILED");
    assert!(cloud.proxy().spoilt() > 2);
    assert_nothing_left(&cloud, &workshop);
}

fn assert_made_again<C: Cloud>(percent: u64) {
    let (cloud, workshop, base) = cloud::<C>();
    let bytes = cloud.delivery().bytes(&workshop, &base) * percent / 100;
    cloud.proxy().spoil(Fault::cut(bytes).on(C::UPLOAD.0, C::UPLOAD.1).times(1));
    cloud.delivery().done(&workshop, &base);
    assert_eq!(cloud.proxy().spoilt(), 1);
    assert_eq!(cloud.found().len(), 1);
    assert_nothing_of_a_cut(&cloud);
    workshop.assert_tidy();
}

fn a_connection_that_is_cut_early_is_made_again<C: Cloud>() {
    assert_made_again::<C>(30);
}

fn a_connection_that_is_cut_late_is_made_again<C: Cloud>() {
    assert_made_again::<C>(99);
}

/// `fault`, which is told how much there is to deliver, comes again and again.
fn assert_given_up<C: Cloud>(fault: impl FnOnce(u64) -> Fault, says: &str) {
    let (cloud, workshop, base) = cloud::<C>();
    let to = cloud.delivery();
    let fault = fault(to.bytes(&workshop, &base));
    cloud.proxy().spoil(fault.on(C::UPLOAD.0, C::UPLOAD.1));
    let settings = format!("[plugin.{}]\nretries = 2\n", C::PLUGIN);
    let settings = workshop.write("settings.toml", settings);
    let mut command = to.command(&workshop, &base);
    let ran = Ran::from(command.env("IMAGEFORGE_CONFIG", settings).output().unwrap());
    ran.ended(7).says(says).says("hint: ");
    assert_eq!(cloud.proxy().spoilt(), 3);
    assert_eq!(record(&workshop)["status"], "FAILED");
    assert_eq!(cloud.found(), Vec::<String>::new());
    assert_nothing_of_a_cut(&cloud);
    workshop.assert_tidy();
}

fn a_connection_that_is_always_cut_early_fails_the_image_and_leaves_nothing<C: Cloud>() {
    let cut = |bytes| Fault::cut(bytes * 30 / 100);
    assert_given_up::<C>(cut, "the connection to `127.0.0.1:");
}

fn a_connection_that_is_always_cut_late_fails_the_image_and_leaves_nothing<C: Cloud>() {
    let cut = |bytes| Fault::cut(bytes * 99 / 100);
    assert_given_up::<C>(cut, "the connection to `127.0.0.1:");
}

fn a_server_that_always_has_enough_is_asked_as_often_as_the_settings_say<C: Cloud>() {
    assert_given_up::<C>(|_| Fault::answer_with(429, "Retry-After", "0"), "429");
}

fn a_full_disk_at_the_server_is_told<C: Cloud>() {
    let (workshop, base) = workshop_with_base(&[C::PLUGIN], 8);
    let cloud = C::on_small_disk(4);
    let ran = cloud.delivery_to(&cloud.address()).run(&workshop, &base).ended(7);
    ran.says("space").says("hint: ");
    assert_eq!(record(&workshop)["status"], "FAILED");
    assert_eq!(cloud.found(), Vec::<String>::new());
    assert_nothing_of_a_cut(&cloud);
    workshop.assert_tidy();
}

/// Begins to deliver a large image, of which a half has arrived; the rest takes its time.
fn half_delivered<C: Cloud>() -> (C, Workshop, String, Running) {
    let (workshop, base) = workshop_with_base(&[C::PLUGIN], LARGE);
    let cloud = C::start();
    let bytes = cloud.delivery().bytes(&workshop, &base) / 2;
    cloud.proxy().spoil(Fault::slow_after(bytes).on(C::UPLOAD.0, C::UPLOAD.1));
    let build = cloud.delivery().spawn(&workshop, &base);
    cloud.proxy().wait_until_slow();
    (cloud, workshop, base, build)
}

fn a_cancel_in_the_middle_leaves_nothing<C: Cloud>() {
    let (cloud, workshop, _base, build) = half_delivered::<C>();
    build.signal(Signal::INT);
    build.wait().ended(8).says("cancelled");
    assert_eq!(record(&workshop)["status"], "CANCELLED");
    assert_nothing_left(&cloud, &workshop);
}

fn what_a_killed_worker_left_behind_is_delivered_again<C: Cloud>() {
    let (cloud, workshop, base, build) = half_delivered::<C>();
    let workers = build.descendants();
    let worker = workers.iter().find(|process| process.is_worker()).expect("a worker");
    kill(worker.id, Signal::KILL);
    build.wait().ended(1).says("interrupted");
    assert_eq!(record(&workshop)["status"], "FAILED");
    assert_eq!(cloud.found(), Vec::<String>::new());

    // What it is still writing to when it is told to delete it, Glance forgets to delete.
    wait_for("the server to notice", || (!cloud.is_busy()).then_some(()));
    cloud.proxy().behave();
    cloud.delivery().done(&workshop, &base);
    assert_eq!(cloud.found().len(), 1);
    assert_nothing_of_a_cut(&cloud);
    workshop.assert_tidy();
}

//! Whoever asked for it is told of every change of state, whatever becomes of daemon and receiver.

use std::collections::{BTreeMap, HashSet};

use hmac::{Hmac, KeyInit, Mac};
use rustix::process::Signal;
use serde_json::{Value, json};
use sha2::Sha256;

use crate::support::{Daemon, Receiver, Reply, Told, Workshop, wait_for};

/// Accepts a build for `mock` whose changes are told to `callbacks`; answers path of the job and images.
#[track_caller]
fn build(daemon: &Daemon<'_>, workshop: &Workshop, callbacks: &[String]) -> (String, Vec<Value>) {
    let template = fs_err::read_to_string(workshop.path("mock.tdl")).unwrap();
    let request = json!({
        "template": template, "targets": ["mock"], "rebuild": true, "callbacks": callbacks,
    });
    let answer = daemon.post("/v1/builds", &request);
    assert_eq!(answer.status, 202, "{answer:?}");
    let answer = answer.json();
    let images = answer["images"].as_array().unwrap().clone();
    (format!("/v1/jobs/{}", answer["job"].as_str().unwrap()), images)
}

/// The callbacks of a job, once they are as wanted.
#[track_caller]
fn callbacks(daemon: &Daemon<'_>, job: &str, wanted: impl Fn(&[Value]) -> bool) -> Vec<Value> {
    wait_for("callbacks to be told", || {
        let callbacks = daemon.get(job).json()["callbacks"].as_array().unwrap().clone();
        wanted(&callbacks).then_some(callbacks)
    })
}

/// States in the order in which they were told, by image.
fn states(told: &[Told]) -> BTreeMap<String, Vec<String>> {
    let mut states = BTreeMap::<String, Vec<String>>::new();
    for told in told {
        let image = told.image();
        let status = image["status"].as_str().unwrap().to_owned();
        states.entry(image["id"].as_str().unwrap().to_owned()).or_default().push(status);
    }
    states
}

#[track_caller]
fn assert_all_told(told: &[Told], images: &[Value]) {
    let states = states(told);
    assert_eq!(states.len(), images.len());
    for image in images {
        assert_eq!(states[image["id"].as_str().unwrap()], ["PENDING", "BUILDING", "COMPLETE"]);
    }
}

#[test]
fn every_change_of_every_image_is_put_in_order_as_imagefactory_did() {
    let workshop = Workshop::new();
    let daemon = Daemon::start(&workshop, "");
    let receiver = Receiver::friendly();
    let (job, images) = build(&daemon, &workshop, &[receiver.url("ann:p%40ss@", "/hook?a=b")]);
    let told = receiver.acknowledged(6);
    assert_all_told(&told, &images);
    for told in &told {
        assert_eq!(told.request, "PUT /hook?a=b HTTP/1.1");
        assert_eq!(told.headers["authorization"], "Basic YW5uOnBAc3M=");
        assert_eq!(told.headers["content-type"], "application/json");
        let image = told.image();
        let (kind, name) = match image["_type"].as_str().unwrap() {
            "BaseImage" => ("base_image", false),
            kind => {
                assert_eq!(kind, "TargetImage");
                ("target_image", true)
            },
        };
        assert!(told.text.starts_with(&format!("{{\"{kind}\":")), "{}", told.text);
        assert_eq!(image.get("target").is_some(), name);
        let percent = image["percent_complete"].as_u64().unwrap();
        assert_eq!(percent == 100, image["status"] == "COMPLETE", "{image:#}");
        assert!(image["status_detail"]["error"].is_null());
    }
    let told = callbacks(&daemon, &job, |callbacks| callbacks[0]["pending"] == 0);
    let expected = json!({
        "url": format!("http://***@127.0.0.1:{}/hook?***", receiver.port()),
        "delivered": 6, "pending": 0, "failed": 0, "attempts": 0, "last_error": null,
    });
    assert_eq!(told, [expected]);

    let target = images[1]["id"].as_str().unwrap();
    let delete = daemon.request("DELETE", &format!("/v1/images/{target}"));
    assert_eq!(Daemon::send(delete.body(Vec::new()).unwrap()).status, 204);
    let told = receiver.acknowledged(8);
    assert_eq!(states(&told[6..])[target], ["DELETING", "DELETED"]);
}

#[test]
fn why_an_image_failed_is_told() {
    let workshop = Workshop::new();
    let daemon = Daemon::start(&workshop, "");
    let receiver = Receiver::friendly();
    let template = fs_err::read_to_string(workshop.path("mock.tdl")).unwrap();
    let request = json!({
        "template": template, "callbacks": [receiver.url("", "/")],
        "parameters": { "fail_with": "unavailable" },
    });
    assert_eq!(daemon.post("/v1/builds", &request).status, 202);
    let image = receiver.acknowledged(3)[2].image();
    assert_eq!(image["status"], "FAILED");
    assert!(image["status_detail"]["error"].is_string(), "{image:#}");
}

#[test]
fn a_receiver_that_fails_is_told_again_and_still_in_order() {
    let workshop = Workshop::new();
    let daemon = Daemon::start(&workshop, "");
    let receiver = Receiver::new(|number| Reply::Status(if number % 2 == 0 { 500 } else { 204 }));
    let (job, images) = build(&daemon, &workshop, &[receiver.url("", "/")]);
    assert_all_told(&receiver.acknowledged(6), &images);
    let [callback] = &callbacks(&daemon, &job, |all| all[0]["delivered"] == 6)[..] else {
        panic!()
    };
    assert_eq!((&callback["failed"], &callback["pending"]), (&json!(0), &json!(0)));
    let told = receiver.told();
    for pair in told.chunks(2) {
        let delivery = |told: &Told| told.headers["x-imageforge-delivery"].clone();
        assert_eq!(delivery(&pair[0]), delivery(&pair[1]), "another message overtook");
    }
}

#[test]
fn a_killed_daemon_misses_nothing_and_repeats_nothing_that_was_acknowledged() {
    let workshop = Workshop::new();
    let daemon = Daemon::start(&workshop, "");
    let receiver = Receiver::new(|number| Reply::Status(if number < 2 { 200 } else { 503 }));
    let (job, images) = build(&daemon, &workshop, &[receiver.url("", "/")]);
    for image in &images {
        assert_eq!(daemon.ended(image)["status"], "COMPLETE");
    }
    let stuck = callbacks(&daemon, &job, |all| all[0]["attempts"].as_u64() >= Some(1));
    assert_eq!((&stuck[0]["delivered"], &stuck[0]["pending"]), (&json!(2), &json!(4)));
    assert!(stuck[0]["last_error"].as_str().unwrap().contains("503"), "{stuck:#?}");
    assert_eq!(daemon.stop(Signal::KILL), None);

    receiver.behave(|_| Reply::Status(200));
    let daemon = Daemon::start(&workshop, "");
    let told = receiver.acknowledged(6);
    assert_all_told(&told, &images);
    let deliveries: HashSet<&str> =
        told.iter().map(|told| told.headers["x-imageforge-delivery"].as_str()).collect();
    assert_eq!(deliveries.len(), 6);
    drop(callbacks(&daemon, &job, |all| all[0]["delivered"] == 6));
    assert_eq!(receiver.acknowledged(6).len(), 6);
}

#[test]
fn slow_and_dead_receivers_hold_up_neither_builds_nor_other_receivers() {
    let workshop = Workshop::new();
    let daemon = Daemon::start(&workshop, "callbacks = { timeout_seconds = 1, attempts = 1000 }");
    let slow = Receiver::new(|_| Reply::Silence);
    let friendly = Receiver::friendly();
    // Nobody listens to the port of a listener that is gone.
    let dead = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let all = [slow.url("", "/"), format!("http://{dead}/"), friendly.url("", "/")];
    let (job, images) = build(&daemon, &workshop, &all);
    for image in &images {
        assert_eq!(daemon.ended(image)["status"], "COMPLETE");
    }
    assert_all_told(&friendly.acknowledged(6), &images);
    let callbacks = callbacks(&daemon, &job, |all| {
        all[2]["pending"] == 0 && all[..2].iter().all(|callback| callback["last_error"].is_string())
    });
    for stuck in &callbacks[..2] {
        assert_eq!((&stuck["delivered"], &stuck["pending"]), (&json!(0), &json!(6)), "{stuck:#}");
    }
    assert!(callbacks[0]["last_error"].as_str().unwrap().contains("timeout"), "{callbacks:#?}");
}

#[test]
fn a_redirect_is_not_followed_and_counts_as_a_failure() {
    let workshop = Workshop::new();
    let daemon = Daemon::start(&workshop, "callbacks = { attempts = 1 }");
    let elsewhere = Receiver::friendly();
    let there = elsewhere.url("", "/");
    let receiver = Receiver::new(move |_| Reply::Redirect(there.clone()));
    let (job, _) = build(&daemon, &workshop, &[receiver.url("", "/")]);
    let [callback] = &callbacks(&daemon, &job, |all| all[0]["failed"] == 6)[..] else { panic!() };
    assert_eq!((&callback["delivered"], &callback["pending"]), (&json!(0), &json!(0)));
    assert!(callback["last_error"].as_str().unwrap().contains("redirects are not followed"));
    assert_eq!(elsewhere.told().len(), 0);
}

#[test]
fn a_signature_holds_for_time_and_body_and_needs_the_secret() {
    let workshop = Workshop::new();
    let daemon = Daemon::start(&workshop, "callbacks = { secret = \"hunter2\" }");
    let receiver = Receiver::friendly();
    drop(build(&daemon, &workshop, &[receiver.url("", "/")]));
    for told in receiver.acknowledged(6) {
        let signature = &told.headers["x-imageforge-signature"];
        let (time, hex) =
            signature.strip_prefix("t=").and_then(|rest| rest.split_once(",v1=")).unwrap();
        let sign = |secret: &str| {
            let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
            mac.update(format!("{time}.{}", told.text).as_bytes());
            hex::encode(mac.finalize().into_bytes())
        };
        assert_eq!((sign("hunter2") == hex, sign("hunter3") == hex), (true, false));
    }
}

#[test]
fn addresses_that_may_not_be_told_are_refused_and_leave_no_record() {
    let workshop = Workshop::new();
    let daemon = Daemon::start(&workshop, "");
    let template = fs_err::read_to_string(workshop.path("mock.tdl")).unwrap();
    let refused = |callbacks: Value| {
        let request = json!({ "template": template, "callbacks": callbacks });
        let answer = daemon.post("/v1/builds", &request);
        assert_eq!(answer.status, 400, "{answer:?}");
        answer.text()
    };
    for address in
        ["http://169.254.169.254/latest/", "http://[fe80::1]/", "ftp://u:hunter2@a/", "debug", ""]
    {
        let text = refused(json!(["http://127.0.0.1/", address]));
        assert!(text.contains("callbacks[1]") && !text.contains("hunter2"), "{text}");
    }
    refused(json!(vec!["http://127.0.0.1/"; 17]));
    assert!(workshop.images().is_empty());
}

#[test]
fn with_a_list_only_receivers_in_it_are_told_whatever_their_name_means() {
    let workshop = Workshop::new();
    let daemon = Daemon::start(
        &workshop,
        "callbacks = { attempts = 1, allow = [\"hooks.example.org\", \"192.0.2.0/24\"] }",
    );
    let receiver = Receiver::friendly();
    let template = fs_err::read_to_string(workshop.path("mock.tdl")).unwrap();
    let request = json!({ "template": template, "callbacks": [receiver.url("", "/")] });
    assert_eq!(daemon.post("/v1/builds", &request).status, 400);
    let by_name = format!("http://localhost:{}/", receiver.port());
    let (job, _) = build(&daemon, &workshop, &[by_name]);
    let callback = callbacks(&daemon, &job, |all| all[0]["failed"] == 6).remove(0);
    let why = callback["last_error"].as_str().unwrap();
    assert!(why.contains("does not tell anything"), "{why}");
    assert_eq!(receiver.told().len(), 0);
}

#[test]
fn what_is_secret_in_an_address_is_in_no_file_and_no_answer() {
    let secret = "correct-horse-battery";
    let workshop = Workshop::new();
    let daemon = Daemon::start(&workshop, "callbacks = { attempts = 1 }");
    let receiver = Receiver::new(|_| Reply::Status(500));
    let address = receiver.url(&format!("ann:{secret}@"), &format!("/?token={secret}"));
    let (job, images) = build(&daemon, &workshop, &[address]);
    drop(callbacks(&daemon, &job, |all| all[0]["failed"] == 6));
    assert!(receiver.told()[0].request.contains(secret), "it was not told");
    let mut answers = daemon.get(&job).text();
    for image in &images {
        answers.push_str(
            &daemon.get(&format!("/v1/images/{}/log", image["id"].as_str().unwrap())).text(),
        );
    }
    assert!(!answers.contains(secret), "{answers}");
    let mut folders = vec![workshop.data_dir()];
    while let Some(folder) = folders.pop() {
        for entry in fs_err::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.is_file() {
                let bytes = fs_err::read(&path).unwrap();
                let seen = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
                assert!(!seen, "the secret is in {}", path.display());
            }
        }
    }
}

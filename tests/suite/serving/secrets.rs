//! Whatever somebody entrusts to the daemon is in nothing that it writes, shows or answers.

use std::collections::HashSet;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::{Answer, Daemon, Process, Receiver, Reply, Workshop, wait_for};

/// An operating system with secret parameters; `skip` is one so that a plugin repeats it.
const INFO: &str = r#"{
    "type": "os", "targets": [["Secretive"]], "library": "libmock_os.so",
    "parameters": {"type": "object", "properties": {
        "skip": {"type": "string", "x-secret": true},
        "pin": {"type": "string", "x-secret": true},
        "delay_ms": {"type": "integer"},
        "fail_with": {"type": "string"}
    }}
}"#;

/// Something that must not be seen, in every way in which it may be written.
struct Secret {
    what: &'static str,
    needles: Vec<String>,
}

impl Secret {
    /// `core` consists of letters and digits, which every encoding but these leaves as they are.
    fn new(what: &'static str, core: &str) -> Self {
        assert!(core.len() >= 12 && core.chars().all(|c| c.is_ascii_alphanumeric()));
        let percent = percent_encoded(core);
        let mut needles = vec![
            core.to_owned(),
            hex::encode(core),
            hex::encode_upper(core),
            percent.to_lowercase(),
            percent,
        ];
        // What stands before it decides how its bytes fall into the groups of base64.
        needles.extend((0..3).map(|before| base64(&core.as_bytes()[before..])));
        Self { what, needles }
    }

    /// What is around it in `text`, if it is there.
    fn around_in<'t>(&self, text: &'t str) -> Option<&'t str> {
        let at = self.needles.iter().find_map(|needle| text.find(needle))?;
        let from = text.floor_char_boundary(at.saturating_sub(200));
        Some(&text[from..text.ceil_char_boundary(at + 100)])
    }
}

/// Every byte as `%` and two digits.
fn percent_encoded(text: &str) -> String {
    hex::encode_upper(text).as_bytes().chunks(2).flat_map(|pair| ["%", as_text(pair)]).collect()
}

fn as_text(ascii: &[u8]) -> &str {
    std::str::from_utf8(ascii).unwrap()
}

/// Base64 of the whole groups of three bytes, in the alphabet that most use.
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let groups = bytes.chunks_exact(3).flat_map(|group| {
        let bits = group.iter().fold(0, |bits, byte| bits << 8 | u32::from(*byte));
        [18, 12, 6, 0].map(|shift| char::from(ALPHABET[(bits >> shift & 63) as usize]))
    });
    groups.collect()
}

#[test]
fn every_way_to_write_a_secret_is_found() {
    let secret = Secret::new("password", "Correct7Horse9Battery");
    for text in [
        "{\"password\":\"x/Correct7Horse9Battery\"}",
        "Authorization: Basic YTpDb3JyZWN0N0hvcnNlOUJhdHRlcnk=",
        "xYWI6Q29ycmVjdDdIb3JzZTlCYXR0ZXJ5",
        "436f72726563743748 436f727265637437486f72736539426174746572790a",
        "q=%43%6F%72%72%65%63%74%37%48%6F%72%73%65%39%42%61%74%74%65%72%79",
    ] {
        assert!(secret.around_in(text).is_some(), "{text}");
    }
    assert_eq!(secret.around_in("Correct7Horse9Batter"), None);
}

/// Watches everything that a run leaves.
struct Watcher<'w> {
    workshop: &'w Workshop,
    secrets: Vec<Secret>,
    /// Whatever was answered or printed, and where.
    heard: Mutex<Vec<(String, Vec<u8>)>>,
    found: Mutex<Vec<String>>,
    /// Files that were looked at: number, length and time of change.
    files: Mutex<HashSet<(u64, u64, i64, i64)>>,
    looked: AtomicUsize,
}

impl Watcher<'_> {
    fn hear(&self, place: impl Into<String>, bytes: impl Into<Vec<u8>>) {
        self.heard.lock().unwrap().push((place.into(), bytes.into()));
    }

    /// Sends a request and answers what it was answered.
    #[track_caller]
    fn send(&self, request: ureq::http::Request<Vec<u8>>) -> Answer {
        let place = format!("the answer to {} {}", request.method(), request.uri().path());
        let answer = Daemon::send(request);
        let mut bytes = format!("{:?}\n", answer.headers).into_bytes();
        bytes.extend(&answer.body);
        self.hear(place, bytes);
        answer
    }

    #[track_caller]
    fn post(&self, daemon: &Daemon<'_>, path: &str, document: &Value) -> Answer {
        let request = daemon.request("POST", path).header("content-type", "application/json");
        self.send(request.body(document.to_string().into_bytes()).unwrap())
    }

    #[track_caller]
    fn get(&self, daemon: &Daemon<'_>, path: &str) -> Answer {
        self.send(daemon.request("GET", path).body(Vec::new()).unwrap())
    }

    /// Whatever can be asked about an image.
    fn ask_about(&self, daemon: &Daemon<'_>, id: &str) {
        for path in ["", "/log", "/events?until_end=true", "/body", "/artifacts/mock-os.txt"] {
            drop(self.get(daemon, &format!("/v1/images/{id}{path}")));
        }
        for tier in ["base", "target", "provider"] {
            drop(self.get(daemon, &format!("/imagefactory/{tier}_images/{id}")));
        }
    }

    /// Runs a command.
    fn run(&self, arguments: &[&str]) {
        let ran = self.workshop.run(arguments);
        self.hear(arguments.join(" "), format!("{}{}", ran.stdout, ran.stderr));
    }

    /// Command lines and environments of the daemon and of everything below it.
    fn look_at_processes(&self, daemon: &Daemon<'_>) {
        let below = Process::descendants_of(daemon.id()).into_iter().map(|process| process.id);
        for id in below.chain([daemon.id()]) {
            for file in ["cmdline", "environ"] {
                let path = format!("/proc/{id}/{file}");
                self.hear(&path, std::fs::read(&path).unwrap_or_default());
            }
        }
    }

    /// Fails if any file or anything that was heard has a secret in it.
    #[track_caller]
    fn assert_unseen(&self) {
        let folders = ["data", "tmp", "cloud"].map(|name| self.workshop.path(name));
        for folder in folders {
            self.look_into(&folder);
        }
        for (place, bytes) in std::mem::take(&mut *self.heard.lock().unwrap()) {
            self.look(&place, &bytes);
        }
        let found = self.found.lock().unwrap();
        assert!(found.is_empty(), "{found:#?}");
    }

    fn look_into(&self, folder: &Path) {
        for entry in fs_err::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            // What is written while it is looked at may vanish.
            let Ok(data) = fs_err::symlink_metadata(&path) else { continue };
            self.look(
                &format!("the name of {}", path.display()),
                path.as_os_str().as_encoded_bytes(),
            );
            if data.is_dir() {
                self.look_into(&path);
            } else if data.is_file() && self.is_new(&data) {
                self.look(&path.display().to_string(), &std::fs::read(&path).unwrap_or_default());
            }
        }
    }

    /// Whether a file was not looked at before, as it is. Copies of libraries are long and never change.
    fn is_new(&self, file: &std::fs::Metadata) -> bool {
        let identity = (file.ino(), file.len(), file.mtime(), file.mtime_nsec());
        self.files.lock().unwrap().insert(identity)
    }

    fn look(&self, place: &str, bytes: &[u8]) {
        // Whatever is searched for is ASCII, which this leaves as it is.
        let text = String::from_utf8_lossy(bytes);
        for secret in &self.secrets {
            if let Some(around) = secret.around_in(&text) {
                let found = format!("the {} is in {place}: … {around} …", secret.what);
                self.found.lock().unwrap().push(found);
            }
        }
        self.looked.fetch_add(1, Ordering::Relaxed);
    }
}

const PASSWORD: &str = "Provider4Password7Lemon";
const PARAMETER: &str = "Parameter8Pin2Quince";
const CALLBACKS: &str = "Callback3Secret9Walnut";
const USERINFO: &str = "Userinfo6Word1Almond";
const CONSUMER: &str = "Consumer5Secret8Fennel";

/// Settings that hold secrets, and a log of everything.
fn settings() -> String {
    format!(
        "log_filter = \"trace\"\n\
         [serve.callbacks]\nattempts = 2\nsecret = \"{CALLBACKS}/&\"\n\
         [serve.consumers.old]\nsecret = \"{CONSUMER}/&\"\nscopes = [\"images:read\"]\n\
         [limits]\nreserve_mib = 1\n"
    )
}

/// A request for everything at once.
fn order(workshop: &Workshop, receiver: &Receiver) -> Value {
    let template = fs_err::read_to_string(workshop.path("secretive.tdl")).unwrap();
    json!({
        "template": template,
        "targets": ["mock"],
        "provider": workshop.path("cloud"),
        "credentials": credentials(),
        "parameters": { "pin": format!("{PARAMETER} \"/&") },
        "callbacks": [receiver.url(&format!("ann:{USERINFO}@"), "/hook")],
    })
}

fn credentials() -> String {
    json!({ "username": "ada", "password": format!("{PASSWORD} \"/&") }).to_string()
}

/// The identifiers of the images of an answer.
#[track_caller]
fn images(answer: &Answer) -> Vec<String> {
    assert_eq!(answer.status, 202, "{}", answer.text());
    let images = answer.json()["images"].as_array().unwrap().clone();
    images.iter().map(|image| image["id"].as_str().unwrap().to_owned()).collect()
}

/// Requests that are wrong and hold secrets.
fn send_what_is_wrong(watcher: &Watcher<'_>, daemon: &Daemon<'_>, order: &Value, token: &str) {
    let mut unknown = order.clone();
    unknown["pasword"] = json!(PASSWORD);
    let mut of_wrong_type = order.clone();
    of_wrong_type["parameters"]["pin"] = json!([PARAMETER]);
    let mut unreachable = order.clone();
    unreachable["provider"] = json!("/nonexistent");
    let mut refused = order.clone();
    refused["credentials"] = json!(format!("{{\"password\": [\"{PASSWORD}\"]}}"));
    let mut no_address = order.clone();
    no_address["callbacks"] = json!([format!("ftp://ann:{USERINFO}@host/")]);
    for document in [&unknown, &of_wrong_type, &unreachable, &refused, &no_address] {
        let answer = watcher.post(daemon, "/v1/builds", document);
        assert!((400..500).contains(&answer.status) || answer.status == 503, "{}", answer.text());
    }
    let text = order.to_string();
    for (kind, body) in [("application/json", &text[..text.len() - 2]), ("text/plain", &text)] {
        for path in ["/v1/builds", "/imagefactory/provider_images"] {
            let request = daemon.request("POST", path).header("content-type", kind);
            let answer = watcher.send(request.body(body.as_bytes().to_vec()).unwrap());
            assert!((400..500).contains(&answer.status), "{}", answer.text());
        }
    }
    let query = format!("/v1/images?limit={PARAMETER}&token={token}");
    assert_eq!(watcher.get(daemon, &query).status, 400);
    let longer = daemon.request_of(&format!("{token}0"), "GET", "/v1/images").body(Vec::new());
    assert_eq!(watcher.send(longer.unwrap()).status, 401);
    let basic =
        daemon.anonymous("GET", "/v1/images").header("authorization", format!("Basic {token}"));
    assert_eq!(watcher.send(basic.body(Vec::new()).unwrap()).status, 401);
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
    let signed = format!(
        "OAuth oauth_consumer_key=\"old\", oauth_nonce=\"1\", oauth_timestamp=\"{now}\", \
         oauth_signature_method=\"HMAC-SHA1\", oauth_signature=\"AAAA\""
    );
    let path = "/imagefactory/base_images";
    let signed = daemon.anonymous("GET", path).header("authorization", signed);
    assert_eq!(watcher.send(signed.body(Vec::new()).unwrap()).status, 401);
}

/// Builds, pushes and deletes as ImageFactory's clients do, in a form.
fn as_old_clients_do(watcher: &Watcher<'_>, daemon: &Daemon<'_>, order: &Value) {
    let mut parameters = order["parameters"].clone();
    parameters["callbacks"] = order["callbacks"].clone();
    let image = json!({
        "template": order["template"], "target": "mock", "provider": order["provider"],
        "credentials": order["credentials"], "parameters": parameters,
    });
    let document = json!({ "provider_image": image });
    let made = watcher.post(daemon, "/imagefactory/provider_images", &document);
    assert_eq!(made.status, 202, "{}", made.text());
    let id = json!({ "id": made.json()["provider_image"]["id"] });
    assert_eq!(daemon.ended(&id)["status"], "COMPLETE");
    let id = id["id"].as_str().unwrap();
    watcher.ask_about(daemon, id);
    let form = [("provider", "/nonexistent"), ("credentials", &*credentials()), ("target", "mock")];
    let form = form.map(|(key, value)| format!("{key}={}", percent_encoded(value))).join("&");
    let delete = daemon
        .request("DELETE", &format!("/imagefactory/provider_images/{id}"))
        .header("content-type", "application/x-www-form-urlencoded");
    assert_eq!(watcher.send(delete.body(form.into_bytes()).unwrap()).status, 204);
    wait_for("the deletion to fail", || {
        let image = daemon.get(&format!("/v1/images/{id}")).json();
        (image["status"] == "DELETEFAILED").then_some(())
    });
    watcher.ask_about(daemon, id);
}

/// Builds what ends well, what is skipped and what fails, and deletes what was pushed.
fn build_and_delete(watcher: &Watcher<'_>, daemon: &Daemon<'_>, order: &Value) {
    drop(watcher.post(daemon, "/v1/builds?dry_run=true", order));
    let built = watcher.post(daemon, "/v1/builds", order);
    let job = format!("/v1/jobs/{}", built.json()["job"].as_str().unwrap());
    let built = images(&built);
    let pushed = built.last().unwrap();
    assert_eq!(daemon.ended(&json!({ "id": pushed }))["status"], "COMPLETE");
    drop(watcher.get(daemon, &job));
    let mut skipped = order.clone();
    skipped["parameters"]["skip"] = json!(format!("{PARAMETER} as said"));
    let mut failing = order.clone();
    failing["parameters"]["fail_with"] = json!("panic");
    for order in [&skipped, &failing] {
        for id in images(&watcher.post(daemon, "/v1/builds", order)) {
            assert_ne!(daemon.ended(&json!({ "id": id }))["status"], "COMPLETE");
            watcher.ask_about(daemon, &id);
        }
    }
    for id in &built {
        watcher.ask_about(daemon, id);
    }
    let delete = daemon
        .request("DELETE", &format!("/v1/images/{pushed}"))
        .header("content-type", "application/json");
    let access = json!({ "provider": order["provider"], "credentials": credentials() });
    assert_eq!(watcher.send(delete.body(access.to_string().into_bytes()).unwrap()).status, 204);
}

/// Begins what takes long, with more that waits, and answers the images.
fn keep_busy(watcher: &Watcher<'_>, daemon: &Daemon<'_>, order: &Value) -> Vec<String> {
    let mut under_way = Vec::new();
    for number in 0..4 {
        let mut order = order.clone();
        order["parameters"]["delay_ms"] = json!(600_000 + number);
        under_way.extend(images(&watcher.post(daemon, "/v1/builds", &order)));
    }
    wait_for("the workers", || {
        let all = Process::descendants_of(daemon.id());
        (all.iter().filter(|process| process.is_worker()).count() >= 2).then_some(())
    });
    watcher.look_at_processes(daemon);
    for path in [
        "/metrics",
        "/v1/jobs",
        "/v1/jobs?state=done",
        "/v1/images",
        "/v1/health?full=true",
        "/v1/targets/mock",
        "/v1/plugins",
        "/v1/plugins/secretive",
    ] {
        drop(watcher.get(daemon, path));
    }
    under_way
}

/// Cancels what was under way, and asks about it.
fn cancel_all(watcher: &Watcher<'_>, daemon: &Daemon<'_>, images: &[String]) {
    for id in images {
        let cancel = daemon.request("POST", &format!("/v1/images/{id}/cancel"));
        drop(watcher.send(cancel.body(Vec::new()).unwrap()));
        drop(daemon.ended(&json!({ "id": id })));
        watcher.ask_about(daemon, id);
        watcher.run(&["images", "show", id, "--format", "json"]);
    }
    watcher.run(&["tokens", "list", "--format", "json"]);
}

#[test]
fn secrets_are_in_nothing_that_a_whole_run_of_the_daemon_leaves() {
    let workshop = Workshop::new();
    workshop.info("secretive", INFO);
    workshop.template_for("secretive.tdl", "Secretive");
    fs_err::create_dir(workshop.path("cloud")).unwrap();
    let receiver = Receiver::new(|number| Reply::Status(if number == 1 { 500 } else { 200 }));
    let daemon = Daemon::start(&workshop, &settings());
    let token = daemon.token().to_owned();
    let watcher = Watcher {
        workshop: &workshop,
        secrets: vec![
            Secret::new("token", token.strip_prefix("imageforge_").unwrap()),
            Secret::new("password of the provider", PASSWORD),
            Secret::new("secret parameter", PARAMETER),
            Secret::new("secret of callbacks", CALLBACKS),
            Secret::new("password in the address of a receiver", USERINFO),
            Secret::new("secret of a consumer", CONSUMER),
        ],
        heard: Mutex::default(),
        found: Mutex::default(),
        files: Mutex::default(),
        looked: AtomicUsize::new(0),
    };
    let order = order(&workshop, &receiver);
    build_and_delete(&watcher, &daemon, &order);
    as_old_clients_do(&watcher, &daemon, &order);
    send_what_is_wrong(&watcher, &daemon, &order, &token);
    let under_way = keep_busy(&watcher, &daemon, &order);
    watcher.assert_unseen();
    let said = daemon.said();
    assert_eq!(daemon.stop(Signal::KILL), None);
    watcher.hear("standard error", said());
    watcher.assert_unseen();

    // What waited is taken up again.
    let daemon = Daemon::start(&workshop, &settings());
    cancel_all(&watcher, &daemon, &under_way);
    drop(receiver.acknowledged(3));
    watcher.assert_unseen();
    let said = daemon.said();
    assert_eq!(daemon.stop(Signal::TERM), Some(0));
    watcher.hear("standard error", said());
    watcher.assert_unseen();
    assert!(watcher.looked.load(Ordering::Relaxed) > 300, "{:?}", watcher.looked);
    let audit = fs_err::read_to_string(workshop.data_dir().join("audit.log")).unwrap();
    assert!(audit.lines().count() > 20, "{audit}");
}

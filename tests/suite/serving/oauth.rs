//! Old clients: requests that an independent implementation of OAuth 1.0a signed.

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::{Answer, Daemon, Workshop, kill, wait_for};

const KEY: &str = "old-factory";
const SECRET: &str = "s&cr/et +%20ü";
const FORM: &str = "application/x-www-form-urlencoded";

/// Signs what it is told on its command line with oauthlib, and prints the header.
const SIGN: &str = "
import json, sys
from oauthlib import oauth1
r = json.loads(sys.argv[1])
client = oauth1.Client(r['key'], client_secret=r['secret'], signature_method=r['method'],
                       timestamp=r['timestamp'], nonce=r['nonce'], realm='factory')
kind = {'Content-Type': r['kind']} if r['kind'] else {}
print(client.sign(r['url'], r['verb'], body=r['body'], headers=kind)[1]['Authorization'])
";

/// A request that is signed; what is not set is as a client would have it.
struct Signing {
    document: Value,
}

impl Signing {
    fn of(daemon: &Daemon<'_>, verb: &str, path: &str) -> Self {
        let uri = daemon.anonymous(verb, path).body(()).unwrap().uri().to_string();
        let document = json!({
            "key": KEY, "secret": SECRET, "method": "HMAC-SHA1", "timestamp": null, "nonce": null,
            "verb": verb, "url": uri, "kind": null, "body": null,
        });
        Self { document }
    }

    fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.document[name] = value.into();
        self
    }

    fn body(self, kind: &str, body: impl Into<Value>) -> Self {
        self.with("kind", kind).with("body", body)
    }

    #[track_caller]
    fn header(&self) -> String {
        let ran = std::process::Command::new("/usr/bin/python3")
            .args(["-c", SIGN, &self.document.to_string()])
            .output()
            .unwrap();
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
        String::from_utf8(ran.stdout).unwrap().trim().to_owned()
    }

    #[track_caller]
    fn send_with(&self, header: &str) -> Answer {
        let text = |name: &str| self.document[name].as_str().unwrap_or_default().to_owned();
        let mut request = ureq::http::Request::builder()
            .method(&*text("verb"))
            .uri(text("url"))
            .header("authorization", header);
        if !text("kind").is_empty() {
            request = request.header("content-type", text("kind"));
        }
        Daemon::send(request.body(text("body").into_bytes()).unwrap())
    }

    #[track_caller]
    fn send(&self) -> Answer {
        self.send_with(&self.header())
    }

    #[track_caller]
    fn refused(&self) -> String {
        refusal(&self.send())
    }
}

/// Why somebody is not known.
#[track_caller]
fn refusal(answer: &Answer) -> String {
    assert_eq!(answer.status, 401, "{answer:?}");
    let challenges: Vec<_> = answer.headers.get_all("www-authenticate").iter().collect();
    assert!(
        challenges.iter().any(|value| *value == "OAuth realm=\"imageforge\""),
        "{challenges:?}"
    );
    assert_eq!(answer.json()["code"], "unauthenticated");
    answer.json()["detail"].as_str().unwrap().to_owned()
}

/// Settings of one consumer.
fn consumer(scopes: &str) -> String {
    format!("[serve.consumers.{KEY}]\nsecret = \"{SECRET}\"\nscopes = [{scopes}]\n")
}

fn template(workshop: &Workshop) -> String {
    fs_err::read_to_string(workshop.path("mock.tdl")).unwrap()
}

#[test]
fn an_old_client_builds_with_signed_documents_and_forms() {
    let workshop = Workshop::new();
    let daemon = Daemon::start(&workshop, &consumer("\"images:write\", \"plugins:read\""));
    let collection = "/imagefactory/base_images";
    let document = json!({ "base_image": { "template": template(&workshop) } }).to_string();
    let base = Signing::of(&daemon, "POST", collection).body("application/json", document).send();
    assert_eq!(base.status, 202, "{base:?}");
    let id = base.json()["base_image"]["id"].as_str().unwrap().to_owned();
    daemon.ended(&json!({ "id": id }));
    let form = format!("target=mock&parameters=%7B%7D&base_image_id={id}");
    let target = Signing::of(&daemon, "POST", "/imagefactory/target_images").body(FORM, form);
    let target = target.with("method", "HMAC-SHA256").send();
    assert_eq!(target.status, 202, "{target:?}");
    let target = json!({ "id": target.json()["target_image"]["id"] });
    assert_eq!(daemon.ended(&target)["status"], "COMPLETE");
    let path = format!("{collection}/{id}?a=%C3%BC+x&a=%2F&b");
    let shown = Signing::of(&daemon, "GET", &path).send();
    assert_eq!((shown.status, &shown.json()["base_image"]["id"]), (200, &json!(id)));
    let plugins = Signing::of(&daemon, "GET", "/imagefactory/plugins").send();
    assert_eq!(plugins.status, 200, "{plugins:?}");
}

#[test]
fn who_is_refused_is_told_what_is_wrong_but_not_who_is_known() {
    let workshop = Workshop::new();
    let daemon = Daemon::start(&workshop, &consumer("\"admin\""));
    let get = || Signing::of(&daemon, "GET", "/imagefactory/base_images");
    let wrong = get().with("secret", "guess").refused();
    assert_eq!(wrong, "the signature is wrong, or its consumer is unknown");
    assert_eq!(get().with("key", "nobody").refused(), wrong);
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
    for time in [now - 400, now + 400] {
        let refused = get().with("timestamp", time.to_string()).refused();
        assert!(refused.starts_with("the timestamp is "), "{refused}");
    }
    let before = get().with("timestamp", (now - 200).to_string()).refused();
    assert!(before.starts_with("the timestamp is from before the daemon began"), "{before}");
    let refused = get().with("method", "PLAINTEXT").refused();
    assert_eq!(refused, "the signature method is neither HMAC-SHA1 nor HMAC-SHA256");
    let anonymous = daemon.anonymous("GET", "/imagefactory/base_images");
    let anonymous = Daemon::send(anonymous.body(Vec::new()).unwrap());
    assert_eq!(refusal(&anonymous), "the request has no credentials");
}

#[test]
fn a_signature_is_good_for_one_request_as_it_was_signed() {
    let workshop = Workshop::new();
    let daemon = Daemon::start(&workshop, &consumer("\"admin\""));
    let get = Signing::of(&daemon, "GET", "/imagefactory/base_images?a=1");
    let header = get.header();
    let other = Signing::of(&daemon, "GET", "/imagefactory/base_images?a=2").send_with(&header);
    assert_eq!(refusal(&other), "the signature is wrong, or its consumer is unknown");
    assert_eq!(get.send_with(&header).status, 200);
    assert_eq!(refusal(&get.send_with(&header)), "the nonce was used before");

    // A proxy may have taken the encryption away.
    let url = get.document["url"].as_str().unwrap().replace("http:", "https:");
    let header = Signing::of(&daemon, "GET", "/").with("url", url).header();
    assert_eq!(get.send_with(&header).status, 200);

    let collection = "/imagefactory/target_images";
    let post = |kind, body: &str| Signing::of(&daemon, "POST", collection).body(kind, body);
    let form = post(FORM, "target=mock&base_image_id=x").header();
    let changed = post(FORM, "target=mock&base_image_id=y").send_with(&form);
    assert_eq!(refusal(&changed), "the signature is wrong, or its consumer is unknown");
    let kind = "application/json";
    let document = post(kind, "{}").header();
    let changed = post(kind, "{ }").send_with(&document);
    assert_eq!(refusal(&changed), "the body is not the one of `oauth_body_hash`");
}

#[test]
fn signatures_are_for_the_routes_of_old_clients_and_the_scopes_of_their_consumer() {
    let workshop = Workshop::new();
    let daemon = Daemon::start(&workshop, &consumer("\"images:read\""));
    let elsewhere = Signing::of(&daemon, "GET", "/v1/images").send();
    assert_eq!(elsewhere.status, 401);
    assert_eq!(elsewhere.headers["www-authenticate"], "Bearer realm=\"imageforge\"");
    let detail = elsewhere.json()["detail"].to_string();
    assert!(detail.contains("for `/imagefactory` only"), "{detail}");
    let id = "/imagefactory/base_images/00000000-0000-4000-8000-000000000000";
    assert_eq!(Signing::of(&daemon, "GET", id).send().status, 404);
    let forbidden = Signing::of(&daemon, "DELETE", id).send();
    assert_eq!((forbidden.status, &forbidden.json()["code"]), (403, &json!("forbidden")));
}

#[test]
fn consumers_change_with_the_settings_and_stay_when_the_new_ones_are_wrong() {
    let workshop = Workshop::new();
    let daemon = Daemon::start(&workshop, &consumer("\"images:read\""));
    let status = |secret: &str| {
        let get = Signing::of(&daemon, "GET", "/imagefactory/base_images");
        get.with("secret", secret).send().status
    };
    assert_eq!((status(SECRET), status("in a file")), (200, 401));
    let reload = |settings: &str| {
        workshop.write("serve.toml", format!("[serve]\nlisten = \"127.0.0.1:0\"\n{settings}"));
        kill(daemon.id(), Signal::HUP);
    };
    let file = workshop.write("secret", "in a file\n");
    let of_file =
        format!("[serve.consumers.{KEY}]\nsecret_file = \"secret\"\nscopes = [\"images:read\"]\n");
    let mode = |mode| {
        let mode = std::os::unix::fs::PermissionsExt::from_mode(mode);
        fs_err::set_permissions(&file, mode).unwrap();
    };
    mode(0o640);
    // The rates, which are taken up first, tell that the file was read.
    reload(&format!("rates = {{ failures_per_minute = 1 }}\n{of_file}"));
    wait_for("the new rates", || (status("wrong") == 429).then_some(()));
    reload(&format!("rates = {{ failures_per_minute = 0 }}\n{of_file}"));
    wait_for("the old consumers", || (status(SECRET) == 200).then_some(()));
    assert_eq!(status("in a file"), 401);
    mode(0o600);
    reload(&of_file);
    wait_for("the secret of the file", || (status("in a file") == 200).then_some(()));
    assert_eq!(status(SECRET), 401);
}

#[test]
fn a_consumer_that_could_not_be_meant_is_refused_and_its_secret_is_not_shown() {
    let workshop = Workshop::new();
    let file = workshop.write("secret", "hunter2");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    fs_err::set_permissions(file, mode).unwrap();
    for (settings, text) in [
        ("secret = \"hunter2\"", "consumer `a` has no `scopes`"),
        ("scopes = [\"admin\"]", "either `secret` or `secret_file`"),
        ("secret = \"hunter2\"\nsecret_file = \"x\"\nscopes = [\"admin\"]", "either `secret` or"),
        ("secret_file = \"secret\"\nscopes = [\"admin\"]", "has mode 644: others can read it"),
        ("secret_file = \"none\"\nscopes = [\"admin\"]", "the secret of consumer `a`"),
        ("secret = \"hunter2\"\nscopes = [\"images:reed\"]", "there is no scope `images:reed`"),
        ("secret = [\"hunter2\"]\nscopes = [\"admin\"]", "expected a text that is not empty"),
        ("secrets = \"hunter2\"\nscopes = [\"admin\"]", "did you mean `serve.consumers.a.secret`?"),
    ] {
        let settings = format!("[serve.consumers.a]\n{settings}\n");
        workshop.write("serve.toml", &settings);
        let refused = workshop.run(&["--config", "serve.toml", "serve"]).ended(3);
        refused.says(text).never_says("hunter2");
    }
}

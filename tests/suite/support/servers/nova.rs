//! A cloud's servers, as far as delivering needs them: a FAKE of OpenStack's Nova, which runs nothing.
//! What it makes of a server becomes an image of a real Glance.

use serde_json::{Value, json};

use crate::support::Daemon;

use super::fake::{Asked, Fake, Reply};
use super::{Glance, Keystone};

/// What the disk of every server holds.
const DISK: &[u8] = b"the disk of a running server";

/// A fake of Nova, with one server.
#[derive(Debug)]
pub(crate) struct FakeNova(Fake);

impl FakeNova {
    /// The id of its server.
    pub(crate) const SERVER: &'static str = "5e1f0000-0000-4000-8000-00000000ada1";
    /// The name of its server.
    pub(crate) const NAME: &'static str = "a-running-server";

    /// Starts one that puts images into `glance`, and is in the catalog of `keystone`.
    #[track_caller]
    pub(crate) fn start(glance: &Glance, keystone: Option<&Keystone>) -> Self {
        let glance = glance.url();
        let nova = Self(Fake::start(move |asked| decide(asked, &glance)));
        if let Some(keystone) = keystone {
            keystone.publish("compute", &nova.url());
        }
        nova
    }

    /// `http://127.0.0.1:PORT/v2.1`
    pub(crate) fn url(&self) -> String {
        format!("{}/v2.1", self.0.url())
    }

    /// All that it was asked: `POST /v2.1/…`
    pub(crate) fn asked(&self) -> Vec<String> {
        self.0.asked()
    }
}

fn decide(asked: &Asked, glance: &str) -> Reply {
    let server = json!({
        "id": FakeNova::SERVER, "name": FakeNova::NAME, "status": "ACTIVE",
        "OS-EXT-STS:task_state": null,
    });
    let found = |document: Value| (200, String::new(), document);
    let path: Vec<&str> = asked.path.trim_matches('/').split('/').skip(1).collect();
    match (asked.method.as_str(), path.as_slice()) {
        ("GET", []) => found(json!({ "version": { "id": "v2.1", "status": "CURRENT" } })),
        ("GET", ["servers"] | ["servers", "detail"]) => found(json!({ "servers": [server] })),
        ("GET", ["servers", FakeNova::SERVER]) => found(json!({ "server": server })),
        ("POST", ["servers", FakeNova::SERVER, "action"]) => {
            let wanted: Value = serde_json::from_slice(&asked.body).unwrap_or_default();
            let image = register(&wanted["createImage"], glance, asked.header("x-auth-token"));
            let location = format!("Location: {glance}/images/{image}\r\n");
            (202, location, json!({ "image_id": image }))
        },
        _ => {
            let message = json!({ "itemNotFound": { "code": 404, "message": "no such thing" } });
            (404, String::new(), message)
        },
    }
}

/// Makes an image in Glance and answers its id.
fn register(wanted: &Value, glance: &str, token: &str) -> String {
    let send = |method: &str, path: &str, kind: &str, body: Vec<u8>| {
        let mut request = ureq::http::Request::builder()
            .method(method)
            .uri(format!("{glance}{path}"))
            .header("content-type", kind);
        if !token.is_empty() {
            request = request.header("x-auth-token", token);
        }
        Daemon::send(request.body(body).unwrap())
    };
    let mut image = json!({
        "name": wanted["name"], "disk_format": "raw", "container_format": "bare",
        "image_type": "snapshot",
    });
    for (key, value) in wanted["metadata"].as_object().into_iter().flatten() {
        image[key] = value.clone();
    }
    let made = send("POST", "/v2/images", "application/json", image.to_string().into_bytes());
    assert_eq!(made.status, 201, "{}", made.text());
    let id = made.json()["id"].as_str().unwrap().to_owned();
    let path = format!("/v2/images/{id}/file");
    let filled = send("PUT", &path, "application/octet-stream", DISK.to_vec());
    assert_eq!(filled.status, 204, "{}", filled.text());
    id
}

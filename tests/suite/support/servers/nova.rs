//! A cloud's servers, as far as delivering needs them: a FAKE of OpenStack's Nova, which runs nothing.
//! What it makes of a server becomes an image of a real Glance.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::support::Daemon;

use super::{Glance, Keystone};

/// What the disk of every server holds.
const DISK: &[u8] = b"the disk of a running server";

/// A fake of Nova, with one server.
#[derive(Debug)]
pub(crate) struct FakeNova {
    port: u16,
    requests: Arc<Mutex<Vec<String>>>,
}

impl FakeNova {
    /// The id of its server.
    pub(crate) const SERVER: &'static str = "5e1f0000-0000-4000-8000-00000000ada1";
    /// The name of its server.
    pub(crate) const NAME: &'static str = "a-running-server";

    /// Starts one that puts images into `glance`, and is in the catalog of `keystone`.
    #[track_caller]
    pub(crate) fn start(glance: &Glance, keystone: Option<&Keystone>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (seen, glance) = (Arc::clone(&requests), glance.url());
        drop(std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (seen, glance) = (Arc::clone(&seen), glance.clone());
                drop(std::thread::spawn(move || answer(stream, &glance, &seen)));
            }
        }));
        let nova = Self { port, requests };
        if let Some(keystone) = keystone {
            keystone.publish("compute", &nova.url());
        }
        nova
    }

    /// `http://127.0.0.1:PORT/v2.1`
    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}/v2.1", self.port)
    }

    /// All that it was asked: `POST /v2.1/…`
    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

/// Reads one request and answers it.
fn answer(stream: TcpStream, glance: &str, seen: &Mutex<Vec<String>>) -> Option<()> {
    let mut reader = BufReader::new(stream);
    let mut lines = reader.by_ref().lines().map_while(Result::ok);
    let request = lines.next()?;
    let headers: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
    let header = |name: &str| {
        let mut pairs = headers.iter().filter_map(|line| line.split_once(": "));
        pairs.find(|(key, _)| key.eq_ignore_ascii_case(name)).map_or("", |(_, value)| value)
    };
    let mut body = vec![0; header("content-length").parse().unwrap_or(0)];
    reader.read_exact(&mut body).ok()?;
    let asked = request.rsplit_once(' ')?.0.to_owned();
    seen.lock().unwrap().push(asked.clone());
    let (status, document, location) = decide(&asked, &body, glance, header("x-auth-token"));
    let document = document.to_string();
    let answer = format!(
        "HTTP/1.1 {status} Fake\r\n{location}content-type: application/json\r\n\
         connection: close\r\ncontent-length: {}\r\n\r\n{document}",
        document.len()
    );
    reader.get_mut().write_all(answer.as_bytes()).ok()
}

/// Status, document and `Location` for a request.
fn decide(asked: &str, body: &[u8], glance: &str, token: &str) -> (u16, Value, String) {
    let server = json!({
        "id": FakeNova::SERVER, "name": FakeNova::NAME, "status": "ACTIVE",
        "OS-EXT-STS:task_state": null,
    });
    let (method, path) = asked.split_once(' ').unwrap_or_default();
    let path = path.split('?').next().unwrap_or_default();
    let path: Vec<&str> = path.trim_matches('/').split('/').skip(1).collect();
    match (method, path.as_slice()) {
        ("GET", []) => {
            (200, json!({ "version": { "id": "v2.1", "status": "CURRENT" } }), String::new())
        },
        ("GET", ["servers"] | ["servers", "detail"]) => {
            (200, json!({ "servers": [server] }), String::new())
        },
        ("GET", ["servers", FakeNova::SERVER]) => (200, json!({ "server": server }), String::new()),
        ("POST", ["servers", FakeNova::SERVER, "action"]) => {
            let wanted: Value = serde_json::from_slice(body).unwrap_or_default();
            let image = register(&wanted["createImage"], glance, token);
            (202, json!({ "image_id": image }), format!("Location: {glance}/images/{image}\r\n"))
        },
        _ => (
            404,
            json!({ "itemNotFound": { "code": 404, "message": "no such thing" } }),
            String::new(),
        ),
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

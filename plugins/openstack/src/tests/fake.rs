//! A fake of keystone, Glance and Nova: no store, no users, no machines, but their answers and refusals.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use plugin_kit::transfer::testing::{Exchange, Server};
use serde_json::{Value, json};
use sha2::{Digest, Sha512};

pub(super) const PASSWORD: &str = "swordfish";
/// Tokens begin with it; the first is number 1.
const TOKEN: &str = "gAAAAA-token-";

pub(super) fn body() -> Vec<u8> {
    (0..600_000_u32).flat_map(u32::to_le_bytes).collect()
}

/// What a test has the fake do otherwise; the answer is `None` when it has done nothing.
pub(super) type Trouble =
    dyn Fn(&State, Exchange) -> Result<io::Result<()>, Exchange> + Send + Sync;

/// What the fake knows.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) images: Mutex<BTreeMap<String, Value>>,
    pub(super) servers: Mutex<BTreeMap<String, Value>>,
    /// What a server becomes when it is looked at, and what its console shows then.
    pub(super) fate: Mutex<(&'static str, String)>,
    pub(super) tokens: Mutex<u32>,
    /// What was posted to keystone.
    pub(super) signed_in: Mutex<Vec<Value>>,
    /// How often the trouble was asked.
    pub(super) asked: Mutex<u32>,
}

impl State {
    pub(super) fn images(&self) -> MutexGuard<'_, BTreeMap<String, Value>> {
        self.images.lock().unwrap()
    }

    pub(super) fn count(&self) -> u32 {
        let mut asked = self.asked.lock().unwrap();
        *asked += 1;
        *asked
    }
}

pub(super) struct Fake {
    pub(super) server: Server,
    pub(super) state: Arc<State>,
}

impl Fake {
    /// A fake without trouble.
    pub(super) fn start() -> Self {
        Self::with(|_, exchange| Err(exchange))
    }

    /// A fake that lets `trouble` answer first. `needs_token` is so once somebody has signed in.
    pub(super) fn with(
        trouble: impl Fn(&State, Exchange) -> Result<io::Result<()>, Exchange> + Send + Sync + 'static,
    ) -> Self {
        let state = Arc::new(State::default());
        let known = Arc::clone(&state);
        let trouble: Box<Trouble> = Box::new(trouble);
        let server = Server::start(move |exchange| match trouble(&known, exchange) {
            Ok(answered) => answered,
            Err(exchange) => answer(&known, exchange),
        })
        .unwrap();
        Self { server, state }
    }

    pub(super) fn url(&self) -> String {
        self.server.url()
    }

    /// The only image.
    pub(super) fn image(&self) -> Value {
        let images = self.state.images();
        assert_eq!(images.len(), 1, "{images:?}");
        images.values().next().cloned().unwrap()
    }

    /// How often this was asked, `METHOD /path`.
    pub(super) fn times(&self, beginning: &str) -> usize {
        self.server.seen().iter().filter(|seen| seen.starts_with(beginning)).count()
    }
}

fn answer(state: &State, exchange: Exchange) -> io::Result<()> {
    if exchange.path == "/identity/v3/auth/tokens" {
        return sign_in(state, exchange);
    }
    let newest = *state.tokens.lock().unwrap();
    let is_known = exchange.header("x-auth-token") == Some(&*format!("{TOKEN}{newest}"));
    if newest > 0 && !is_known {
        return exchange.json(401, &json!({"message": "This server could not verify you"}));
    }
    let path = exchange.path.clone();
    let (path, query) = path.split_once('?').unwrap_or((&path, ""));
    let parts: Vec<&str> = path.split('/').skip(1).collect();
    match (&*exchange.method.clone(), parts.as_slice()) {
        ("GET", ["v2", "images"]) => {
            let status = query.split_once("status=").map(|(_, status)| status.to_owned());
            let images: Vec<Value> = state
                .images()
                .values()
                .filter(|image| status.as_ref().is_none_or(|status| image["status"] == **status))
                .cloned()
                .collect();
            exchange.json(200, &json!({ "images": images }))
        },
        ("POST", ["v2", "images"]) => create(state, exchange),
        ("GET", ["v2", "images", id]) => match state.images().get(*id).cloned() {
            Some(image) => exchange.json(200, &image),
            None => exchange.json(404, &json!({"message": "No image found"})),
        },
        ("PUT", ["v2", "images", id, "file"]) => receive(state, id, exchange),
        ("PATCH", ["v2", "images", id]) => change(state, id, exchange),
        ("DELETE", ["v2", "images", id]) => delete(state, id, exchange),
        _ => nova(state, exchange, &parts),
    }
}

fn nova(state: &State, mut exchange: Exchange, parts: &[&str]) -> io::Result<()> {
    match (&*exchange.method.clone(), parts) {
        ("GET", [_, "flavors"]) => exchange.json(200, &json!({"flavors": []})),
        ("GET", [_, "flavors", "f1"]) => exchange.json(200, &json!({"flavor": {"id": "f1"}})),
        ("GET", [_, "servers"]) => {
            let servers: Vec<Value> = state.servers.lock().unwrap().values().cloned().collect();
            exchange.json(200, &json!({ "servers": servers }))
        },
        ("POST", [_, "servers"]) => {
            let mut server = exchange.document()?["server"].take();
            server["id"] = "s1".into();
            server["status"] = "BUILD".into();
            state.servers.lock().unwrap().insert("s1".to_owned(), server.clone());
            exchange.json(202, &json!({ "server": server }))
        },
        ("GET", [_, "servers", id]) => {
            let mut servers = state.servers.lock().unwrap();
            let Some(server) = servers.get_mut(*id) else {
                return exchange.json(404, &json!({"itemNotFound": {"message": "no server"}}));
            };
            server["status"] = state.fate.lock().unwrap().0.into();
            exchange.json(200, &json!({ "server": server }))
        },
        ("DELETE", [_, "servers", id]) => {
            state.servers.lock().unwrap().remove(*id);
            exchange.answer(204, &[], b"")
        },
        ("POST", [_, "servers", _, "action"]) => {
            let action = exchange.document()?;
            if action["os-getConsoleOutput"].is_object() {
                let output = state.fate.lock().unwrap().1.clone();
                return exchange.json(200, &json!({ "output": output }));
            }
            let mut image = action["createImage"]["metadata"].clone();
            image["id"] = "i1".into();
            image["name"] = action["createImage"]["name"].clone();
            image["status"] = "active".into();
            state.images().insert("i1".to_owned(), image);
            let host = exchange.header("host").unwrap_or_default();
            let place = format!("http://{host}/v2/images/i1");
            exchange.answer(202, &[("location", &place)], b"")
        },
        _ => exchange.json(404, &json!({"message": "no such path"})),
    }
}

fn sign_in(state: &State, mut exchange: Exchange) -> io::Result<()> {
    let document = match exchange.method.as_str() {
        // About a token, which whoever has it may ask.
        "GET" if exchange.header("x-auth-token") == exchange.header("x-subject-token") => {
            json!(exchange.header("x-auth-token"))
        },
        _ => exchange.document()?,
    };
    state.signed_in.lock().unwrap().push(document.clone());
    if !document.to_string().contains(&format!("\"{PASSWORD}\"")) {
        let words = format!("no, {document}");
        return exchange.json(401, &json!({"error": {"message": words, "code": 401}}));
    }
    let mut tokens = state.tokens.lock().unwrap();
    *tokens += 1;
    let host = exchange.header("host").unwrap_or_default();
    let url = format!("http://{host}/v2");
    let endpoint = |region: &str| json!({"interface": "public", "region_id": region, "url": url});
    let token = json!({"token": {
        "project": {"name": "images"},
        "user": {"name": "ada"},
        "catalog": [
            {"type": "image", "endpoints": [endpoint("north"), endpoint("south")]},
            {"type": "compute", "endpoints": [endpoint("north")]},
        ],
    }});
    exchange.answer(
        201,
        &[("x-subject-token", &format!("{TOKEN}{tokens}"))],
        token.to_string().as_bytes(),
    )
}

fn create(state: &State, mut exchange: Exchange) -> io::Result<()> {
    let mut image = exchange.document()?;
    let id = image["id"].as_str().unwrap().to_owned();
    if image["visibility"] == "public" {
        return exchange.json(
            403,
            &json!({"message": "You are not authorized to complete publicize_image action."}),
        );
    }
    if image["protected"] == true {
        return exchange.json(400, &json!({"message": "not in this fake"}));
    }
    let mut images = state.images();
    if images.contains_key(&id) {
        return exchange.json(409, &json!({"message": "exists"}));
    }
    image["status"] = "queued".into();
    images.insert(id, image.clone());
    exchange.json(201, &image)
}

fn receive(state: &State, id: &str, mut exchange: Exchange) -> io::Result<()> {
    let Some(mut image) = state.images().get(id).cloned() else {
        return exchange.json(404, &json!({"message": "No image found"}));
    };
    if image["status"] != "queued" {
        return exchange.json(409, &json!({"message": "image status transition"}));
    }
    let wanted: usize = exchange.header("content-length").unwrap().parse().unwrap();
    let bytes = exchange.body()?;
    if bytes.len() < wanted {
        return Ok(());
    }
    image["status"] = "active".into();
    image["size"] = bytes.len().into();
    image["os_hash_algo"] = "sha512".into();
    image["os_hash_value"] = hex::encode(Sha512::digest(&bytes)).into();
    state.images().insert(id.to_owned(), image);
    exchange.answer(204, &[], b"")
}

fn change(state: &State, id: &str, mut exchange: Exchange) -> io::Result<()> {
    let changes = exchange.document()?;
    for change in changes.as_array().unwrap() {
        let name = change["path"].as_str().unwrap().trim_start_matches('/').to_owned();
        state.images().get_mut(id).unwrap()[name] = change["value"].clone();
    }
    exchange.json(200, &json!({}))
}

fn delete(state: &State, id: &str, exchange: Exchange) -> io::Result<()> {
    let mut images = state.images();
    match images.get(id) {
        None => exchange.json(404, &json!({"message": "No image found"})),
        Some(image) if image["protected"] == true => exchange.json(
            403,
            &json!({"message": format!("Image {id} is protected and cannot be deleted.")}),
        ),
        Some(_) => {
            images.remove(id);
            exchange.answer(204, &[], b"")
        },
    }
}

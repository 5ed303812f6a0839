//! A small registry in memory, with the habits and the bad days of real ones.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use plugin_kit::transfer::testing::{Exchange, Server};
use serde_json::{Value, json};

use crate::documents::digest;

/// What a registry does.
#[derive(Clone, Debug, Default)]
pub(super) struct Habits {
    /// Asks for a token, which its token service gives ada for `secret`.
    pub(super) wants_token: bool,
    /// Tokens are good for so many requests.
    pub(super) token_lasts: Option<u32>,
    /// Takes no chunk without its length.
    pub(super) wants_length: bool,
    /// Takes no chunks at all.
    pub(super) takes_no_chunks: bool,
    /// Hangs up on the first chunks after so many bytes.
    pub(super) cuts: Vec<u64>,
    /// Says nothing at all to the chunk that starts here.
    pub(super) silent_at: Option<u64>,
    /// Does not let uploads or images be deleted.
    pub(super) deletes_nothing: bool,
    /// Lists what refers to an image.
    pub(super) lists_referrers: bool,
    /// Takes no manifest under this tag.
    pub(super) refuses: Option<&'static str>,
    /// Claims to have taken another manifest.
    pub(super) mixes_up: bool,
}

#[derive(Debug, Default)]
pub(super) struct State {
    habits: Habits,
    pub(super) blobs: BTreeMap<String, Vec<u8>>,
    pub(super) uploads: BTreeMap<String, Vec<u8>>,
    /// By repository and tag or digest.
    pub(super) manifests: BTreeMap<String, Vec<u8>>,
    pub(super) ranges: Vec<String>,
    pub(super) tokens: u32,
    uses: u32,
    next: u32,
}

pub(super) struct FakeRegistry {
    pub(super) server: Server,
    state: Arc<Mutex<State>>,
}

type Said = (u16, Vec<(&'static str, String)>, Vec<u8>);

impl FakeRegistry {
    pub(super) fn start(habits: Habits) -> Self {
        let state = Arc::new(Mutex::new(State { habits, ..State::default() }));
        let shared = Arc::clone(&state);
        let server = Server::start(move |exchange| answer(&shared, exchange)).unwrap();
        Self { server, state }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// `127.0.0.1:PORT/team/web:v1`
    pub(super) fn provider(&self) -> String {
        format!("{}/team/web:v1", self.server.url().trim_start_matches("http://"))
    }

    /// How often something was asked that starts so.
    pub(super) fn asked(&self, start: &str) -> usize {
        self.server.seen().iter().filter(|seen| seen.starts_with(start)).count()
    }
}

fn answer(state: &Mutex<State>, mut exchange: Exchange) -> io::Result<()> {
    let (path, query) = match exchange.path.split_once('?') {
        Some((path, query)) => (path.to_owned(), query.to_owned()),
        None => (exchange.path.clone(), String::new()),
    };
    if path == "/token" {
        let allowed = exchange.header("authorization") == Some("Basic YWRhOnNlY3JldA==");
        let mut state = state.lock().unwrap();
        state.tokens += 1;
        state.uses = 0;
        // Less than the specification allows, as some have it.
        let token = json!({ "token": format!("token-{}", state.tokens), "expires_in": 5 });
        let refused = json!({"details": "incorrect username or password"});
        return if allowed { exchange.json(200, &token) } else { exchange.json(401, &refused) };
    }
    if let Some(challenge) = challenge(&mut state.lock().unwrap(), &exchange) {
        let wanted = [("www-authenticate", "Negotiate"), ("www-authenticate", &challenge)];
        return exchange.answer(401, &wanted, b"");
    }
    if exchange.method == "PATCH" && !spoiled(state, &mut exchange, &path)? {
        return Ok(());
    }
    let body = exchange.body()?;
    let method = exchange.method.clone();
    let (status, headers, bytes) = said(&mut state.lock().unwrap(), &method, &path, &query, body);
    let headers: Vec<(&str, &str)> =
        headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    exchange.answer(status, &headers, &bytes)
}

fn challenge(state: &mut State, exchange: &Exchange) -> Option<String> {
    let token = format!("Bearer token-{}", state.tokens);
    state.uses += 1;
    let worn = state.habits.token_lasts.is_some_and(|most| state.uses > most);
    if !state.habits.wants_token || (exchange.header("authorization") == Some(&token) && !worn) {
        return None;
    }
    let host = exchange.header("host").unwrap_or_default();
    Some(format!(r#"Bearer realm="http://{host}/token",service="fake",scope="repository:x:pull""#))
}

/// Bad days of a chunk; `false` when it was not answered.
fn spoiled(state: &Mutex<State>, exchange: &mut Exchange, path: &str) -> io::Result<bool> {
    let mut locked = state.lock().unwrap();
    let range = exchange.header("content-range").unwrap_or("-").to_owned();
    locked.ranges.push(range);
    let sized = exchange.header("content-length").is_some();
    let refused = locked.habits.takes_no_chunks || (locked.habits.wants_length && !sized);
    if refused {
        // Taken as empty by `said`, which refuses it.
        return Ok(true);
    }
    let have = locked.uploads.get(path).map_or(0, Vec::len) as u64;
    let cut = if locked.habits.cuts.is_empty() { None } else { Some(locked.habits.cuts.remove(0)) };
    let silent = locked.habits.silent_at == Some(have);
    drop(locked);
    if let Some(bytes) = cut {
        let part = exchange.take(bytes)?;
        state.lock().unwrap().uploads.entry(path.to_owned()).or_default().extend(part);
        return Ok(false);
    }
    if silent {
        // A client that ends its body is answered.
        let part = exchange.body()?;
        std::thread::sleep(std::time::Duration::from_millis(300));
        let mut locked = state.lock().unwrap();
        locked.uploads.entry(path.to_owned()).or_default().extend(part);
        locked.habits.silent_at = None;
    }
    Ok(true)
}

fn said(state: &mut State, method: &str, path: &str, query: &str, body: Vec<u8>) -> Said {
    let plain = |status: u16| (status, Vec::new(), Vec::new());
    if path == "/v2/" {
        return plain(200);
    }
    if path.ends_with("/blobs/uploads/") {
        state.next += 1;
        let location = format!("{path}{}", state.next);
        state.uploads.insert(location.clone(), Vec::new());
        return (202, vec![("location", location)], Vec::new());
    }
    if path.contains("/blobs/uploads/") {
        return upload(state, method, path, query, body);
    }
    if let Some((_, digest)) = path.split_once("/blobs/") {
        return plain(if state.blobs.contains_key(digest) { 200 } else { 404 });
    }
    if let Some((_, subject)) = path.split_once("/referrers/") {
        return referrers(state, subject);
    }
    match path.split_once("/manifests/") {
        Some((_, reference)) => manifest(state, method, reference, body),
        None => plain(404),
    }
}

fn upload(state: &mut State, method: &str, path: &str, query: &str, body: Vec<u8>) -> Said {
    let plain = |status: u16| (status, Vec::new(), Vec::new());
    if !state.uploads.contains_key(path) {
        return plain(404);
    }
    if method == "DELETE" && state.habits.deletes_nothing {
        return plain(405);
    }
    if method == "DELETE" {
        state.uploads.remove(path);
        return plain(204);
    }
    if method == "PATCH" && state.habits.takes_no_chunks {
        return plain(405);
    }
    if method == "PATCH"
        && state.habits.wants_length
        && state.ranges.last().is_some_and(|range| range == "-")
    {
        return plain(411);
    }
    let have = state.uploads.entry(path.to_owned()).or_default();
    have.extend(body);
    let range = format!("0-{}", have.len().saturating_sub(1));
    if method != "PUT" {
        let status = if method == "GET" { 204 } else { 202 };
        return (status, vec![("location", path.to_owned()), ("range", range)], Vec::new());
    }
    let wanted = query.split_once("digest=").map_or("", |(_, digest)| digest).to_owned();
    let bytes = state.uploads.remove(path).unwrap_or_default();
    if digest(&bytes) != wanted {
        let error = json!({"errors": [{"code": "DIGEST_INVALID", "message": "digest invalid"}]});
        return (400, Vec::new(), error.to_string().into_bytes());
    }
    state.blobs.insert(wanted, bytes);
    plain(201)
}

fn manifest(state: &mut State, method: &str, reference: &str, body: Vec<u8>) -> Said {
    let plain = |status: u16| (status, Vec::new(), Vec::new());
    match method {
        "PUT" if state.habits.refuses == Some(reference) => plain(403),
        "PUT" => {
            let found = if state.habits.mixes_up { digest(b"another") } else { digest(&body) };
            let subject = serde_json::from_slice::<Value>(&body).unwrap_or_default();
            let subject = subject["subject"]["digest"].as_str().map(str::to_owned);
            state.manifests.insert(digest(&body), body.clone());
            state.manifests.insert(reference.to_owned(), body);
            let mut headers = vec![("docker-content-digest", found)];
            let listed = subject.filter(|_| state.habits.lists_referrers);
            headers.extend(listed.map(|subject| ("oci-subject", subject)));
            (201, headers, Vec::new())
        },
        "DELETE" if state.habits.deletes_nothing => plain(405),
        "DELETE" => match state.manifests.remove(reference) {
            Some(gone) => {
                state.manifests.retain(|_, other| *other != gone);
                plain(202)
            },
            None => plain(404),
        },
        _ => match state.manifests.get(reference) {
            Some(bytes) => (200, vec![("docker-content-digest", digest(bytes))], bytes.clone()),
            None => plain(404),
        },
    }
}

fn referrers(state: &State, subject: &str) -> Said {
    if !state.habits.lists_referrers {
        return (404, Vec::new(), Vec::new());
    }
    let listed: Vec<Value> = state
        .manifests
        .iter()
        .filter(|(reference, bytes)| {
            let manifest: Value = serde_json::from_slice(bytes).unwrap_or_default();
            reference.starts_with("sha256:") && manifest["subject"]["digest"] == subject
        })
        .map(|(digest, bytes)| json!({"digest": digest, "size": bytes.len()}))
        .collect();
    let index = json!({"schemaVersion": 2, "manifests": listed});
    (200, Vec::new(), index.to_string().into_bytes())
}

//! How everybody here reaches the daemon, which may be another one at another address after a restart.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde_json::Value;
use ureq::Agent;
use ureq::http::{Request, Response};

use crate::support::Daemon;

/// Longest time that an answer may take.
const PATIENCE: Duration = Duration::from_mins(1);

/// Where the daemon is now.
#[derive(Debug)]
pub(super) struct Place {
    address: Mutex<String>,
    token: String,
}

impl Place {
    pub(super) fn of(daemon: &Daemon<'_>) -> Self {
        Self { address: Mutex::new(daemon.address().to_owned()), token: daemon.token().to_owned() }
    }

    /// Another daemon has taken over.
    pub(super) fn move_to(&self, daemon: &Daemon<'_>) {
        let mut address = self.address.lock().unwrap_or_else(PoisonError::into_inner);
        daemon.address().clone_into(&mut address);
    }

    /// `http://HOST:PORT`
    pub(super) fn address(&self) -> String {
        self.address.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The value of `Authorization`.
    pub(super) fn authorization(&self) -> String {
        format!("Bearer {}", self.token)
    }
}

/// A client with connections of its own.
#[derive(Debug)]
pub(super) struct Client<'p> {
    place: &'p Place,
    agent: Agent,
}

impl<'p> Client<'p> {
    pub(super) fn new(place: &'p Place) -> Self {
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(PATIENCE))
            .build()
            .into();
        Self { place, agent }
    }

    /// Status and body of `GET`.
    pub(super) fn get(&self, path: &str) -> Result<(u16, String), ureq::Error> {
        let request = self.request("GET", path).body(Vec::new()).unwrap();
        read(self.agent.run(request)?)
    }

    /// Status and body of `POST`, with an idempotency key.
    pub(super) fn post(
        &self,
        path: &str,
        key: &str,
        document: &Value,
    ) -> Result<(u16, String), ureq::Error> {
        let request = self
            .request("POST", path)
            .header("content-type", "application/json")
            .header("idempotency-key", key)
            .body(document.to_string().into_bytes())
            .unwrap();
        read(self.agent.run(request)?)
    }

    fn request(&self, method: &str, path: &str) -> ureq::http::request::Builder {
        Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.place.address()))
            .header("authorization", self.place.authorization())
    }
}

fn read(mut response: Response<ureq::Body>) -> Result<(u16, String), ureq::Error> {
    let text = response.body_mut().with_config().limit(64 << 20).read_to_string()?;
    Ok((response.status().as_u16(), text))
}

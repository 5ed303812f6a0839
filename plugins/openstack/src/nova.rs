//! Nova, the compute service, version 2.1 of its API.

use std::time::{Duration, Instant};

use plugin_api::DelegateError;
use plugin_kit::transfer::{Request, TransferError};
use serde_json::{Value, json};

use crate::glance::encoded;
use crate::session::{Session, has_version};

/// How often is looked how a server is.
const LOOK: Duration = Duration::from_secs(1);
/// Lines of a console that are read.
const CONSOLE_LINES: u32 = 200;

/// Nova, as somebody who is signed in sees it.
#[derive(Debug)]
pub(crate) struct Nova<'s, 'a> {
    session: &'s Session<'a>,
    base: String,
    /// How long a server may take for what is waited for.
    timeout: Duration,
}

impl<'s, 'a> Nova<'s, 'a> {
    /// The compute service of a session.
    ///
    /// # Errors
    /// When the catalogue has none, or several.
    pub(crate) fn new(session: &'s Session<'a>, timeout: Duration) -> Result<Self, DelegateError> {
        let endpoint = session.endpoint("compute")?;
        let base = if has_version(&endpoint) { endpoint } else { format!("{endpoint}/v2.1") };
        Ok(Self { session, base, timeout })
    }

    /// Where a server is.
    pub(crate) fn url(&self, id: &str) -> String {
        format!("{}/servers/{}", self.base, encoded(id))
    }

    fn get(&self, path: &str) -> Result<Value, TransferError> {
        self.session.send(&Request::get(format!("{}/{path}", self.base)))?.json()
    }

    /// The identifier of the server or flavour that `given` is the identifier or the name of.
    ///
    /// # Errors
    /// `NotFound`, and `Conflict` when several have that name.
    pub(crate) fn find(&self, kind: &str, given: &str) -> Result<String, DelegateError> {
        let direct = Request::get(format!("{}/{kind}s/{}", self.base, encoded(given)))
            .accept(404)
            .accept(400);
        let answer = self.session.send(&direct)?;
        if answer.status() < 300 {
            let document: Value = answer.json()?;
            return Ok(document[kind]["id"].as_str().unwrap_or(given).to_owned());
        }
        let list = self.get(&format!("{kind}s?name={}", exactly(given)))?;
        only(kind, given, &list[format!("{kind}s")])
    }

    /// Starts a server and answers its identifier.
    pub(crate) fn start(&self, document: &Value) -> Result<String, TransferError> {
        let answer =
            self.session.send(&Request::post(format!("{}/servers", self.base)).json(document))?;
        let document: Value = answer.json()?;
        document["server"]["id"].as_str().map(str::to_owned).ok_or_else(|| answer.no_sense())
    }

    /// Identifiers of all servers of this name, for when the answer to starting one was lost.
    pub(crate) fn named(&self, name: &str) -> Result<Vec<String>, TransferError> {
        let list = self.get(&format!("servers?name={}", exactly(name)))?;
        let servers = list["servers"].as_array().cloned().unwrap_or_default();
        let servers = servers.iter().filter(|server| server["name"] == name);
        Ok(servers.filter_map(|server| Some(server["id"].as_str()?.to_owned())).collect())
    }

    /// Waits until a server is in `state`.
    pub(crate) fn wait_for(&self, id: &str, state: &str) -> Result<(), DelegateError> {
        let start = Instant::now();
        loop {
            let mut document = self.get(&format!("servers/{}", encoded(id)))?;
            let server = document["server"].take();
            let status = server["status"].as_str().unwrap_or_default();
            if status == state {
                return Ok(());
            }
            if matches!(status, "ERROR" | "DELETED" | "SOFT_DELETED") {
                let why = server["fault"]["message"].as_str().unwrap_or_default();
                let message = format!("server `{id}` is `{status}` instead of `{state}`");
                let why = self.session.client().shown(why);
                return Err(DelegateError::failed(message).because(why));
            }
            if start.elapsed() >= self.timeout {
                let seconds = self.timeout.as_secs();
                let message = format!("server `{id}` did not become `{state}` within {seconds} s");
                return Err(DelegateError::unavailable(message)
                    .because(format!("it is `{status}`"))
                    .hint("look at its console, or give it more time by parameter `timeout`"));
            }
            self.session.client().sleep(LOOK)?;
        }
    }

    /// The end of what a server said on its console; `None` where the cloud does not tell.
    pub(crate) fn console(&self, id: &str) -> Result<Option<String>, TransferError> {
        let document = json!({ "os-getConsoleOutput": { "length": CONSOLE_LINES } });
        let request =
            Request::post(format!("{}/action", self.url(id))).json(&document).repeatable(true);
        match self.session.send(&request) {
            Ok(answer) => {
                let document: Value = answer.json()?;
                Ok(document["output"].as_str().map(str::to_owned))
            },
            Err(error) if matches!(error.status(), Some(400..=499 | 501)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Makes an image of a server's disk, and answers the identifier of the image.
    pub(crate) fn make_image(
        &self,
        id: &str,
        name: &str,
        metadata: &Value,
    ) -> Result<String, TransferError> {
        let document = json!({ "createImage": { "name": name, "metadata": metadata } });
        let request = Request::post(format!("{}/action", self.url(id))).json(&document);
        let answer = self.session.send(&request)?;
        // Newer versions tell it in the body, older ones where the image is.
        let told = answer.json::<Value>().unwrap_or_default();
        let told = told["image_id"].as_str().map(str::to_owned);
        let place = answer.header("location").and_then(|url| url.rsplit('/').next());
        told.or_else(|| place.map(str::to_owned)).ok_or_else(|| answer.no_sense())
    }
}

/// The filter for a name: to Nova it is a regular expression.
fn exactly(name: &str) -> String {
    let is_plain = |c: &char| c.is_alphanumeric() || matches!(c, '-' | '_' | ' ');
    let escaped: String =
        name.chars().flat_map(|c| (!is_plain(&c)).then_some('\\').into_iter().chain([c])).collect();
    encoded(&format!("^{escaped}$"))
}

/// The identifier of the only one of `list` with this name.
pub(crate) fn only(kind: &str, name: &str, list: &Value) -> Result<String, DelegateError> {
    let list = list.as_array().map(Vec::as_slice).unwrap_or_default();
    let named: Vec<&Value> = list.iter().filter(|item| item["name"] == name).collect();
    match named.as_slice() {
        [item] => Ok(item["id"].as_str().unwrap_or_default().to_owned()),
        [] => Err(DelegateError::not_found(format!("there is no {kind} `{name}`")).hint(format!(
            "`openstack {kind} list` shows what there is, for the same credentials"
        ))),
        _ => Err(DelegateError::conflict(format!("several {kind}s are called `{name}`"))
            .hint("give the identifier")),
    }
}

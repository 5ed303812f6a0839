//! A daemon, asked over HTTP: what `--server` of the command line speaks.
//!
//! [`Server`] asks for one thing at a time and answers with the types of the store. Each request has a
//! connection of its own, since most commands send one or two. [`Follower`] hears of events as they
//! happen, and takes up a broken connection where it was; [`Server::download`] does so with bodies.

mod address;
mod download;
mod error;
mod follow;
mod requests;
mod trust;
mod upload;
mod wire;

use std::time::{Duration, Instant};

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::runtime::Runtime;
use tokio::time::timeout;

use crate::failures::{Failure, Failures};

pub use address::Address;
pub use error::ClientError;
pub use follow::{Follower, News, Until};
pub use requests::Submitted;
use trust::Tls;
pub use trust::Trust;
use wire::Body;

/// The version of the API that is spoken here.
const API_VERSION: &str = "1";
/// Longest document that is read, in bytes.
const MAX_DOCUMENT_BYTES: usize = 256 << 20;
/// Time in which an answer must begin; a plan asks every plugin, and some of them ask others.
const ANSWER: Duration = Duration::from_mins(5);
/// Time in which the next part of an answer must come.
const SILENCE: Duration = Duration::from_mins(1);
/// How often a request is sent again that the server has no time for, and how long it may ask to wait.
const BUSY_RETRIES: u32 = 5;
const MAX_BUSY_WAIT: Duration = Duration::from_mins(1);

/// How a server is reached, and as whom.
pub struct ServerOptions {
    /// Where it is.
    pub address: Address,
    /// Which certificate it may show.
    pub trust: Trust,
    /// What it knows the caller by; not sent to a socket of this machine, where the kernel tells.
    pub token: Option<String>,
    /// Hears, in a sentence, of troubles that will pass.
    pub on_trouble: Box<dyn Fn(&str)>,
}

/// A daemon that was found to be one.
pub struct Server {
    address: Address,
    tls: Option<Tls>,
    authorization: Option<HeaderValue>,
    on_trouble: Box<dyn Fn(&str)>,
    runtime: Runtime,
}

/// Without the token.
impl std::fmt::Debug for ServerOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServerOptions").field("address", &self.address).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").field("address", &self.address).finish_non_exhaustive()
    }
}

/// A request that is not yet sent.
struct Asked<'a> {
    method: Method,
    path: &'a str,
    headers: HeaderMap,
    document: Option<&'a Value>,
}

impl<'a> Asked<'a> {
    fn new(method: Method, path: &'a str) -> Self {
        Self { method, path, headers: HeaderMap::new(), document: None }
    }

    fn with(mut self, document: &'a Value) -> Self {
        self.document = Some(document);
        self
    }

    fn header(mut self, name: header::HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }
}

impl Server {
    /// Reaches a server and makes sure that it is a daemon that can be spoken with.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn connect(options: ServerOptions) -> Result<Self, ClientError> {
        let bearer = |token: String| {
            let mut value = HeaderValue::try_from(format!("Bearer {token}"))?;
            value.set_sensitive(true);
            Ok::<_, header::InvalidHeaderValue>(value)
        };
        let tls = match &options.address {
            Address::Tls { .. } => Some(Tls::new(&options.trust)?),
            Address::Loopback { .. } if options.trust.is_particular() => {
                return Err(ClientError::NoTls { server: options.address });
            },
            Address::Loopback { .. } | Address::Socket(_) => None,
        };
        let is_known = matches!(options.address, Address::Socket(_));
        let token = options.token.filter(|_| !is_known).map(bearer);
        let server = Self {
            address: options.address,
            tls,
            authorization: token.transpose().map_err(|_| ClientError::Token)?,
            on_trouble: options.on_trouble,
            runtime: tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .map_err(ClientError::Machine)?,
        };
        server.check_version()?;
        Ok(server)
    }

    /// Where it is.
    pub fn address(&self) -> &Address {
        &self.address
    }

    fn check_version(&self) -> Result<(), ClientError> {
        let about: Value = match self.get("/v1") {
            // Any web server answers something.
            Err(ClientError::Refused { status, failures: None, .. })
                if status.is_client_error() =>
            {
                return Err(self.no_daemon(format!("`/v1` is answered with {status}")));
            },
            other => other?,
        };
        let text = |name: &str| about[name].as_str().unwrap_or_default();
        if text("name") != "imageforge" {
            return Err(self.no_daemon("`/v1` does not name imageforge"));
        }
        match text("api_version") {
            API_VERSION => Ok(()),
            found => Err(ClientError::Version {
                server: self.address.clone(),
                found: format!("`{found}`"),
                wanted: API_VERSION,
            }),
        }
    }

    fn no_daemon(&self, reason: impl Into<String>) -> ClientError {
        ClientError::NotADaemon { server: self.address.clone(), reason: reason.into() }
    }

    fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.ask(&Asked::new(Method::GET, path))
    }

    /// Sends a request and reads the document that comes back.
    fn ask<T: DeserializeOwned>(&self, asked: &Asked<'_>) -> Result<T, ClientError> {
        let body = self.send(asked)?;
        let bytes = self.runtime.block_on(self.read(body.into_body()))?;
        self.document(&bytes, asked.path)
    }

    fn document<T: DeserializeOwned>(&self, bytes: &[u8], path: &str) -> Result<T, ClientError> {
        serde_json::from_slice(bytes)
            .map_err(|error| self.no_daemon(format!("`{path}` is answered with {error}")))
    }

    /// Sends a request, again while the server has no time for it; answers the head of what comes back.
    fn send(&self, asked: &Asked<'_>) -> Result<Response<Incoming>, ClientError> {
        let mut retries = 0;
        loop {
            match self.runtime.block_on(self.send_once(asked)) {
                Err(ClientError::Refused { status, retry_after: Some(wait), .. })
                    if status == StatusCode::TOO_MANY_REQUESTS
                        && retries < BUSY_RETRIES
                        && wait <= MAX_BUSY_WAIT =>
                {
                    (self.on_trouble)(&format!(
                        "`{}` wants fewer requests; waiting {} s",
                        self.address,
                        wait.as_secs()
                    ));
                    std::thread::sleep(wait);
                    retries += 1;
                },
                other => return other,
            }
        }
    }

    async fn send_once(&self, asked: &Asked<'_>) -> Result<Response<Incoming>, ClientError> {
        let body = asked.document.map(|document| Bytes::from(document.to_string()));
        let has_body = body.is_some();
        let body = Full::new(body.unwrap_or_default()).map_err(|never| match never {});
        let mut request = self.request(asked.method.clone(), asked.path, body.boxed_unsync())?;
        request.headers_mut().extend(asked.headers.clone());
        if has_body {
            let json = HeaderValue::from_static("application/json");
            request.headers_mut().insert(header::CONTENT_TYPE, json);
        }
        self.answer(request, ANSWER).await
    }

    /// A request of this program and its user.
    fn request(
        &self,
        method: Method,
        path: &str,
        body: Body,
    ) -> Result<Request<Body>, ClientError> {
        let mut request = Request::new(body);
        *request.method_mut() = method;
        *request.uri_mut() =
            path.parse().map_err(|_| self.no_daemon(format!("`{path}` is no path")))?;
        let headers = request.headers_mut();
        headers.insert(header::USER_AGENT, HeaderValue::from_static(USER_AGENT));
        if let Some(authorization) = &self.authorization {
            headers.insert(header::AUTHORIZATION, authorization.clone());
        }
        Ok(request)
    }

    /// Sends a request; the answer must begin within `patience`.
    async fn answer(
        &self,
        request: Request<Body>,
        patience: Duration,
    ) -> Result<Response<Incoming>, ClientError> {
        let answer = wire::send(&self.address, self.tls.as_ref(), request, patience).await?;
        if answer.status().is_success() {
            return Ok(answer);
        }
        Err(self.refusal(answer).await)
    }

    /// Why a request was not answered as it should be.
    async fn refusal(&self, answer: Response<Incoming>) -> ClientError {
        let status = answer.status();
        let retry_after = answer.headers().get(header::RETRY_AFTER);
        let retry_after = retry_after.and_then(|value| value.to_str().ok()?.parse().ok());
        let bytes = match self.read(answer.into_body()).await {
            Ok(bytes) => bytes,
            Err(error) => return error,
        };
        let problem: Value = serde_json::from_slice(&bytes).unwrap_or_default();
        if status == StatusCode::UNAUTHORIZED {
            let has_token = self.authorization.is_some();
            return ClientError::Unknown { server: self.address.clone(), has_token };
        }
        let told = problem["errors"].as_array().into_iter().flatten();
        let failures = Failures::collect(told.filter_map(Failure::from_json)).map(Box::new);
        ClientError::Refused {
            server: self.address.clone(),
            status,
            retry_after: retry_after.map(Duration::from_secs),
            failures,
        }
    }

    /// A whole body.
    async fn read(&self, mut body: Incoming) -> Result<Vec<u8>, ClientError> {
        let mut bytes = Vec::new();
        while let Some(part) = self.next_part(&mut body, SILENCE).await? {
            if bytes.len() + part.len() > MAX_DOCUMENT_BYTES {
                return Err(self.no_daemon("an answer is longer than any document"));
            }
            bytes.extend_from_slice(&part);
        }
        Ok(bytes)
    }

    /// The next part of a body; `None` at its end.
    async fn next_part(
        &self,
        body: &mut Incoming,
        patience: Duration,
    ) -> Result<Option<Bytes>, ClientError> {
        let end = Instant::now() + patience;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let silent = |_| ClientError::Silent { server: self.address.clone(), after: patience };
            match timeout(left, body.frame()).await.map_err(silent)? {
                None => return Ok(None),
                Some(frame) => {
                    let frame = frame.map_err(|error| wire::failure(&self.address, error))?;
                    // Trailers say nothing here.
                    if let Ok(part) = frame.into_data() {
                        return Ok(Some(part));
                    }
                },
            }
        }
    }
}

const USER_AGENT: &str = concat!("imageforge/", env!("CARGO_PKG_VERSION"));

//! Who may ask for what, and how often.
//!
//! [`admit`] stands before every route: it finds out who calls, whether they call too often, and whether the
//! route's scope is theirs. Callers are known by a bearer token, by a signature of OAuth 1.0a at
//! `/imagefactory`, or because they are at the daemon's own socket as root or as its user. Handlers take a
//! [`Caller`] and may ask it for more.

mod audit;
mod oauth;
mod peer;
mod policy;
mod rates;
mod refusal;
mod signed;

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::{FromRequestParts, MatchedPath, OptionalFromRequestParts, Request, State};
use axum::http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use axum::http::request::Parts;
use axum::http::{HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use camino::Utf8Path;
use jiff::Timestamp;
use tokio::sync::Semaphore;

use super::problem::Problem;
use super::upstream::PREFIX;
use super::{App, Daemon, ServeError};
use crate::factory::Surroundings;
use crate::failures::{Exit, Failure};
use crate::settings::{ConsumerError, RateSettings, ServeSettings};
use crate::tokens::{Scope, Scopes, TokenError, Tokens};
pub(super) use audit::Subjects;
use audit::{Audit, Note};
use oauth::Oauth;
pub(super) use peer::{Peer, customer};
use policy::Need;
use rates::{Buckets, Key, Quota};
use refusal::Refusal;
use signed::Signed;

/// Signed bodies that are read at once, before it is known whether their signatures are right.
const SIGNED_BODIES: usize = 16;
/// Time that such a body has to arrive.
const SIGNED_BODY_TIME: Duration = Duration::from_mins(1);
/// How to sign.
const OAUTH: &str = "OAuth realm=\"imageforge\"";

/// Who sent a request.
#[derive(Clone, Debug)]
pub(super) struct Caller {
    /// The name: of a token, `oauth:KEY`, or `local:USER`.
    pub(super) user: String,
    /// What they may do.
    pub(super) scopes: Scopes,
    credential: Credential,
}

/// What somebody is known by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Credential {
    Token,
    Oauth,
    Socket,
}

impl Credential {
    fn as_str(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::Oauth => "oauth",
            Self::Socket => "socket",
        }
    }
}

impl Caller {
    /// Whether it is known, and may see images and what is done to them.
    pub(super) fn may_look(caller: Option<&Self>) -> bool {
        caller.is_some_and(|caller| caller.scopes.allow(&Scope::ImagesRead))
    }

    /// Refuses unless the caller may do what needs `scope`.
    pub(super) fn needs(&self, scope: &Scope) -> Result<(), Refusal> {
        if self.scopes.allow(scope) {
            return Ok(());
        }
        Err(Refusal::Forbidden { user: self.user.clone(), scope: scope.clone() })
    }
}

/// The caller, of a route that needs one.
impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refusal> {
        parts.extensions.get::<Self>().cloned().ok_or(Refusal::NoCredentials)
    }
}

/// The caller, if it is known.
impl<S: Sync> OptionalFromRequestParts<S> for Caller {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, Refusal> {
        Ok(parts.extensions.get::<Self>().cloned())
    }
}

/// What callers are known by, and how often they called.
#[derive(Debug)]
pub(super) struct Access {
    tokens: Arc<Tokens>,
    oauth: Oauth,
    signed_bodies: Semaphore,
    requests: Buckets,
    failures: Buckets,
    audit: Audit,
}

impl Access {
    /// Opens the tokens of a data directory, and reads the secrets of consumers.
    pub(super) fn open(data_dir: &Utf8Path, settings: &ServeSettings) -> Result<Self, ServeError> {
        Ok(Self {
            tokens: Arc::new(Tokens::open(data_dir)?),
            oauth: Oauth::open(settings)?,
            signed_bodies: Semaphore::new(SIGNED_BODIES),
            requests: Buckets::default(),
            failures: Buckets::default(),
            audit: Audit::new(data_dir),
        })
    }

    /// Takes up other settings. Rates hold by themselves.
    ///
    /// # Errors
    /// What is wrong with a consumer; those of before stay.
    pub(super) fn reload(&self, settings: &ServeSettings) -> Result<(), ConsumerError> {
        self.oauth.reload(settings)
    }

    /// Whether there is anybody from elsewhere who may send requests.
    ///
    /// # Errors
    /// The tokens do not read.
    pub(super) fn knows_anybody(&self) -> Result<bool, TokenError> {
        let now = Timestamp::now();
        Ok(self.oauth.is_in_use() || self.tokens.list()?.iter().any(|token| !token.is_expired(now)))
    }

    /// Why the audit log cannot be written.
    pub(super) fn audit_problem(&self, settings: &ServeSettings) -> Option<String> {
        self.audit.problem(settings.audit_log.as_deref())
    }

    /// Who sent a request; `None` when it does not say. A body that is signed is read.
    async fn identify(
        &self,
        request: &Parts,
        body: &mut Body,
        max_body_bytes: usize,
    ) -> Result<Option<Caller>, Refusal> {
        let Some(credentials) = request.headers.get(AUTHORIZATION) else {
            return Ok(local(request.extensions.get()));
        };
        let credentials = credentials.to_str().map_err(|_| Refusal::BadCredentials)?;
        let (scheme, rest) = credentials.split_once(' ').ok_or(Refusal::BadCredentials)?;
        if scheme.eq_ignore_ascii_case("bearer") {
            return self.bearer(rest.trim().to_owned()).await.map(Some);
        }
        if !scheme.eq_ignore_ascii_case("oauth") {
            return Err(Refusal::BadCredentials);
        }
        if !is_upstream(request) {
            return Err(Refusal::Elsewhere);
        }
        oauth::look(rest)?;
        let bytes = if signed::signs_body(request) {
            let bytes = self.signed_body(std::mem::take(body), max_body_bytes).await?;
            *body = Body::from(bytes.clone());
            bytes
        } else {
            axum::body::Bytes::new()
        };
        let (key, scopes) = self.oauth.verify(rest, &Signed::of(request, &bytes))?;
        Ok(Some(Caller { user: format!("oauth:{key}"), scopes, credential: Credential::Oauth }))
    }

    async fn bearer(&self, secret: String) -> Result<Caller, Refusal> {
        let tokens = Arc::clone(&self.tokens);
        let verified = tokio::task::spawn_blocking(move || tokens.verify(&secret)).await;
        let failed = |error: &dyn std::error::Error| {
            Refusal::Failed(Box::new(Failure::from_error(Exit::Internal, error).into()))
        };
        let credential = Credential::Token;
        match verified {
            Ok(Ok(Some(token))) => {
                Ok(Caller { user: token.name, scopes: token.scopes, credential })
            },
            Ok(Ok(None)) => Err(Refusal::BadCredentials),
            Ok(Err(error)) => Err(failed(&error)),
            Err(error) => Err(failed(&error)),
        }
    }

    /// A body whose sender is not known yet: only some at once, and not for long.
    async fn signed_body(&self, body: Body, max: usize) -> Result<axum::body::Bytes, Refusal> {
        let unread = |status, message: &str| {
            Refusal::Failed(Box::new(Problem::new(Exit::InvalidInput, message).with_status(status)))
        };
        let read = async {
            let _permit = self.signed_bodies.acquire().await;
            to_bytes(body, max).await
        };
        match tokio::time::timeout(SIGNED_BODY_TIME, read).await {
            Ok(Ok(bytes)) => Ok(bytes),
            Ok(Err(_)) => Err(unread(
                StatusCode::PAYLOAD_TOO_LARGE,
                "the body is too long or breaks off, so that its signature cannot be verified",
            )),
            Err(_) => Err(unread(StatusCode::REQUEST_TIMEOUT, "the body takes too long")),
        }
    }

    /// Counts a request.
    fn count(
        &self,
        caller: Option<&Caller>,
        address: Key,
        rates: &RateSettings,
    ) -> Result<(), Refusal> {
        let key = match caller {
            // Who owns the machine need not be slowed down.
            Some(Caller { credential: Credential::Socket, .. }) => return Ok(()),
            Some(caller) => Key::Caller(caller.user.clone()),
            None => address,
        };
        let Some(quota) = Quota::requests(rates) else {
            return Ok(());
        };
        let refused = |wait| Refusal::RateLimited { what: "requests", wait };
        self.requests.take(&key, quota).map_err(refused)
    }
}

/// Whoever is at the daemon's socket and may do everything.
fn local(peer: Option<&Peer>) -> Option<Caller> {
    let Some(Peer::Local { master: Some(user) }) = peer else {
        return None;
    };
    let scopes = [Scope::Admin].into_iter().collect();
    Some(Caller { user: user.clone(), scopes, credential: Credential::Socket })
}

/// Whether a request is one of ImageFactory's.
fn is_upstream(request: &Parts) -> bool {
    let rest = request.uri.path().strip_prefix(PREFIX);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The scope that a route needs; `None` for what is for everybody.
pub(super) fn scope_of(method: &Method, route: &str) -> Option<Scope> {
    match policy::need(method, Some(route), route) {
        Need::Scope(scope) => Some(scope),
        Need::Nothing | Need::Caller => None,
    }
}

/// Lets a request pass if its caller may send it.
pub(super) async fn admit(State(daemon): App, request: Request, next: Next) -> Response {
    let (mut parts, mut body) = request.into_parts();
    let may_sign = daemon.access.oauth.is_in_use() && is_upstream(&parts);
    let mut note = Note::begin(&daemon, &parts);
    let (caller, passes) = check(&daemon, &parts, &mut body).await;
    if let Some(caller) = &caller {
        note.caller(caller);
    }
    let mut response = if let Err(refusal) = passes {
        refusal.into_response()
    } else {
        if let Some(caller) = caller.clone() {
            parts.extensions.insert(caller);
        }
        next.run(Request::from_parts(parts, body)).await
    };
    if may_sign && response.status() == StatusCode::UNAUTHORIZED {
        response.headers_mut().append(WWW_AUTHENTICATE, HeaderValue::from_static(OAUTH));
    }
    if let Some(writing) = note.end(&response) {
        // What fails in there has told so.
        drop(writing.await);
    }
    if let Some(caller) = caller {
        response.extensions_mut().insert(caller);
    }
    response
}

/// Who sent a request, as far as that is known, and whether it may pass.
async fn check(
    daemon: &Daemon,
    request: &Parts,
    body: &mut Body,
) -> (Option<Caller>, Result<(), Refusal>) {
    let settings = daemon.site.settings();
    let (access, rates) = (&daemon.access, &settings.serve.rates);
    let address = Key::of(request.extensions.get());
    let failures = Quota::failures(rates).filter(|_| request.headers.contains_key(AUTHORIZATION));
    if let Some(quota) = failures
        && let Err(wait) = access.failures.check(&address, quota)
    {
        let refusal = Refusal::RateLimited { what: "failed authentications", wait };
        return (None, Err(refusal));
    }
    let caller = match access.identify(request, body, settings.serve.max_body_bytes()).await {
        Ok(caller) => caller,
        Err(refusal) => {
            if let Some(quota) = failures.filter(|_| refusal.is_failed_authentication()) {
                // Whoever is too fast is told so the next time.
                let _ = access.failures.take(&address, quota);
            }
            return (None, Err(refusal));
        },
    };
    let passes = access
        .count(caller.as_ref(), address, rates)
        .and_then(|()| is_allowed(request, caller.as_ref()));
    (caller, passes)
}

/// Whether the scope of the route is the caller's.
fn is_allowed(request: &Parts, caller: Option<&Caller>) -> Result<(), Refusal> {
    let route = request.extensions.get::<MatchedPath>().map(MatchedPath::as_str);
    match (policy::need(&request.method, route, request.uri.path()), caller) {
        (Need::Nothing, _) | (Need::Caller, Some(_)) => Ok(()),
        (Need::Scope(scope), Some(caller)) => caller.needs(&scope),
        (Need::Caller | Need::Scope(_), None) => Err(Refusal::NoCredentials),
    }
}

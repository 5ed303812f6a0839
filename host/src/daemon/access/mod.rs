//! Who may ask for what.
//!
//! [`admit`] stands before every route: it finds out who calls and whether the route's scope is theirs.
//! Callers are known by a bearer token, or because they are at the daemon's own socket as root
//! or as its user. Handlers take a [`Caller`] and may ask it for more.

mod peer;
mod policy;
mod refusal;

use std::sync::Arc;

use axum::extract::{FromRequestParts, MatchedPath, OptionalFromRequestParts, Request, State};
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use camino::Utf8Path;

use super::App;
use crate::failures::{Exit, Failure};
use crate::tokens::{Scope, Scopes, TokenError, Tokens};
pub(super) use peer::Peer;
use policy::Need;
use refusal::Refusal;

/// Who sent a request.
#[derive(Clone, Debug)]
pub(super) struct Caller {
    /// The name: of a token, or `local:USER`.
    pub(super) user: String,
    /// What they may do.
    pub(super) scopes: Scopes,
}

impl Caller {
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

/// What callers are known by.
#[derive(Debug)]
pub(super) struct Access {
    tokens: Arc<Tokens>,
}

impl Access {
    /// Opens the tokens of a data directory.
    pub(super) fn open(data_dir: &Utf8Path) -> Result<Self, TokenError> {
        Ok(Self { tokens: Arc::new(Tokens::open(data_dir)?) })
    }

    /// Who sent a request; `None` when it does not say.
    async fn identify(&self, request: &Parts) -> Result<Option<Caller>, Refusal> {
        let Some(credentials) = request.headers.get(AUTHORIZATION) else {
            return Ok(local(request.extensions.get()));
        };
        let credentials = credentials.to_str().map_err(|_| Refusal::BadCredentials)?;
        let (scheme, secret) = credentials.split_once(' ').ok_or(Refusal::BadCredentials)?;
        if !scheme.eq_ignore_ascii_case("bearer") {
            return Err(Refusal::BadCredentials);
        }
        let (tokens, secret) = (Arc::clone(&self.tokens), secret.trim().to_owned());
        let verified = tokio::task::spawn_blocking(move || tokens.verify(&secret)).await;
        match verified {
            Ok(Ok(Some(token))) => Ok(Some(Caller { user: token.name, scopes: token.scopes })),
            Ok(Ok(None)) => Err(Refusal::BadCredentials),
            Ok(Err(error)) => Err(Refusal::Failed(Failure::from_error(Exit::Internal, &error))),
            Err(error) => Err(Refusal::Failed(Failure::from_error(Exit::Internal, &error))),
        }
    }
}

/// Whoever is at the daemon's socket and may do everything.
fn local(peer: Option<&Peer>) -> Option<Caller> {
    let Some(Peer::Local { master: Some(user) }) = peer else {
        return None;
    };
    Some(Caller { user: format!("local:{user}"), scopes: [Scope::Admin].into_iter().collect() })
}

/// Lets a request pass if its caller may send it.
pub(super) async fn admit(State(daemon): App, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    match check(&daemon.access, &parts).await {
        Ok(caller) => {
            if let Some(caller) = caller {
                parts.extensions.insert(caller);
            }
            next.run(Request::from_parts(parts, body)).await
        },
        Err(refusal) => refusal.into_response(),
    }
}

async fn check(access: &Access, request: &Parts) -> Result<Option<Caller>, Refusal> {
    let route = request.extensions.get::<MatchedPath>().map(MatchedPath::as_str);
    let need = policy::need(&request.method, route, request.uri.path());
    let caller = access.identify(request).await?;
    match (need, &caller) {
        (Need::Nothing, _) | (Need::Caller, Some(_)) => {},
        (Need::Scope(scope), Some(caller)) => caller.needs(&scope)?,
        (Need::Caller | Need::Scope(_), None) => return Err(Refusal::NoCredentials),
    }
    Ok(caller)
}

//! What a request is answered that does not get what it wants: RFC 9457 problem documents.
//!
//! `code` is stable and says the same as the exit code of the command line; `errors` holds every reason.

use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;
use utoipa::openapi::{Object, ObjectBuilder, Type};

use crate::factory::QueueError;
use crate::failures::{Exit, Failure, Failures};
use crate::images::StoreError;

/// When a client that is not served now is to come back, in seconds: by then some connection has ended as a rule, or
/// the next daemon listens, and hundreds of clients that ask so seldom are no load.
const RETRY_SECONDS: u16 = 5;

/// Every code, in the order of `docs/rest-api.md`.
const CODES: [&str; 16] = [
    "usage",
    "invalid-input",
    "no-plugin",
    "not-found",
    "not-implemented",
    "conflict",
    "provider",
    "unauthenticated",
    "forbidden",
    "rate-limited",
    "tls-required",
    "too-slow",
    "too-many-connections",
    "cancelled",
    "failed",
    "internal",
];

fn codes() -> Object {
    ObjectBuilder::new().schema_type(Type::String).enum_values(Some(CODES)).build()
}

/// A problem document.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Problem {
    /// `urn:imageforge:problem:` and the code.
    #[serde(rename = "type")]
    kind: Box<str>,
    /// What the code means.
    title: &'static str,
    /// The HTTP status.
    #[schema(minimum = 400, maximum = 599)]
    status: u16,
    /// The first reason.
    detail: Box<str>,
    /// What kind of problem it is; stays the same from version to version.
    #[schema(schema_with = codes)]
    code: &'static str,
    /// What the command line exits with for it.
    exit_code: u8,
    /// Every reason: `message`, `caused_by`, `hints` and `exit_code`.
    #[schema(value_type = Vec<Object>)]
    errors: Vec<Value>,
    #[serde(skip)]
    headers: Vec<(HeaderName, HeaderValue)>,
}

/// HTTP status, stable code and title for each way in which a command can end.
fn class(exit: Exit) -> (StatusCode, &'static str, &'static str) {
    match exit {
        Exit::Usage => (StatusCode::BAD_REQUEST, "usage", "the request is wrong"),
        Exit::InvalidInput => {
            (StatusCode::BAD_REQUEST, "invalid-input", "the request holds something wrong")
        },
        Exit::NoPlugin => (StatusCode::UNPROCESSABLE_ENTITY, "no-plugin", "no plugin can do it"),
        Exit::NotFound => (StatusCode::NOT_FOUND, "not-found", "there is no such thing"),
        Exit::Conflict => (StatusCode::CONFLICT, "conflict", "it is in use or exists already"),
        Exit::Provider => (
            StatusCode::SERVICE_UNAVAILABLE,
            "provider",
            "a service is unavailable or refused the credentials",
        ),
        Exit::Server => {
            (StatusCode::BAD_GATEWAY, "server", "a server that is asked in turn does not answer")
        },
        Exit::Cancelled => (StatusCode::CONFLICT, "cancelled", "it was cancelled"),
        Exit::Done | Exit::Failed => {
            (StatusCode::UNPROCESSABLE_ENTITY, "failed", "it does not work")
        },
        Exit::Internal => {
            (StatusCode::INTERNAL_SERVER_ERROR, "internal", "the daemon or its machine failed")
        },
    }
}

impl Problem {
    /// A problem of one sentence.
    pub(super) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Failure::new(exit, message).into()
    }

    /// What happened, in a sentence.
    pub(super) fn detail(&self) -> &str {
        &self.detail
    }

    /// The HTTP status.
    pub(super) fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// A request that is not even looked at, with a code of its own.
    pub(super) fn refused(
        status: StatusCode,
        code: &'static str,
        title: &'static str,
        failure: Failure,
    ) -> Self {
        let kind = format!("urn:imageforge:problem:{code}").into();
        debug_assert!(CODES.contains(&code), "`{code}` is not among the codes");
        Self { kind, title, code, ..failure.into() }.with_status(status)
    }

    /// A header of the answer.
    #[must_use]
    pub(super) fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// One that a client does not meet when it comes back in a moment.
    #[must_use]
    pub(super) fn soon_over(self) -> Self {
        self.with_header(header::RETRY_AFTER, HeaderValue::from(RETRY_SECONDS))
    }

    /// Another HTTP status than the kind of failure has by itself.
    #[must_use]
    pub(super) fn with_status(mut self, status: StatusCode) -> Self {
        self.status = status.as_u16();
        self
    }
}

impl From<&Failures> for Problem {
    fn from(failures: &Failures) -> Self {
        let exit = failures.exit();
        let (status, code, title) = class(exit);
        let errors = failures.to_json();
        if status.is_server_error() && exit == Exit::Internal {
            tracing::error!(?errors, "a request failed");
        }
        Self {
            kind: format!("urn:imageforge:problem:{code}").into(),
            title,
            status: status.as_u16(),
            detail: errors
                .first()
                .and_then(|error| error["message"].as_str())
                .unwrap_or_default()
                .into(),
            code,
            exit_code: exit as u8,
            errors,
            headers: Vec::new(),
        }
    }
}

impl From<Failure> for Problem {
    fn from(failure: Failure) -> Self {
        (&Failures::from(failure)).into()
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        Failure::from(&error).into()
    }
}

impl From<QueueError> for Problem {
    fn from(error: QueueError) -> Self {
        let problem = Self::from(&Failures::from(&error));
        match error {
            QueueError::Stopping => problem.soon_over(),
            _ => problem,
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(mut self) -> Response {
        let headers = std::mem::take(&mut self.headers);
        let mut response = (self.status(), axum::Json(self)).into_response();
        let json = HeaderValue::from_static("application/problem+json");
        response.headers_mut().extend(headers);
        response.headers_mut().insert(header::CONTENT_TYPE, json);
        response
    }
}

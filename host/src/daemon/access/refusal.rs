//! Why a request does not get through, as a problem document.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::daemon::problem::Problem;
use crate::failures::{Exit, Failure};
use crate::tokens::Scope;

/// Why a request does not get through.
#[derive(Debug)]
pub(in crate::daemon) enum Refusal {
    /// It does not say who sends it.
    NoCredentials,
    /// What it says is not true, or not any more.
    BadCredentials,
    /// The caller may not do this.
    Forbidden {
        /// Who.
        user: String,
        /// What is missing.
        scope: Scope,
    },
    /// Nobody can tell.
    Failed(Failure),
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let unauthenticated = |message: &str| {
            let failure = Failure::new(Exit::Provider, message).hint(
                "send a token as `Authorization: Bearer TOKEN`; `imageforge tokens create` makes one",
            );
            let title = "nobody knows who asks";
            Self::refused(StatusCode::UNAUTHORIZED, "unauthenticated", title, failure)
                .with_header(header::WWW_AUTHENTICATE, HeaderValue::from_static(BEARER))
        };
        match refusal {
            Refusal::NoCredentials => unauthenticated("the request has no credentials"),
            Refusal::BadCredentials => {
                unauthenticated("the credentials of the request are unknown, revoked or expired")
            },
            Refusal::Forbidden { user, scope } => {
                let message = format!("`{user}` lacks the scope `{scope}`");
                let failure = Failure::new(Exit::Provider, message)
                    .hint(format!("use a token that was made with `--scope {scope}`"));
                let title = "the caller may not do this";
                Self::refused(StatusCode::FORBIDDEN, "forbidden", title, failure)
            },
            Refusal::Failed(failure) => failure.into(),
        }
    }
}

/// How to say who one is.
const BEARER: &str = "Bearer realm=\"imageforge\"";

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        Problem::from(self).into_response()
    }
}

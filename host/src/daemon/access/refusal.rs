//! Why a request does not get through, as a problem document.

use std::time::Duration;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::audit::Reason;
use super::oauth::Unsigned;
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
    /// It is signed, where signatures are not read.
    Elsewhere,
    /// It is signed, and not as it must be.
    Unsigned(Unsigned),
    /// The caller may not do this.
    Forbidden {
        /// Who.
        user: String,
        /// What is missing.
        scope: Scope,
    },
    /// The caller sends too many.
    RateLimited {
        /// Of what.
        what: &'static str,
        /// The time until one more is taken.
        wait: Duration,
    },
    /// Nobody can tell.
    Failed(Box<Problem>),
}

impl Refusal {
    /// Whether somebody tried credentials that are wrong.
    pub(super) fn is_failed_authentication(&self) -> bool {
        match self {
            Self::BadCredentials => true,
            // A clock that is wrong is no attack.
            Self::Unsigned(why) => !matches!(why, Unsigned::Timestamp(_) | Unsigned::Forgotten),
            Self::NoCredentials
            | Self::Elsewhere
            | Self::Forbidden { .. }
            | Self::RateLimited { .. }
            | Self::Failed(_) => false,
        }
    }
}

impl From<Unsigned> for Refusal {
    fn from(why: Unsigned) -> Self {
        Self::Unsigned(why)
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::NoCredentials => unauthenticated("the request has no credentials", SEND_TOKEN),
            Refusal::BadCredentials => unauthenticated(
                "the credentials of the request are unknown, revoked or expired",
                SEND_TOKEN,
            ),
            Refusal::Elsewhere => {
                unauthenticated("signatures of OAuth are for `/imagefactory` only", SEND_TOKEN)
            },
            Refusal::Unsigned(why) => unauthenticated(&why.to_string(), hint(&why)),
            Refusal::Forbidden { user, scope } => {
                let message = format!("`{user}` lacks the scope `{scope}`");
                let failure = Failure::new(Exit::Provider, message)
                    .hint(format!("use a token that was made with `--scope {scope}`"));
                let title = "the caller may not do this";
                Self::refused(StatusCode::FORBIDDEN, "forbidden", title, failure)
            },
            Refusal::RateLimited { what, wait } => {
                // Rounded up: whoever comes back then is let in.
                let seconds = wait.as_secs() + 1;
                let message = format!("too many {what}: the next one is taken in {seconds} s");
                let failure = Failure::new(Exit::Provider, message).hint(
                    "send fewer, or have the limits below `[serve.rates]` of the daemon changed",
                );
                let title = "too many requests";
                Self::refused(StatusCode::TOO_MANY_REQUESTS, "rate-limited", title, failure)
                    .with_header(header::RETRY_AFTER, HeaderValue::from(seconds))
            },
            Refusal::Failed(problem) => *problem,
        }
    }
}

fn unauthenticated(message: &str, hint: &str) -> Problem {
    let failure = Failure::new(Exit::Provider, message).hint(hint);
    let title = "nobody knows who asks";
    Problem::refused(StatusCode::UNAUTHORIZED, "unauthenticated", title, failure)
        .with_header(header::WWW_AUTHENTICATE, HeaderValue::from_static(BEARER))
}

fn hint(why: &Unsigned) -> &'static str {
    match why {
        Unsigned::Timestamp(_) => "set the clocks of both machines",
        Unsigned::Forgotten | Unsigned::Used => "sign each request anew",
        Unsigned::Signature => {
            "compare key and secret with `[serve.consumers]` of the daemon; the client must sign the \
             host and port that it sends as `Host`"
        },
        Unsigned::Malformed | Unsigned::Parameter(_) | Unsigned::Method | Unsigned::Body => {
            "sign as RFC 5849 says, with a consumer and without a token"
        },
    }
}

/// How to say who one is.
const BEARER: &str = "Bearer realm=\"imageforge\"";
const SEND_TOKEN: &str =
    "send a token as `Authorization: Bearer TOKEN`; `imageforge tokens create` makes one";

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let problem = Problem::from(self);
        let reason = Reason(problem.detail().to_owned());
        let mut response = problem.into_response();
        response.extensions_mut().insert(reason);
        response
    }
}

//! Bodies of requests and answers, as they pass a connection.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use hyper::body::{Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep};

use super::paced::Answering;
use crate::daemon::App;
use crate::daemon::metrics::Phase;
use crate::daemon::problem::Problem;
use crate::factory::Surroundings;
use crate::failures::{Exit, Failure};

/// What a client must send of a body in the long run, in bytes per second.
const LEAST_RATE: f64 = 1024.0;

/// Passes a request on whose body must keep coming, and refuses it when it does not.
pub(in crate::daemon) async fn hurry(State(daemon): App, request: Request, next: Next) -> Response {
    let limit = daemon.site.settings().serve.connections.body_seconds.time();
    let is_late = Arc::new(AtomicBool::new(false));
    let request = request.map(|body| Body::new(Hurried::new(body, limit, Arc::clone(&is_late))));
    let answer = next.run(request).await;
    if !is_late.load(Ordering::Relaxed) {
        return answer;
    }
    daemon.connections.timed_out(Phase::Body);
    // Whoever did not need the rest has done what it was asked for.
    if answer.status().is_success() { answer } else { too_late().into_response() }
}

fn too_late() -> Problem {
    let failure = Failure::new(Exit::Provider, "the body of the request stopped, or came too slowly")
        .hint("send at least 1 KiB per second; the longest pause is `body_seconds` below `[serve.connections]`");
    Problem::refused(StatusCode::REQUEST_TIMEOUT, "too-slow", "the request took too long", failure)
        .with_header(header::CONNECTION, HeaderValue::from_static("close"))
}

/// The body of a request that must keep coming.
///
/// A client may stop for `limit`. What it sends buys it more time, never more than `limit`; time in
/// which nobody wants the body is not its own.
struct Hurried {
    body: Body,
    limit: Duration,
    left: Duration,
    waiting: Option<(Instant, Pin<Box<Sleep>>)>,
    /// Whether it was given up.
    is_late: Arc<AtomicBool>,
}

impl Hurried {
    /// `body`, which may stop for `limit`.
    fn new(body: Body, limit: Duration, is_late: Arc<AtomicBool>) -> Self {
        Self { body, limit, left: limit, waiting: None, is_late }
    }
}

impl HttpBody for Hurried {
    type Data = Bytes;
    type Error = axum::BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let hurried = self.get_mut();
        let left = hurried.left;
        let Poll::Ready(frame) = Pin::new(&mut hurried.body).poll_frame(context) else {
            let (_, end) =
                hurried.waiting.get_or_insert_with(|| (Instant::now(), Box::pin(sleep(left))));
            ready!(end.as_mut().poll(context));
            hurried.is_late.store(true, Ordering::Relaxed);
            return Poll::Ready(Some(Err(io::Error::from(io::ErrorKind::TimedOut).into())));
        };
        if let Some((since, _)) = hurried.waiting.take() {
            hurried.left = left.saturating_sub(since.elapsed());
        }
        if let Some(Ok(frame)) = &frame
            && let Some(data) = frame.data_ref()
        {
            // A frame is far smaller than what a float counts exactly.
            let bytes = u32::try_from(data.len()).unwrap_or(u32::MAX);
            let bought = Duration::from_secs_f64(f64::from(bytes) / LEAST_RATE);
            hurried.left = hurried.limit.min(hurried.left + bought);
        }
        Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The body of an answer, which says when it has been passed on.
pub(super) struct Passed {
    body: Body,
    answering: Answering,
}

impl Passed {
    /// `body`, which ends `answering`.
    pub(super) fn new(body: Body, answering: Answering) -> Self {
        Self { body, answering }
    }
}

impl Drop for Passed {
    fn drop(&mut self) {
        self.answering.end();
    }
}

impl HttpBody for Passed {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

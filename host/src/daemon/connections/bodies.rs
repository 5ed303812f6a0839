//! Bodies of requests and answers, as they pass a connection.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use hyper::body::{Frame, Incoming, SizeHint};
use tokio::time::{Instant, Sleep, sleep};

use super::paced::Answering;

/// What a client must send of a body in the long run, in bytes per second.
const LEAST_RATE: f64 = 1024.0;

/// The body of a request that must keep coming.
///
/// A client may stop for `limit`. What it sends buys it more time, never more than `limit`; time in
/// which nobody wants the body is not its own.
pub(super) struct Hurried {
    body: Incoming,
    limit: Duration,
    left: Duration,
    waiting: Option<(Instant, Pin<Box<Sleep>>)>,
    is_late: Late,
}

/// Whether a body was given up because it did not keep coming.
#[derive(Clone, Debug, Default)]
pub(super) struct Late(Arc<AtomicBool>);

impl Late {
    /// Whether it was.
    pub(super) fn is_true(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl Hurried {
    /// `body`, which may stop for `limit`.
    pub(super) fn new(body: Incoming, limit: Duration, is_late: Late) -> Self {
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
            hurried.is_late.0.store(true, Ordering::Relaxed);
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

//! A connection whose client must keep going.
//!
//! A client has a time for the head of its request, for taking anything of the answer that waits for it, and
//! between two requests. While a request is being answered, nothing is asked of it here: event streams and
//! downloads last as long as they like.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use futures_util::task::AtomicWaker;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

use crate::daemon::metrics::{Connections, Phase};
use crate::settings::ConnectionSettings;

/// Whether a request of the connection is being answered.
#[derive(Clone, Debug, Default)]
pub(super) struct Answering(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    is_on: AtomicBool,
    /// Requests that have come.
    requests: AtomicU64,
    /// Who reads while a request is being answered.
    reader: AtomicWaker,
}

impl Answering {
    /// A request has come.
    pub(super) fn begin(&self) {
        self.0.is_on.store(true, Ordering::Release);
        self.0.requests.fetch_add(1, Ordering::Release);
    }

    /// Its answer has been passed on: the time to the next request begins.
    pub(super) fn end(&self) {
        self.0.is_on.store(false, Ordering::Release);
        self.0.reader.wake();
    }

    /// Whether there is one; `context` is woken at its end.
    fn is_on(&self, context: &Context<'_>) -> bool {
        self.0.reader.register(context.waker());
        self.0.is_on.load(Ordering::Acquire)
    }

    fn requests(&self) -> u64 {
        self.0.requests.load(Ordering::Acquire)
    }
}

/// What the client is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Awaited {
    Head,
    Nothing,
    Request,
}

/// A stream whose client must keep going.
pub(super) struct Paced<S> {
    stream: S,
    limits: ConnectionSettings,
    figures: Arc<Connections>,
    answering: Answering,
    /// Requests that were seen to come.
    requests: u64,
    awaited: Awaited,
    reading: Pin<Box<Sleep>>,
    /// Runs while the client takes nothing.
    writing: Option<Pin<Box<Sleep>>>,
}

impl<S> Paced<S> {
    /// `stream`, from which the head of a request is expected.
    pub(super) fn new(
        stream: S,
        limits: ConnectionSettings,
        figures: Arc<Connections>,
        answering: Answering,
    ) -> Self {
        let reading = Box::pin(sleep(limits.head_seconds.time()));
        Self {
            stream,
            limits,
            figures,
            answering,
            requests: 0,
            awaited: Awaited::Head,
            reading,
            writing: None,
        }
    }

    /// Waits for `awaited` from now on.
    fn await_now(&mut self, awaited: Awaited) {
        if self.awaited == awaited {
            return;
        }
        self.awaited = awaited;
        let limit = match awaited {
            Awaited::Head => self.limits.head_seconds,
            Awaited::Request => self.limits.idle_seconds,
            Awaited::Nothing => return,
        };
        self.reading.as_mut().reset(Instant::now() + limit.time());
    }

    /// What becomes of a read that has to wait.
    fn wait_to_read(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.awaited == Awaited::Nothing {
            return Poll::Pending;
        }
        ready!(self.reading.as_mut().poll(context));
        if self.awaited == Awaited::Request {
            self.figures.timed_out(Phase::Idle);
            // As if the client had hung up: there is nothing that it could miss.
            return Poll::Ready(Ok(()));
        }
        self.figures.timed_out(Phase::Head);
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }

    /// `written`, unless the client has taken nothing for too long.
    fn pace_writing<T>(
        &mut self,
        context: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.writing = None;
            return written;
        }
        let limit = self.limits.answer_seconds.time();
        let writing = self.writing.get_or_insert_with(|| Box::pin(sleep(limit)));
        ready!(writing.as_mut().poll(context));
        self.figures.timed_out(Phase::Answer);
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Paced<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let paced = self.get_mut();
        let is_answering = paced.answering.is_on(context);
        // A request may have come and been answered since the last look.
        let requests = paced.answering.requests();
        if std::mem::replace(&mut paced.requests, requests) != requests {
            paced.await_now(Awaited::Nothing);
        }
        if !is_answering && paced.awaited == Awaited::Nothing {
            paced.await_now(Awaited::Request);
        }
        let before = buffer.filled().len();
        let read = Pin::new(&mut paced.stream).poll_read(context, buffer);
        if read.is_pending() {
            return paced.wait_to_read(context);
        }
        if paced.awaited == Awaited::Request && buffer.filled().len() > before {
            paced.await_now(Awaited::Head);
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Paced<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let paced = self.get_mut();
        let written = Pin::new(&mut paced.stream).poll_write(context, bytes);
        paced.pace_writing(context, written)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let paced = self.get_mut();
        let flushed = Pin::new(&mut paced.stream).poll_flush(context);
        paced.pace_writing(context, flushed)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let paced = self.get_mut();
        let shut = Pin::new(&mut paced.stream).poll_shutdown(context);
        paced.pace_writing(context, shut)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let paced = self.get_mut();
        let written = Pin::new(&mut paced.stream).poll_write_vectored(context, slices);
        paced.pace_writing(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

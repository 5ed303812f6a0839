//! Hearing a server that answers before it has read all of a request.
//!
//! A server whose disk is full, or that has had enough, answers in the midst of an upload and closes
//! the connection. The next write fails then, and the reason would be lost with it. The transport here
//! looks for an answer when a write fails; if there is one, the rest of the body goes nowhere, and the
//! answer is read as if it had come at the end.

use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ureq::Error;
use ureq::unversioned::transport::{Buffers, ConnectionDetails, Connector, NextTimeout, Transport};

/// Whether a server has answered before the end; what is sent from then on is not heard.
#[derive(Clone, Debug, Default)]
pub(super) struct Answered(Arc<AtomicBool>);

impl Answered {
    pub(super) fn get(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    pub(super) fn set(&self, value: bool) {
        self.0.store(value, Ordering::Relaxed);
    }
}

/// Listens to the connections of another connector.
#[derive(Debug)]
pub(super) struct EarlyConnector(pub(super) Answered);

impl<In: Transport> Connector<In> for EarlyConnector {
    type Out = EarlyTransport<In>;

    fn connect(
        &self,
        _: &ConnectionDetails<'_>,
        chained: Option<In>,
    ) -> Result<Option<Self::Out>, Error> {
        Ok(chained.map(|inner| EarlyTransport { inner, answered: self.0.clone() }))
    }
}

/// A connection to a server that may answer early.
#[derive(Debug)]
pub(super) struct EarlyTransport<T> {
    inner: T,
    answered: Answered,
}

impl<T: Transport> Transport for EarlyTransport<T> {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.inner.buffers()
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        if self.answered.get() {
            return Ok(());
        }
        let broken = match self.inner.transmit_output(amount, timeout) {
            Err(Error::Io(error)) if is_closed(error.kind()) => error,
            other => return other,
        };
        // It may have been read together with the word to go on.
        let is_here = !self.inner.buffers().input().is_empty();
        if is_here || matches!(self.inner.await_input(timeout), Ok(true)) {
            self.answered.set(true);
            return Ok(());
        }
        Err(Error::Io(broken))
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        self.inner.await_input(timeout)
    }

    fn is_open(&mut self) -> bool {
        self.inner.is_open()
    }

    fn is_tls(&self) -> bool {
        self.inner.is_tls()
    }
}

fn is_closed(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::BrokenPipe | ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted
    )
}

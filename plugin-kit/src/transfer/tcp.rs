//! Connections that end at once when they are given up.
//!
//! A plain close sends first what was written, and a server that is not reading then does not hear for
//! minutes that its client is gone, killed perhaps, and keeps half an image for it. These connections are
//! reset instead. Nothing is lost by that: they are closed when the whole answer is there, or to be given up.

use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, Weak};
use std::time::Duration;

use rustix::net::sockopt::set_socket_linger;
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, Either, LazyBuffers, NextTimeout, ShutdownHandle,
    Transport,
};
use ureq::{Error, Timeout};

/// Connects, unless a proxy did.
#[derive(Debug)]
pub(super) struct TcpConnector;

impl<In: Transport> Connector<In> for TcpConnector {
    type Out = Either<In, TcpTransport>;

    fn connect(
        &self,
        details: &ConnectionDetails<'_>,
        chained: Option<In>,
    ) -> Result<Option<Self::Out>, Error> {
        if chained.is_some() {
            return Ok(chained.map(Either::A));
        }
        let proxy = details.config.proxy().filter(|proxy| !proxy.is_no_proxy(details.uri));
        if proxy.is_some() {
            return Err(Error::Other("only proxies that speak HTTP can be used".into()));
        }
        let stream = Arc::new(connect(details)?);
        stream.set_nodelay(true)?;
        set_socket_linger(&*stream, Some(Duration::ZERO)).map_err(io::Error::from)?;
        let handle: Weak<TcpStream> = Arc::downgrade(&stream);
        (details.register_shutdown)(handle as Weak<dyn ShutdownHandle>)?;
        let config = details.config;
        let buffers = LazyBuffers::new(config.input_buffer_size(), config.output_buffer_size());
        Ok(Some(Either::B(TcpTransport { stream, buffers })))
    }
}

/// Tries each address of a server, for an equal share of the time that there is.
fn connect(details: &ConnectionDetails<'_>) -> Result<TcpStream, Error> {
    let share = details.timeout.not_zero().map(|limit| {
        let count = u32::try_from(details.addrs.len()).unwrap_or(1);
        *limit / count.max(1)
    });
    let mut failure = Error::ConnectionFailed;
    for address in &details.addrs {
        let connected = match share {
            Some(share) => TcpStream::connect_timeout(address, share),
            None => TcpStream::connect(address),
        };
        match connected {
            Ok(stream) => return Ok(stream),
            Err(error) => failure = as_timeout(error, Timeout::Connect),
        }
    }
    Err(failure)
}

fn as_timeout(error: io::Error, which: Timeout) -> Error {
    match error.kind() {
        ErrorKind::TimedOut | ErrorKind::WouldBlock => Error::Timeout(which),
        _ => Error::Io(error),
    }
}

/// A connection without TLS.
pub(super) struct TcpTransport {
    stream: Arc<TcpStream>,
    buffers: LazyBuffers,
}

impl Transport for TcpTransport {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        let timeout = timeout.for_write();
        self.stream.set_write_timeout(timeout.not_zero().map(|limit| *limit))?;
        let output = &self.buffers.output()[..amount];
        (&*self.stream).write_all(output).map_err(|error| as_timeout(error, timeout.reason))
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        let timeout = timeout.for_read();
        self.stream.set_read_timeout(timeout.not_zero().map(|limit| *limit))?;
        let input = self.buffers.input_append_buf();
        let amount = loop {
            match (&*self.stream).read(input) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {},
                other => break other.map_err(|error| as_timeout(error, timeout.reason))?,
            }
        };
        self.buffers.input_appended(amount);
        Ok(amount > 0)
    }

    /// Connections are used once.
    fn is_open(&mut self) -> bool {
        false
    }
}

impl fmt::Debug for TcpTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TcpTransport").field(&self.stream.peer_addr().ok()).finish()
    }
}

//! One request, one connection: a socket of this machine, TCP, or TLS over TCP.

use std::io;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::header::{self, HeaderValue};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use super::{Address, ClientError};

/// Time in which a connection must be there.
const CONNECT: Duration = Duration::from_secs(10);
/// Time in which an answer must begin; a plan asks every plugin, and some of them ask others.
const ANSWER: Duration = Duration::from_mins(5);

/// A connection of any kind.
trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// Sends a request and answers the head of what comes back.
pub(super) async fn send(
    server: &Address,
    mut request: Request<Full<Bytes>>,
) -> Result<Response<Incoming>, ClientError> {
    let host = HeaderValue::try_from(server.host()).map_err(|_| ClientError::Address {
        given: server.to_string(),
        reason: "names a host that cannot be",
    })?;
    request.headers_mut().insert(header::HOST, host);
    let connected = timeout(CONNECT, connect(server)).await;
    let stream = connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
    let unreachable = |source| ClientError::Connect { server: server.clone(), source };
    let stream = TokioIo::new(stream.map_err(unreachable)?);
    let failed = |source| failure(server, source);
    let (mut sender, connection) = http1::handshake(stream).await.map_err(failed)?;
    // Its errors are told to whoever reads the answer.
    drop(tokio::spawn(connection));
    match timeout(ANSWER, sender.send_request(request)).await {
        Ok(answer) => answer.map_err(failed),
        Err(_) => Err(ClientError::Silent { server: server.clone(), after: ANSWER }),
    }
}

async fn connect(server: &Address) -> io::Result<Box<dyn Stream>> {
    Ok(match server {
        Address::Socket(path) => Box::new(UnixStream::connect(path).await?),
        Address::Loopback { host, port } => {
            Box::new(TcpStream::connect((host.as_str(), *port)).await?)
        },
        Address::Tls { .. } => return Err(io::ErrorKind::Unsupported.into()),
    })
}

/// What an error of hyper means.
pub(super) fn failure(server: &Address, source: hyper::Error) -> ClientError {
    let server = server.clone();
    if source.is_parse() {
        return ClientError::NotHttp { server, source };
    }
    ClientError::Broken { server, source }
}

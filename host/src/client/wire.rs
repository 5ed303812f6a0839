//! One request, one connection: a socket of this machine, TCP, or TLS over TCP.

use std::io;
use std::time::Duration;

use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::header::{self, HeaderValue};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;
use tokio_rustls::rustls;
use tokio_rustls::rustls::pki_types::ServerName;

use super::trust::Tls;
use super::{Address, ClientError};

/// Time in which a connection must be there.
const CONNECT: Duration = Duration::from_secs(10);

/// What is sent.
pub(super) type Body = UnsyncBoxBody<Bytes, io::Error>;

/// A connection of any kind.
trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// Sends a request and answers the head of what comes back.
pub(super) async fn send(
    server: &Address,
    tls: Option<&Tls>,
    mut request: Request<Body>,
    patience: Duration,
) -> Result<Response<Incoming>, ClientError> {
    let host = HeaderValue::try_from(server.host()).map_err(|_| ClientError::Address {
        given: server.to_string(),
        reason: "names a host that cannot be",
    })?;
    request.headers_mut().insert(header::HOST, host);
    let unreachable = |source| ClientError::Connect { server: server.clone(), source };
    let connected = timeout(CONNECT, connect(server, tls)).await;
    let stream = connected.map_err(|_| unreachable(io::ErrorKind::TimedOut.into()))??;
    let stream = TokioIo::new(stream);
    let failed = |source| failure(server, source);
    let (mut sender, connection) = http1::handshake(stream).await.map_err(failed)?;
    // Its errors are told to whoever reads the answer.
    drop(tokio::spawn(connection));
    match timeout(patience, sender.send_request(request)).await {
        Ok(answer) => answer.map_err(failed),
        Err(_) => Err(ClientError::Silent { server: server.clone(), after: patience }),
    }
}

async fn connect(server: &Address, tls: Option<&Tls>) -> Result<Box<dyn Stream>, ClientError> {
    let unreachable = |source| ClientError::Connect { server: server.clone(), source };
    let tcp = async |host: &str, port: u16| TcpStream::connect((host, port)).await;
    Ok(match server {
        Address::Socket(path) => Box::new(UnixStream::connect(path).await.map_err(unreachable)?),
        Address::Loopback { host, port } => Box::new(tcp(host, *port).await.map_err(unreachable)?),
        Address::Tls { host, port } => {
            let Some(tls) = tls else {
                return Err(unreachable(io::ErrorKind::Unsupported.into()));
            };
            let name = ServerName::try_from(host.clone())
                .map_err(|error| unreachable(io::Error::other(error)))?;
            let plain = tcp(host, *port).await.map_err(unreachable)?;
            let secure = tls.connector().connect(name, plain).await;
            Box::new(secure.map_err(|source| insecure(server, tls, source))?)
        },
    })
}

/// Why a connection did not become secure.
fn insecure(server: &Address, tls: &Tls, source: io::Error) -> ClientError {
    let server = server.clone();
    match source.get_ref().and_then(|error| error.downcast_ref::<rustls::Error>()) {
        Some(rustls::Error::InvalidCertificate(_)) => {
            ClientError::Untrusted { server, shown: tls.shown(), source }
        },
        Some(_) => ClientError::Tls { server, source },
        None => ClientError::Connect { server, source },
    }
}

/// What an error of hyper means.
pub(super) fn failure(server: &Address, source: hyper::Error) -> ClientError {
    let server = server.clone();
    if source.is_parse() {
        return ClientError::NotHttp { server, source };
    }
    ClientError::Broken { server, source }
}

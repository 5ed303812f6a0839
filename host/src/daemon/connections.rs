//! Connections: from the network and at the daemon's own socket, with one router behind both.
//!
//! A client that is slow to say what it wants is hung up on. What is under way when the daemon stops is
//! answered first.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use axum::Router;
use camino::Utf8Path;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper::{Request, rt};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, UnixListener};

use super::access::Peer;

/// Time that a client has to send the head of a request, and to send the next request on
/// its connection.
const HEAD_TIME: Duration = Duration::from_secs(30);
/// Longest head of a request, in bytes.
const MAX_HEAD_BYTES: usize = 64 << 10;
/// Pause when no connection can be accepted, such as for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// Where connections come in.
#[derive(Debug)]
pub(super) struct Doors {
    network: TcpListener,
    local: UnixListener,
}

impl Doors {
    /// Listens at `network` and at the socket `path`, which only its owner may open.
    pub(super) fn open(network: TcpListener, path: &Utf8Path) -> io::Result<Self> {
        // What a daemon that was killed left; the lock of the data directory says that none is there.
        match fs_err::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {},
        }
        let local = UnixListener::bind(path)?;
        fs_err::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
        Ok(Self { network, local })
    }

    /// Answers with `router` until `stopped`, then finishes the answers under way.
    pub(super) async fn serve(self, router: Router, stopped: impl Future<Output = ()>) {
        let under_way = GracefulShutdown::new();
        let mut stopped = std::pin::pin!(stopped);
        loop {
            let accepted = tokio::select! {
                () = &mut stopped => break,
                accepted = self.network.accept() => accepted.map(|(stream, address)| {
                    // Small answers must not wait for more.
                    drop(stream.set_nodelay(true));
                    let peer = Peer::Network { address };
                    tokio::spawn(talk(stream, peer, router.clone(), under_way.watcher()));
                }),
                accepted = self.local.accept() => accepted.map(|(stream, _)| {
                    let peer = Peer::local(stream.peer_cred().ok().map(|peer| peer.uid()));
                    tokio::spawn(talk(stream, peer, router.clone(), under_way.watcher()));
                }),
            };
            if let Err(error) = accepted {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "no connection is accepted"
                );
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
        drop(self);
        under_way.shutdown().await;
    }
}

/// Answers the requests of one connection.
async fn talk<S>(stream: S, peer: Peer, router: Router, under_way: Watcher)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    TokioIo<S>: rt::Read + rt::Write,
{
    let router = TowerToHyperService::new(router);
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(peer.clone());
        router.call(request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .max_buf_size(MAX_HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    if let Err(error) = under_way.watch(connection).await {
        tracing::debug!(error = &error as &dyn std::error::Error, "a connection ends early");
    }
}

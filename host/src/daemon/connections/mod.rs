//! Connections: from the network, with or without TLS, and at the daemon's own socket, with one router
//! behind all.
//!
//! A client that is slow to say what it wants is hung up on: `paced` and `bodies`. Those that are too many
//! (`crowd`) are told so, as long as that costs little. What is under way when the daemon stops is answered first.

mod bodies;
mod crowd;
mod paced;

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::IntoResponse;
use camino::Utf8Path;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio::time::timeout;
use tokio_rustls::server::TlsStream;

use super::access::Peer;
use super::metrics::{Connections, Door};
use super::problem::Problem;
use super::site::Site;
use super::tls::Tls;
use crate::factory::Surroundings;
use crate::failures::{Exit, Failure};
use crate::settings::ConnectionSettings;
use bodies::Passed;
pub(super) use bodies::hurry;
use crowd::Crowd;
use paced::{Answering, Paced};

/// Longest head of a request, in bytes.
const MAX_HEAD_BYTES: usize = 64 << 10;
/// Pause when no connection can be accepted, such as for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);
/// How many of the connections that are too many are told so at once; further ones are closed.
const TOLD_REFUSALS: u64 = 32;
/// First byte of a TLS handshake: the content type of RFC 8446, section 5.1.
const TLS_HANDSHAKE: u8 = 22;

/// Where connections come in.
#[derive(Debug)]
pub(super) struct Doors {
    network: TcpListener,
    local: UnixListener,
    rules: Arc<Rules>,
}

/// What connections are subject to.
#[derive(Debug)]
pub(super) struct Rules {
    /// Its settings hold for connections from now on.
    pub(super) site: Arc<Site>,
    /// `None` when clients from the network speak without.
    pub(super) tls: Option<Arc<Tls>>,
    pub(super) figures: Arc<Connections>,
}

/// A connection and what it is subject to.
struct Visit {
    peer: Peer,
    router: Router,
    limits: ConnectionSettings,
    rules: Arc<Rules>,
    under_way: Watcher,
}

impl Doors {
    /// Listens at `network` and at the socket `path`, which only its owner may open.
    pub(super) fn open(network: TcpListener, path: &Utf8Path, rules: Rules) -> io::Result<Self> {
        // What a daemon that was killed left; the lock of the data directory says that none is there.
        match fs_err::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {},
        }
        let local = UnixListener::bind(path)?;
        fs_err::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
        Ok(Self { network, local, rules: Arc::new(rules) })
    }

    /// Answers with `router` until `stopped`, then finishes the answers under way.
    pub(super) async fn serve(self, router: Router, stopped: impl Future<Output = ()>) {
        let under_way = GracefulShutdown::new();
        let visit = |peer| Visit {
            peer,
            router: router.clone(),
            limits: self.rules.site.settings().serve.connections,
            rules: Arc::clone(&self.rules),
            under_way: under_way.watcher(),
        };
        let mut crowd = Crowd::default();
        let mut stopped = std::pin::pin!(stopped);
        loop {
            let accepted = tokio::select! {
                () = &mut stopped => break,
                accepted = self.network.accept() => accepted.map(|(stream, address)| {
                    meet(&mut crowd, stream, address, visit(Peer::Network { address }));
                }),
                accepted = self.local.accept() => accepted.map(|(stream, _)| {
                    let peer = Peer::local(stream.peer_cred().ok().map(|peer| peer.uid()));
                    let visit = visit(peer);
                    let open = visit.rules.figures.accept(Door::Local);
                    tokio::spawn(async move {
                        visit.talk(stream).await;
                        drop(open);
                    });
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
        drop(self.network);
        drop(self.local);
        under_way.shutdown().await;
    }
}

/// Receives a connection from the network.
fn meet(crowd: &mut Crowd, stream: TcpStream, address: SocketAddr, mut visit: Visit) {
    let figures = &visit.rules.figures;
    let mut door = Door::Network;
    let place = crowd.enter(address.ip(), &visit.limits, figures);
    if let Err(problem) = place {
        figures.refused();
        door = Door::Refused;
        if figures.open(door) >= TOLD_REFUSALS {
            return;
        }
        visit.router = refusing(problem);
    }
    let open = figures.accept(door);
    // Small answers must not wait for more.
    drop(stream.set_nodelay(true));
    tokio::spawn(async move {
        visit.greet(stream).await;
        // In this order: a connection that is not counted any more holds no place.
        drop((place, open));
    });
}

impl Visit {
    /// Begins TLS, where it is spoken, and answers requests.
    async fn greet(mut self, stream: TcpStream) {
        let Some(tls) = self.rules.tls.clone() else {
            return self.talk(stream).await;
        };
        let figures = &self.rules.figures;
        match timeout(self.limits.handshake_seconds.time(), begin_tls(stream, &tls)).await {
            Ok(Ok(Begun::Tls(stream))) => self.talk(stream).await,
            Ok(Ok(Begun::Clear(stream))) => {
                figures.handshake_failed("clear");
                self.router = refusing(in_the_clear);
                self.talk(stream).await;
            },
            Ok(Err(error)) => {
                figures.handshake_failed("tls");
                let error = &error as &dyn std::error::Error;
                tracing::debug!(error, peer = %self.peer, "a TLS handshake fails");
            },
            Err(_) => figures.handshake_failed("timeout"),
        }
    }

    /// Answers the requests of the connection.
    async fn talk<S>(self, stream: S)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let Self { peer, router, limits, rules, under_way } = self;
        let (answering, router) = (Answering::default(), TowerToHyperService::new(router));
        let figures = Arc::clone(&rules.figures);
        let stream = Paced::new(stream, limits, figures, answering.clone());
        let service = service_fn(move |mut request: Request<Incoming>| {
            answering.begin();
            request.extensions_mut().insert(peer.clone());
            let (answer, answering) = (router.call(request), answering.clone());
            async move {
                let answer = answer.await?;
                Ok::<_, Infallible>(answer.map(|body| Passed::new(body, answering)))
            }
        });
        let connection = http1::Builder::new()
            .max_buf_size(MAX_HEAD_BYTES)
            .serve_connection(TokioIo::new(stream), service);
        if let Err(error) = under_way.watch(connection).await {
            tracing::debug!(error = &error as &dyn std::error::Error, "a connection ends early");
        }
    }
}

/// How a client began.
enum Begun {
    Tls(Box<TlsStream<TcpStream>>),
    Clear(TcpStream),
}

async fn begin_tls(stream: TcpStream, tls: &Tls) -> io::Result<Begun> {
    let mut first = [0];
    match stream.peek(&mut first).await? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ if first[0] == TLS_HANDSHAKE => {
            Ok(Begun::Tls(Box::new(tls.acceptor().accept(stream).await?)))
        },
        _ => Ok(Begun::Clear(stream)),
    }
}

/// Answers every request with `problem`, and hangs up.
fn refusing(problem: fn() -> Problem) -> Router {
    Router::new().fallback(move || async move {
        let mut answer: Response<Body> = problem().into_response();
        answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        answer
    })
}

fn in_the_clear() -> Problem {
    let failure = Failure::new(Exit::Usage, "a request without TLS came to a port that wants TLS")
        .hint("begin the URL with `https://`");
    Problem::refused(StatusCode::BAD_REQUEST, "tls-required", "TLS is required", failure)
}

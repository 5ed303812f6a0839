//! Sends requests for one build.

use std::fmt;
use std::io::ErrorKind;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::{self, Thread};
use std::time::{Duration, SystemTime};

use plugin_api::Builder;
use ureq::http::{self, Response, StatusCode, Uri};
use ureq::{Agent, Body, SendBody, Timeout};

use super::early::Answered;
use super::error::{Words, printable, words_of};
use super::retry::{Retry, WATCH, retry_after};
use super::secret::Mask;
use super::{Answer, Options, Refusal, Request, Secret, TransferError, Upload};

/// Longest answer that is read, in bytes.
const MAX_ANSWER_BYTES: u64 = 64 << 20;
/// How long a server that is told the end of a body after a cancel may take to answer.
const LAST_WORD: Duration = Duration::from_secs(2);
/// From this size on, a server is asked whether it wants a body before it is sent.
const ASK_FIRST_BYTES: u64 = 1 << 20;

/// Sends requests for one build, one at a time.
pub struct Client<'a> {
    builder: &'a Builder,
    options: Options,
    agent: Agent,
    answered: Answered,
    mask: Mutex<Mask>,
    heeds_cancel: bool,
}

impl<'a> Client<'a> {
    /// A client for the build of `builder`, which it asks whether it was cancelled.
    ///
    /// # Errors
    /// [`TransferError::Authorities`].
    pub fn new(builder: &'a Builder, options: Options) -> Result<Self, TransferError> {
        if options.insecure {
            tracing::warn!("certificates are not checked: whoever stands between reads everything");
        }
        let answered = Answered::default();
        let agent = options.agent(answered.clone())?;
        let mut mask = Mask::default();
        options.secrets.iter().for_each(|secret| mask.add(secret));
        let mask = Mutex::new(mask);
        Ok(Self { builder, options, agent, answered, mask, heeds_cancel: true })
    }

    /// The same over new connections, for removing what was half there: goes on after a cancel, and
    /// gives up after seconds.
    ///
    /// # Errors
    /// [`TransferError::Authorities`].
    pub fn for_clean_up(&self) -> Result<Self, TransferError> {
        let options = self.options.clone().for_clean_up();
        let answered = Answered::default();
        let agent = options.agent(answered.clone())?;
        let mask = Mutex::new(self.mask().clone());
        let builder = self.builder;
        Ok(Self { builder, options, agent, answered, mask, heeds_cancel: false })
    }

    /// The build.
    pub fn builder(&self) -> &'a Builder {
        self.builder
    }

    /// How servers are spoken to.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// From now on this is not shown either: a token that a server gave.
    pub fn keep_secret(&self, secret: &Secret) {
        self.mask().add(secret);
    }

    /// `text` with all secrets replaced, on one line and cut.
    pub fn shown(&self, text: &str) -> String {
        printable(&self.mask().hide(text))
    }

    fn mask(&self) -> MutexGuard<'_, Mask> {
        self.mask.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// # Errors
    /// [`TransferError::Cancelled`].
    pub(super) fn check_cancelled(&self) -> Result<(), TransferError> {
        if self.heeds_cancel && self.builder.cancelled() {
            return Err(TransferError::Cancelled);
        }
        Ok(())
    }

    /// Sends a request, again after what may pass, and reads the whole answer.
    ///
    /// # Errors
    /// [`TransferError`]; also for every status that is neither 2xx, 300 nor accepted.
    pub fn send(&self, request: &Request) -> Result<Answer, TransferError> {
        self.repeat(request, || self.exchange(request, None))
    }

    /// Sends a request with a part of a file as its body, again from its beginning after what may pass.
    ///
    /// # Errors
    /// [`TransferError`].
    pub fn upload(&self, request: &Request, upload: &mut Upload) -> Result<Answer, TransferError> {
        self.repeat(request, || self.exchange(request, Some(&mut *upload)))
    }

    fn repeat(
        &self,
        request: &Request,
        mut attempt: impl FnMut() -> Result<Answer, TransferError>,
    ) -> Result<Answer, TransferError> {
        let mut retry = Retry::of_one_request(self);
        loop {
            match attempt() {
                Err(error) if request.is_repeatable || error.is_unsent() => retry.wait(error)?,
                other => return other,
            }
        }
    }

    /// One try, watched: a cancel closes its connection.
    fn exchange(
        &self,
        request: &Request,
        upload: Option<&mut Upload>,
    ) -> Result<Answer, TransferError> {
        self.check_cancelled()?;
        self.answered.set(false);
        let is_over = AtomicBool::new(false);
        let ends_early = upload.as_ref().is_some_and(|upload| upload.ends_early);
        thread::scope(|scope| {
            let watcher = scope.spawn(|| {
                while self.heeds_cancel && !is_over.load(Ordering::Acquire) {
                    if self.builder.cancelled() {
                        if ends_early {
                            thread::park_timeout(LAST_WORD);
                        }
                        if is_over.load(Ordering::Acquire) {
                            return;
                        }
                        return self.agent.clone().shutdown();
                    }
                    thread::park_timeout(WATCH);
                }
            });
            let _end = EndOfWatch { is_over: &is_over, watcher: watcher.thread() };
            // Whatever a cancel broke was broken by it.
            self.attempt(request, upload).map_err(|error| match self.check_cancelled() {
                Err(cancelled) => cancelled,
                Ok(()) => error,
            })
        })
    }

    fn attempt(
        &self,
        request: &Request,
        upload: Option<&mut Upload>,
    ) -> Result<Answer, TransferError> {
        let mut head = http::Request::builder().method(&request.method).uri(&request.url);
        for (name, value) in &request.headers {
            head = head.header(name, value);
        }
        let unusable = |error: http::Error| self.url_error(request, &error.to_string());
        if request.has_wrong_port() {
            return Err(self.url_error(request, "its port is no number up to 65535"));
        }
        let Some(upload) = upload else {
            let result = match &request.body {
                Some(body) => self.agent.run(head.body(&body[..]).map_err(unusable)?),
                None => self.agent.run(head.body(()).map_err(unusable)?),
            };
            return self.answer(request, result.map_err(|error| self.failure(request, error))?);
        };
        let size_bytes = upload.size_bytes();
        if !upload.ends_early {
            head = head.header("content-length", size_bytes);
        }
        if size_bytes >= ASK_FIRST_BYTES {
            head = head.header("expect", "100-continue");
        }
        let file = |source| TransferError::File { path: upload.path().to_owned(), source };
        let mut sending =
            upload.open(self.builder, self.answered.clone(), self.heeds_cancel).map_err(file)?;
        let body = SendBody::from_reader(&mut sending);
        let result = self.agent.run(head.body(body).map_err(unusable)?);
        let failure = sending.failure();
        // Also when the answer is lost: what was sent may have arrived.
        upload.sent(sending);
        if let Some(source) = failure {
            return Err(TransferError::File { path: upload.path().to_owned(), source });
        }
        self.answer(request, result.map_err(|error| self.failure(request, error))?)
    }

    fn answer(&self, request: &Request, response: Response<Body>) -> Result<Answer, TransferError> {
        let (head, mut body) = response.into_parts();
        let status = head.status;
        let is_fine = status.is_success()
            || status == StatusCode::MULTIPLE_CHOICES
            || request.accepted.contains(&status.as_u16());
        let body = body.with_config().limit(MAX_ANSWER_BYTES).read_to_vec();
        let body = match body {
            Ok(body) => body,
            // The status says enough.
            Err(_) if !is_fine => Vec::new(),
            Err(error) => return Err(self.failure(request, error)),
        };
        if is_fine {
            let asked = self.shown(&request.shown());
            return Ok(Answer { asked, status: status.as_u16(), headers: head.headers, body });
        }
        let now = SystemTime::now();
        let after = head.headers.get("retry-after").and_then(|value| value.to_str().ok());
        Err(TransferError::Refused(Box::new(Refusal {
            asked: self.shown(&request.shown()),
            host: request.host(),
            status,
            retry_after: after.and_then(|value| retry_after(value, now)),
            words: self.shown(&words_of(&body)),
            headers: head.headers,
        })))
    }

    fn url_error(&self, request: &Request, reason: &str) -> TransferError {
        let source = Words(self.shown(reason));
        TransferError::Url { asked: self.shown(&request.shown()), source }
    }

    /// How a server is reached, as the beginning of a sentence.
    fn route(&self, request: &Request) -> String {
        let proxy = self.agent.config().proxy();
        match (proxy, request.url.parse::<Uri>()) {
            (Some(proxy), Ok(uri)) if !proxy.is_no_proxy(&uri) => {
                format!("by way of the proxy `{}:{}`: ", proxy.host(), proxy.port())
            },
            _ => String::new(),
        }
    }

    fn failure(&self, request: &Request, error: ureq::Error) -> TransferError {
        use ureq::Error;

        let host = request.host();
        let asked = self.shown(&request.shown());
        let source = Words(self.shown(&format!("{}{}", self.route(request), told(&error))));
        match error {
            Error::BadUri(_) | Error::Http(_) | Error::InvalidProxyUrl => {
                TransferError::Url { asked, source }
            },
            // Of the resolver.
            Error::Other(_)
            | Error::HostNotFound
            | Error::ConnectionFailed
            | Error::ConnectProxyFailed(_)
            | Error::Timeout(Timeout::Resolve | Timeout::Connect) => {
                TransferError::Unreachable { host, source }
            },
            Error::Io(error) if is_unreachable(error.kind()) => {
                TransferError::Unreachable { host, source }
            },
            Error::Timeout(_) => TransferError::Silent { host, asked, source },
            Error::Tls(_) | Error::Rustls(_) | Error::Pem(_) => TransferError::Tls { host, source },
            // What goes wrong inside TLS arrives as data that is not valid.
            Error::Io(error)
                if error.kind() == ErrorKind::InvalidData && request.url.starts_with("https:") =>
            {
                TransferError::Tls { host, source }
            },
            _ => TransferError::Cut { host, asked, source },
        }
    }
}

/// Sends a watcher home when it is dropped, in a panic too: a scope waits for its threads.
struct EndOfWatch<'a> {
    is_over: &'a AtomicBool,
    watcher: &'a Thread,
}

impl Drop for EndOfWatch<'_> {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Release);
        self.watcher.unpark();
    }
}

impl fmt::Debug for Client<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("options", &self.options).finish_non_exhaustive()
    }
}

fn is_unreachable(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::ConnectionRefused
            | ErrorKind::HostUnreachable
            | ErrorKind::NetworkUnreachable
            | ErrorKind::NetworkDown
            | ErrorKind::AddrNotAvailable
    )
}

/// An error with what caused it, each once.
fn told(error: &ureq::Error) -> String {
    let mut text = match error {
        ureq::Error::Io(error) => error.to_string(),
        ureq::Error::Other(error) => error.to_string(),
        error => error.to_string(),
    };
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

//! What goes into the audit log: every request that changes something, and every one that was refused.
//!
//! A line is written before the answer is sent. That it cannot be written stops nobody, since a full disk
//! must not end the service, but it is loud: the daemon's own log has the line, the daemon is not ready,
//! and the next line that is written tells how many are missing.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::MatchedPath;
use axum::http::request::Parts;
use axum::http::{Method, StatusCode};
use axum::response::Response;
use camino::{Utf8Path, Utf8PathBuf};
use jiff::Timestamp;
use tokio::task::JoinHandle;

use super::rates::{Buckets, Key, Quota};
use super::{Caller, Peer};
use crate::audit::{AuditLog, Deed, Entry};
use crate::daemon::Daemon;
use crate::daemon::requests::{RequestId, method};
use crate::factory::Surroundings;
use crate::images::{ImageId, JobId};

/// Refusals of one address that are written down. Somebody who is refused again and again must not push
/// out what others did.
const REFUSALS: Quota = Quota { interval: Duration::from_secs(1), burst: 100 };

/// What a handler did it to: an extension of its answer.
#[derive(Clone, Debug, Default)]
pub(in crate::daemon) struct Subjects {
    /// The job that was accepted.
    pub(in crate::daemon) job: Option<JobId>,
    /// The images that were made or changed.
    pub(in crate::daemon) images: Vec<ImageId>,
}

impl Subjects {
    /// One image.
    pub(in crate::daemon) fn of(image: ImageId) -> Self {
        Self { job: None, images: vec![image] }
    }
}

/// Why a request was refused: an extension of its answer.
#[derive(Clone, Debug)]
pub(super) struct Reason(pub(super) String);

/// The audit log of a daemon.
#[derive(Debug)]
pub(super) struct Audit {
    data_dir: Utf8PathBuf,
    /// Lines that are missing since the last one.
    omitted: AtomicU64,
    /// Why the last line could not be written.
    problem: Mutex<Option<String>>,
    refusals: Buckets,
}

impl Audit {
    /// Nothing is written yet.
    pub(super) fn new(data_dir: &Utf8Path) -> Self {
        Self {
            data_dir: data_dir.to_owned(),
            omitted: AtomicU64::new(0),
            problem: Mutex::default(),
            refusals: Buckets::default(),
        }
    }

    /// Why nothing can be written; tries again if there was a reason.
    pub(super) fn problem(&self, configured: Option<&Utf8Path>) -> Option<String> {
        let problem = || self.problem.lock().unwrap_or_else(PoisonError::into_inner);
        let had_one = problem().is_some();
        if had_one {
            let resumed = Entry { time: Timestamp::now(), credential: "none", ..Entry::default() };
            self.write(configured, resumed);
        }
        problem().clone()
    }

    fn write(&self, configured: Option<&Utf8Path>, mut entry: Entry) {
        let log = AuditLog::new(&self.data_dir, configured);
        entry.omitted = self.omitted.swap(0, Ordering::Relaxed);
        let written = log.append(&entry);
        if let Err(error) = &written {
            let is_news = !matches!(entry.deed, Deed::Resumed { .. });
            self.omitted.fetch_add(entry.omitted + u64::from(is_news), Ordering::Relaxed);
            let error = error as &dyn std::error::Error;
            let entry = serde_json::to_string(&entry).unwrap_or_default();
            tracing::error!(target: "imageforge::audit", error, entry, "the audit log is not written");
        }
        let problem = written.err().map(|error| error.to_string());
        *self.problem.lock().unwrap_or_else(PoisonError::into_inner) = problem;
    }
}

/// A request under way. When nobody waits for its answer any more, it is written down without one.
#[derive(Debug)]
pub(super) struct Note {
    daemon: Arc<Daemon>,
    address: Key,
    is_change: bool,
    /// Missing once it is written.
    entry: Option<Entry>,
}

impl Note {
    /// Begins with what is known before anything is done.
    pub(super) fn begin(daemon: &Arc<Daemon>, request: &Parts) -> Self {
        let peer = request.extensions.get::<Peer>();
        let id = request.extensions.get::<RequestId>();
        let route = request.extensions.get::<MatchedPath>();
        let network = peer.filter(|peer| matches!(peer, Peer::Network { .. }));
        let entry = Entry {
            credential: "none",
            address: network.map(ToString::to_string),
            deed: Deed::Request {
                request_id: id.map(|id| id.0.clone()).unwrap_or_default(),
                method: method(&request.method),
                route: route.map(|route| route.as_str().to_owned()),
                // Where there is no route, anything may stand in the path.
                path: route.map(|_| request.uri.path().to_owned()),
                status: None,
                reason: None,
            },
            ..Entry::default()
        };
        let reads = [Method::GET, Method::HEAD, Method::OPTIONS];
        Self {
            daemon: Arc::clone(daemon),
            address: Key::of(peer),
            is_change: !reads.contains(&request.method),
            entry: Some(entry),
        }
    }

    /// Notes who it was.
    pub(super) fn caller(&mut self, caller: &Caller) {
        if let Some(entry) = &mut self.entry {
            entry.user = Some(caller.user.clone());
            entry.credential = caller.credential.as_str();
        }
    }

    /// Writes down how it ended, if that is of interest; the answer waits for that.
    pub(super) fn end(mut self, response: &Response) -> Option<JoinHandle<()>> {
        let mut entry = self.entry.take()?;
        let (answer, extensions) = (response.status(), response.extensions());
        let is_refused = matches!(
            answer,
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::TOO_MANY_REQUESTS
        );
        if !is_refused && !self.is_change {
            return None;
        }
        let audit = &self.daemon.access.audit;
        if is_refused && audit.refusals.take(&self.address, REFUSALS).is_err() {
            audit.omitted.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        if let Deed::Request { status, reason, .. } = &mut entry.deed {
            *status = Some(answer.as_u16());
            *reason = extensions.get::<Reason>().map(|reason| reason.0.clone());
        }
        if let Some(subjects) = extensions.get::<Subjects>() {
            entry.jobs = subjects.job.iter().map(ToString::to_string).collect();
            entry.images = subjects.images.iter().map(ToString::to_string).collect();
        }
        let daemon = Arc::clone(&self.daemon);
        Some(tokio::task::spawn_blocking(move || write(&daemon, entry)))
    }
}

impl Drop for Note {
    fn drop(&mut self) {
        if let Some(entry) = self.entry.take().filter(|_| self.is_change) {
            let daemon = Arc::clone(&self.daemon);
            match tokio::runtime::Handle::try_current() {
                Ok(runtime) => drop(runtime.spawn_blocking(move || write(&daemon, entry))),
                Err(_) => write(&daemon, entry),
            }
        }
    }
}

fn write(daemon: &Daemon, mut entry: Entry) {
    entry.time = Timestamp::now();
    let settings = daemon.site.settings();
    daemon.access.audit.write(settings.serve.audit_log.as_deref(), entry);
}

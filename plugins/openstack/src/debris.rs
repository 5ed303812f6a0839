//! What must not stay at the provider when a delivery ends early.
//!
//! It is noted before it is made, so that whatever happens in between is removed: by the delivery
//! itself when it fails, and by `abort` when it does not get that far.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use plugin_api::{Builder, DelegateError, ProviderIdentity};
use plugin_kit::transfer::{Options, Request, TransferError};

use crate::credentials::Access;
use crate::session::{Session, Signed};

/// How long `abort` leaves the removing to the delivery itself.
const OWN_TIME: Duration = Duration::from_millis(1500);

/// When is looked again for what was not there.
const SECOND_LOOK: Duration = Duration::from_millis(300);

/// URLs of what is half there, and who may delete it.
#[derive(Debug, Default)]
pub(crate) struct Debris(Mutex<Noted>);

#[derive(Debug, Default)]
struct Noted {
    /// Each with whether something was made there, as far as one knows.
    urls: BTreeMap<String, bool>,
    account: Option<(Access, Signed)>,
}

impl Debris {
    fn noted(&self) -> MutexGuard<'_, Noted> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes what will be at `url` in a moment.
    pub(crate) fn expect(&self, session: &Session<'_>, url: String) {
        let mut noted = self.noted();
        noted.urls.entry(url).or_default();
        noted.account = Some((session.access().clone(), session.known()));
    }

    /// Notes what is at `url`, or may be.
    pub(crate) fn note(&self, session: &Session<'_>, url: String) {
        self.expect(session, url.clone());
        self.noted().urls.insert(url, true);
    }

    fn urls(&self) -> Vec<String> {
        self.noted().urls.keys().cloned().collect()
    }

    /// What stays when nothing could be removed any more.
    fn left(&self) -> Vec<String> {
        let noted = self.noted();
        noted.urls.iter().filter(|(_, is_made)| **is_made).map(|(url, _)| url.clone()).collect()
    }

    /// What is at `url` is to stay, or is gone.
    pub(crate) fn forget(&self, url: &str) {
        self.noted().urls.remove(url);
    }

    /// Removes everything that is noted, with all the patience of `session` unless the build was
    /// cancelled.
    pub(crate) fn remove_patiently(&self, session: &Session<'_>) {
        for url in self.urls() {
            // Who is not there for one is not there for the others.
            if delete(session, &url).is_err() {
                break;
            }
            self.forget(&url);
        }
        self.remove(session);
    }

    /// Removes everything that is noted within seconds, cancelled or not. What stays all the same is
    /// told in the log.
    pub(crate) fn remove(&self, session: &Session<'_>) {
        let urls = self.urls();
        if urls.is_empty() {
            return;
        }
        let removed = session.for_clean_up().map(|session| {
            for url in &urls {
                match delete(&session, url) {
                    Ok(()) => self.forget(url),
                    Err(error) => tracing::warn!(%error, url, "something half-made stays behind"),
                }
            }
        });
        if let Err(error) = removed {
            tracing::warn!(%error, "something half-made stays behind");
        }
    }

    /// The same from another thread, when the delivery did not get to it in time.
    pub(crate) fn abort(&self, builder: &Builder) {
        let end = Instant::now() + OWN_TIME;
        while !self.noted().urls.is_empty() {
            if Instant::now() < end {
                std::thread::sleep(Duration::from_millis(50));
                continue;
            }
            let account = self.noted().account.clone();
            if let Some((access, signed)) = account
                && let Ok(session) = Session::resume(builder, access, Options::default(), signed)
            {
                self.remove(&session);
            }
            self.keep(builder);
            return;
        }
    }

    /// Adds to the error that ends a delivery what stays all the same, and has the record keep it.
    pub(crate) fn told(&self, builder: &Builder, error: DelegateError) -> DelegateError {
        let kept = self.keep(builder);
        self.left().iter().fold(error, |error, url| {
            let (kind, id) = parts(url);
            let command = match &kept {
                Some(kept) if kept == url => format!("imageforge images delete {}", builder.id()),
                _ => format!("openstack {kind} delete {id}"),
            };
            error.because(format!("{kind} `{id}` may be left at `{url}`")).hint(format!(
                "remove {kind} `{id}` with `{command}`, and credentials that are good"
            ))
        })
    }

    /// Has the record keep an image that stays, so that it can be deleted with it; answers its URL.
    fn keep(&self, builder: &Builder) -> Option<String> {
        let url = self.left().into_iter().rfind(|url| parts(url).0 == "image")?;
        let mut identity = ProviderIdentity::new(parts(&url).1);
        let account = self.noted().account.clone();
        identity.provider_account_identifier = account.and_then(|(_, signed)| signed.account);
        match builder.left_behind(identity) {
            Ok(()) => Some(url),
            Err(error) => {
                tracing::warn!(%error, url, "the record does not know what stays behind");
                None
            },
        }
    }
}

/// What is at `url`, `image` or `server`, and its identifier.
fn parts(url: &str) -> (&str, &str) {
    let (place, id) = url.rsplit_once('/').unwrap_or(("", url));
    let kind = place.rsplit('/').next().unwrap_or_default();
    (kind.trim_end_matches('s'), id)
}

/// Deletes what is at `url`. Where nothing is, something may come a moment later: a request that was cut
/// off in the midst of being answered.
fn delete(session: &Session<'_>, url: &str) -> Result<(), TransferError> {
    let request = Request::delete(url).accept(404).accept(410);
    if session.send(&request)?.status() == 404 {
        session.client().sleep(SECOND_LOOK)?;
        session.send(&request)?;
    }
    Ok(())
}

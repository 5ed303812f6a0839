//! The upload that is open in the registry: to be closed when it fails, to be taken up again when its
//! worker was killed.
//!
//! Where it is lies in a cache of the host, one file per blob and repository, which is removed with the
//! upload. `abort` runs on another thread and finds it in here.

use std::sync::{Mutex, PoisonError};

use camino::Utf8PathBuf;
use plugin_api::{Builder, DelegateError};
use plugin_kit::transfer::{Options, Request, TransferError};
use rustix::fs::Mode;

use super::address::Address;
use super::blobs::{location, taken};
use super::credentials::Credentials;
use super::session::Session;
use crate::documents::{digest, hex_of};

const CACHE: &str = "oci-uploads";

/// The upload of one push.
#[derive(Debug, Default)]
pub(crate) struct OpenUpload {
    folder: Utf8PathBuf,
    repository: String,
    /// A helper that has them cannot be asked any more when `abort` is called.
    credentials: Credentials,
    /// Where it goes on, and the file that says so.
    now: Mutex<Option<(String, Utf8PathBuf)>>,
}

impl OpenUpload {
    /// Keeps places in the host's cache.
    pub(super) fn of(session: &Session<'_>) -> Result<Self, DelegateError> {
        Ok(Self {
            folder: session.client.builder().cache_dir(CACHE)?,
            repository: session.repository.clone(),
            credentials: session.credentials.clone(),
            now: Mutex::default(),
        })
    }

    /// A session for closing it, on another thread than that which opened it.
    pub(super) fn session<'a>(
        &self,
        builder: &'a Builder,
        address: &Address,
    ) -> Result<Session<'a>, DelegateError> {
        let (credentials, options) = (self.credentials.clone(), Options::configured(builder)?);
        Session::with(credentials, builder, address, &self.repository, "pull,push", options)
    }

    /// Where the next byte goes.
    pub(super) fn opened(&self, session: &Session<'_>, digest: &str, location: &str) {
        let file = self.file(session, digest);
        if let Err(error) = write_private(&file, location) {
            tracing::warn!(%error, "a killed upload could not be taken up again");
        }
        self.set(Some((location.to_owned(), file)));
    }

    /// The blob is there.
    pub(super) fn forget(&self) {
        if let Some((_, file)) = self.set(None) {
            // Gone or not, it leads nowhere.
            drop(fs_err::remove_file(file));
        }
    }

    /// The upload that a killed worker left, if the registry still has it.
    pub(super) fn resumed(
        &self,
        session: &Session<'_>,
        digest: &str,
    ) -> Result<Option<(String, u64)>, TransferError> {
        let file = self.file(session, digest);
        let Ok(location) = fs_err::read_to_string(&file) else { return Ok(None) };
        let found = match asked(session, &location) {
            Err(TransferError::Cancelled) => return Err(TransferError::Cancelled),
            // What was true then need not be true now: an address that runs out, a server that has moved.
            Err(error) => {
                tracing::info!(%error, "an upload that was interrupted is not to be had");
                None
            },
            Ok(found) => found,
        };
        let Some((location, offset)) = found else {
            drop(fs_err::remove_file(file));
            return Ok(None);
        };
        tracing::info!(offset, "an upload that was interrupted goes on");
        self.opened(session, digest, &location);
        Ok(Some((location, offset)))
    }

    /// Closes it, if one is open.
    pub(super) fn cancel(&self, session: &Session<'_>) {
        let Some((location, file)) = self.set(None) else { return };
        drop(fs_err::remove_file(file));
        let request = [404, 405].into_iter().fold(Request::delete(&location), Request::accept);
        let closed = session.for_clean_up().and_then(|session| session.send(&request, &location));
        if let Err(error) = closed {
            tracing::warn!(%error, "a half-made upload stays in the registry until it forgets it");
        }
    }

    fn set(&self, now: Option<(String, Utf8PathBuf)>) -> Option<(String, Utf8PathBuf)> {
        std::mem::replace(&mut self.now.lock().unwrap_or_else(PoisonError::into_inner), now)
    }

    fn file(&self, session: &Session<'_>, blob: &str) -> Utf8PathBuf {
        self.folder.join(name(session, blob))
    }
}

/// One per place and blob: what is uploaded somewhere else is another upload.
pub(super) fn name(session: &Session<'_>, blob: &str) -> String {
    let place = format!("{}\n{blob}", session.url(""));
    hex_of(&digest(place.as_bytes())).to_owned()
}

/// How much of the upload at `location` the registry has, and where it goes on; `None` when it does
/// not say.
pub(super) fn asked(
    session: &Session<'_>,
    place: &str,
) -> Result<Option<(String, u64)>, TransferError> {
    let unknown = [400, 403, 404, 405, 410, 416, 501];
    let request = unknown.into_iter().fold(Request::get(place), Request::accept);
    let answer = session.send(&request, place)?;
    let offset = taken(&answer).filter(|_| answer.status() < 300);
    Ok(offset.map(|offset| (location(&answer, place), offset)))
}

/// An address of an upload is proof enough for some registries.
fn write_private(path: &Utf8PathBuf, text: &str) -> std::io::Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let partial = path.with_extension("partial");
    let mut options = fs_err::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    options.options_mut().mode(Mode::RUSR.union(Mode::WUSR).as_raw_mode());
    options.open(&partial)?.write_all(text.as_bytes())?;
    fs_err::rename(partial, path)
}

//! Blobs on their way into a registry (OCI distribution specification 1.1, "Pushing blobs").
//!
//! A blob goes in chunks, each to the address that the answer to the one before named. After a connection
//! that broke, and after a worker that died, the registry is asked how much it has, and the rest follows;
//! a registry that does not say, or takes no chunks, is given the blob anew and whole.

use plugin_api::{Builder, DelegateError};
use plugin_kit::transfer::{Answer, Request, TransferError, Upload};

use super::address::resolve;
use super::open_upload::{OpenUpload, asked};
use super::session::Session;
use crate::bundle::{Blob, Source};

const BYTES: &str = "application/octet-stream";
/// Bytes of a chunk unless the settings say otherwise.
const CHUNK_MIB: u64 = 64;
const MIB: u64 = 1 << 20;

/// Brings blobs into the repository of a session.
pub(super) struct Blobs<'a> {
    session: &'a Session<'a>,
    open: &'a OpenUpload,
    chunk_bytes: u64,
    /// Of all blobs.
    total: u64,
    done: u64,
}

impl<'a> Blobs<'a> {
    pub(super) fn new(
        builder: &Builder,
        session: &'a Session<'a>,
        open: &'a OpenUpload,
        total: u64,
    ) -> Result<Self, DelegateError> {
        let chunk = builder.configuration().u64("chunk_mib")?.unwrap_or(CHUNK_MIB);
        let chunk_bytes = chunk.clamp(1, 1 << 20) * MIB;
        Ok(Self { session, open, chunk_bytes, total, done: 0 })
    }

    /// Brings one blob there, unless it is.
    pub(super) fn put(&mut self, blob: &Blob) -> Result<(), DelegateError> {
        if !self.is_there(&blob.descriptor.digest)? {
            self.send(blob)?;
        }
        self.done += blob.descriptor.size;
        let percent = self.done * 100 / self.total.max(1);
        self.session.client.builder().progress(u8::try_from(percent).unwrap_or(100));
        Ok(())
    }

    fn is_there(&self, digest: &str) -> Result<bool, TransferError> {
        let url = self.session.url(&format!("blobs/{digest}"));
        // Where blobs are kept elsewhere, the address of that place is the answer.
        let request =
            [301, 302, 303, 307, 308, 404].into_iter().fold(Request::head(&url), Request::accept);
        Ok(self.session.send(&request, &url)?.status() != 404)
    }

    fn send(&self, blob: &Blob) -> Result<(), TransferError> {
        let digest = &blob.descriptor.digest;
        let mut place = match self.open.resumed(self.session, digest)? {
            Some(place) => place,
            None => match self.begin(digest)? {
                Some(place) => place,
                None => return Ok(()),
            },
        };
        let mut retry = self.session.client.retry();
        loop {
            let error = match self.send_rest(blob, &mut place) {
                Ok(()) => {
                    self.open.forget();
                    return Ok(());
                },
                Err(error) => error,
            };
            if takes_no_chunks(&error, &place) {
                tracing::info!("the registry takes no chunks, so it is sent whole blobs");
                self.open.cancel(self.session);
                place = self.anew(digest, false)?;
                continue;
            }
            // What was sent is in doubt; what the registry says is not.
            let lost = matches!(error.status(), Some(404 | 416));
            if !lost {
                retry.wait(error)?;
            } else if place.restarted {
                return Err(error);
            }
            place = match asked(self.session, &place.location)? {
                Some((location, offset)) if !lost => Place { location, offset, ..place },
                _ => {
                    self.open.cancel(self.session);
                    let restarted = lost;
                    Place { restarted, ..self.anew(digest, place.in_chunks)? }
                },
            };
        }
    }

    /// Opens an upload; `None` when the registry took the blob from another repository instead.
    fn begin(&self, digest: &str) -> Result<Option<Place>, TransferError> {
        let mut url = self.session.url("blobs/uploads/");
        if let Some(from) = &self.session.address.mount_from {
            url = format!("{url}?mount={digest}&from={from}");
        }
        let answer = self.session.send(&Request::post(&url).repeatable(true), &url)?;
        if answer.status() == 201 {
            return Ok(None);
        }
        let least = answer.header("oci-chunk-min-length").and_then(|bytes| bytes.parse().ok());
        let location = location(&answer, &url);
        self.open.opened(self.session, digest, &location);
        let least = least.unwrap_or(0);
        Ok(Some(Place { location, offset: 0, least, in_chunks: true, restarted: false }))
    }

    fn anew(&self, digest: &str, in_chunks: bool) -> Result<Place, TransferError> {
        let url = self.session.url("blobs/uploads/");
        let answer = self.session.send(&Request::post(&url).repeatable(true), &url)?;
        let location = location(&answer, &url);
        self.open.opened(self.session, digest, &location);
        Ok(Place { location, offset: 0, least: 0, in_chunks, restarted: false })
    }

    /// Sends what is missing. `place` follows each chunk that was taken.
    fn send_rest(&self, blob: &Blob, place: &mut Place) -> Result<(), TransferError> {
        let size = blob.descriptor.size;
        let Source::File { path, offset } = &blob.source else {
            return self.finish(blob, place, None);
        };
        let part = |range: std::ops::Range<u64>| -> Result<Upload, TransferError> {
            let file = |source| TransferError::File { path: path.clone(), source };
            // Progress counts from the start of the file.
            let before = self.done.saturating_sub(*offset);
            let upload = Upload::of_file(path).map_err(file)?;
            Ok(upload.range(offset + range.start..offset + range.end).part_of(before, self.total))
        };
        let chunk = self.chunk_bytes.max(place.least);
        while place.in_chunks && place.offset + chunk < size {
            let end = place.offset + chunk;
            let request = Request::patch(&place.location)
                .header("content-type", BYTES)
                .header("content-range", format!("{}-{}", place.offset, end - 1));
            let mut upload = part(place.offset..end)?;
            let answer = self.session.upload(&request, &place.location, &mut upload)?;
            place.location = location(&answer, &place.location);
            place.offset = end;
            self.open.opened(self.session, &blob.descriptor.digest, &place.location);
        }
        let rest = part(place.offset..size)?;
        self.finish(blob, place, Some(rest))
    }

    /// Ends the upload with what is left; the registry compares the digest.
    fn finish(
        &self,
        blob: &Blob,
        place: &Place,
        rest: Option<Upload>,
    ) -> Result<(), TransferError> {
        let mark = if place.location.contains('?') { '&' } else { '?' };
        let url = format!("{}{mark}digest={}", place.location, blob.descriptor.digest);
        // Once more is only right from where the registry then is.
        let request = Request::put(&url).repeatable(false);
        match (rest, &blob.source) {
            (Some(mut rest), _) => {
                let request = request.header("content-type", BYTES);
                self.session.upload(&request, &url, &mut rest).map(drop)
            },
            (None, Source::Bytes(bytes)) => {
                self.session.send(&request.body(BYTES, bytes.clone()), &url).map(drop)
            },
            (None, Source::File { .. }) => Ok(()),
        }
    }
}

/// Where an upload is.
#[derive(Clone, Debug)]
pub(super) struct Place {
    location: String,
    offset: u64,
    /// Bytes of the smallest chunk.
    least: u64,
    in_chunks: bool,
    /// Begun anew because the registry had lost it.
    restarted: bool,
}

impl Place {
    /// Where an upload of before goes on.
    pub(super) fn resumed(location: String, offset: u64) -> Self {
        Self { location, offset, least: 0, in_chunks: true, restarted: false }
    }
}

/// Whether the very first chunk was refused as such.
fn takes_no_chunks(error: &TransferError, place: &Place) -> bool {
    place.in_chunks
        && place.offset == 0
        && matches!(error.status(), Some(400 | 404 | 405 | 411 | 415 | 501))
}

/// Where the answer to `url` says to go on.
pub(super) fn location(answer: &Answer, url: &str) -> String {
    answer.header("location").map_or_else(|| url.to_owned(), |location| resolve(url, location))
}

//! Blobs on their way into a registry (OCI distribution specification 1.1, "Pushing blobs").
//!
//! A blob goes in chunks, each to the address that the answer to the one before named. After a connection
//! that broke, and after a worker that died, the registry is asked how much it has, and the rest follows;
//! a registry that does not say, or takes no chunks, is given the blob anew and whole.

use std::ops::Range;

use plugin_api::{Builder, DelegateError};
use plugin_kit::transfer::{Answer, Request, TransferError, Upload};

use super::address::resolve;
use super::open_upload::{OpenUpload, asked, name};
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
        let digest = &blob.descriptor.digest;
        if !self.is_there(digest)? {
            // An upload that was left open is taken up by one build only.
            let builder = self.session.client.builder();
            let _lock = builder.lock(format!("oci-{}", name(self.session, digest)))?;
            if !self.is_there(digest)? {
                self.send(blob)?;
            }
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
        // What is small is sent in one request, which is all or nothing.
        let in_parts = matches!(blob.source, Source::File { .. });
        let resumed = if in_parts { self.open.resumed(self.session, digest)? } else { None };
        let mut place = match resumed {
            Some((location, offset)) => Place { offset, ..Place::at(location) },
            None => match self.begin(digest, self.session.address.mount_from.as_deref())? {
                Some(place) => place,
                None => return Ok(()),
            },
        };
        let mut retry = self.session.client.retry();
        let mut furthest = 0;
        loop {
            let error = match self.send_rest(blob, &mut place) {
                Ok(()) => {
                    self.open.forget();
                    return Ok(());
                },
                Err(error) => error,
            };
            if in_parts && let Some(way) = place.other_way(&error) {
                tracing::info!(?way, "the registry wants blobs in another way");
                self.open.cancel(self.session);
                place = Place { way, ..self.anew(digest)? };
                continue;
            }
            // A long upload may be cut often, as long as it gets on.
            if place.offset > furthest {
                furthest = place.offset;
                retry = self.session.client.retry();
            }
            // What was sent is in doubt; what the registry says is not.
            let is_lost = matches!(error.status(), Some(404 | 416));
            if !is_lost {
                retry.wait(error)?;
            } else if place.is_second {
                return Err(error);
            }
            match asked(self.session, &place.location)? {
                Some((location, offset)) if !is_lost && in_parts && place.way != Way::Whole => {
                    place = Place { location, offset, ..place };
                },
                // The answer that it is complete may be what was cut.
                _ if self.is_there(digest)? => place.offset = blob.descriptor.size,
                _ => {
                    self.open.cancel(self.session);
                    place = Place { way: place.way, is_second: is_lost, ..self.anew(digest)? };
                },
            }
            if place.offset == blob.descriptor.size && self.is_there(digest)? {
                self.open.forget();
                return Ok(());
            }
        }
    }

    /// Opens an upload; `None` when the registry took the blob from repository `from` instead.
    fn begin(&self, digest: &str, from: Option<&str>) -> Result<Option<Place>, TransferError> {
        let mut url = self.session.url("blobs/uploads/");
        if let Some(from) = from {
            url = format!("{url}?mount={digest}&from={from}");
        }
        let answer = self.session.send(&Request::post(&url).repeatable(true), &url)?;
        if from.is_some() && answer.status() == 201 {
            return Ok(None);
        }
        let least = answer.header("oci-chunk-min-length").and_then(|bytes| bytes.parse().ok());
        let location = location(&answer, &url);
        self.open.opened(self.session, digest, &location);
        Ok(Some(Place { least: least.unwrap_or(0), ..Place::at(location) }))
    }

    fn anew(&self, digest: &str) -> Result<Place, TransferError> {
        let place = self.begin(digest, None)?;
        Ok(place.unwrap_or_else(|| Place::at(self.session.url("blobs/uploads/"))))
    }

    /// Sends what is missing. `place` follows each chunk that was taken.
    fn send_rest(&self, blob: &Blob, place: &mut Place) -> Result<(), TransferError> {
        let size = blob.descriptor.size;
        let (path, start) = match &blob.source {
            Source::Bytes(bytes) => {
                let (request, url) = finishing(blob, place);
                return self.session.send(&request.body(BYTES, bytes.clone()), &url).map(drop);
            },
            Source::File { path, offset } => (path, *offset),
        };
        let part = |range: Range<u64>| -> Result<Upload, TransferError> {
            let file = |source| TransferError::File { path: path.clone(), source };
            // Progress counts from the start of the file.
            let before = self.done.saturating_sub(start);
            let upload = Upload::of_file(path).map_err(file)?;
            Ok(upload.range(start + range.start..start + range.end).part_of(before, self.total))
        };
        if place.way == Way::Whole {
            let (request, url) = finishing(blob, place);
            let request = request.header("content-type", BYTES);
            return self.session.upload(&request, &url, &mut part(0..size)?).map(drop);
        }
        let chunk = self.chunk_bytes.max(place.least);
        while place.offset < size {
            let end = place.offset.saturating_add(chunk).min(size);
            let mut request = Request::patch(&place.location).header("content-type", BYTES);
            let mut upload = part(place.offset..end)?;
            if place.way == Way::Streamed {
                upload = upload.ends_early();
            }
            if place.way == Way::Chunks || place.offset > 0 {
                let range = format!("{}-{}", place.offset, end - 1);
                request = request.header("content-range", range);
            }
            let answer = self.session.upload(&request, &place.location, &mut upload)?;
            place.location = location(&answer, &place.location);
            // A registry that answers nonsense is found out by the digest.
            place.offset = taken(&answer)
                .filter(|taken| (place.offset + 1..=size).contains(taken))
                .unwrap_or(end);
            self.open.opened(self.session, &blob.descriptor.digest, &place.location);
        }
        let (request, url) = finishing(blob, place);
        self.session.send(&request.body(BYTES, Vec::new()), &url).map(drop)
    }
}

/// How a blob is sent; what a registry refuses is tried in the next way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// In chunks without their length, as `docker push` does: only these can end early, and a registry
    /// of the distribution project forgets nothing but what it was told the end of.
    Streamed,
    /// In chunks with their length, as the specification has them.
    Chunks,
    /// Without chunks.
    Whole,
}

/// Where an upload is.
#[derive(Clone, Debug)]
struct Place {
    location: String,
    offset: u64,
    /// Bytes of the smallest chunk.
    least: u64,
    way: Way,
    /// Begun anew because the registry had lost it.
    is_second: bool,
}

impl Place {
    fn at(location: String) -> Self {
        Self { location, offset: 0, least: 0, way: Way::Streamed, is_second: false }
    }

    /// What to try when the very first chunk was refused as such; one without its length, wherever it was.
    fn other_way(&self, error: &TransferError) -> Option<Way> {
        let refused = match error.status() {
            Some(411) => true,
            Some(400 | 404 | 405 | 415 | 501) => self.offset == 0,
            _ => false,
        };
        match self.way {
            _ if !refused => None,
            Way::Streamed => Some(Way::Chunks),
            Way::Chunks => Some(Way::Whole),
            Way::Whole => None,
        }
    }
}

/// The request that ends an upload, and its address. The registry compares the digest; once more is only
/// right from where the registry then is.
fn finishing(blob: &Blob, place: &Place) -> (Request, String) {
    let mark = if place.location.contains('?') { '&' } else { '?' };
    let url = format!("{}{mark}digest={}", place.location, blob.descriptor.digest);
    (Request::put(&url).repeatable(false), url)
}

/// How many bytes a registry says to have. `0-0` stands for none: nobody sends one.
pub(super) fn taken(answer: &Answer) -> Option<u64> {
    let last: u64 = answer.header("range")?.rsplit('-').next()?.parse().ok()?;
    Some(if last == 0 { 0 } else { last.saturating_add(1) })
}

/// Where the answer to `url` says to go on.
pub(super) fn location(answer: &Answer, url: &str) -> String {
    answer.header("location").map_or_else(|| url.to_owned(), |location| resolve(url, location))
}

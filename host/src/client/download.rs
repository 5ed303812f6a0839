//! Bodies of images, copied from a daemon to a file of this machine.

use std::time::{Duration, Instant};

use camino::Utf8Path;
use hyper::header::{self, HeaderValue};
use hyper::{Method, StatusCode};
use plugin_kit::sparse::Appender;

use super::follow::Retry;
use super::{Asked, ClientError, SILENCE, Server};
use crate::atomic_file::{AtomicFile, AtomicFileError, Existing};
use crate::images::ImageRecord;

/// Permission bits of a copy, before the umask.
const MODE: u32 = 0o644;
/// Time between two looks whether the caller still wants it.
const LOOK: Duration = Duration::from_millis(200);

/// A copy as far as it is.
struct Copy {
    file: AtomicFile,
    appender: Appender,
}

impl Server {
    /// Copies the body of `record` to `to`. Zeros become holes. What came is checked against length and
    /// SHA-256 of the record before the file has its name; a broken connection is taken up where it was.
    ///
    /// # Errors
    /// [`ClientError`]; `to` is as it was.
    pub fn download(
        &self,
        record: &ImageRecord,
        to: &Utf8Path,
        existing: Existing,
        cancelled: &dyn Fn() -> bool,
    ) -> Result<(), ClientError> {
        if existing == Existing::Refuse && fs_err::symlink_metadata(to).is_ok() {
            return Err(AtomicFileError::Exists { path: to.to_owned() }.into());
        }
        let file = AtomicFile::create(to, MODE)?;
        let mut copy = Copy { file, appender: Appender::default() };
        let mut retry = Retry::default();
        loop {
            let before = copy.length();
            let result = self.append(record, &mut copy, to, cancelled);
            if copy.length() > before {
                retry.succeeded(self);
            }
            match result {
                Ok(()) => break,
                Err(_) if cancelled() => return Err(ClientError::Cancelled),
                Err(error) => retry.wait(self, error, cancelled)?,
            }
        }
        let Copy { mut file, appender } = copy;
        let length = appender.bytes();
        let digest = appender.finish(file.file()).map_err(|source| failed(to, source))?;
        let found = [Some(length.to_string()), Some(hex::encode(digest))];
        let wanted = [record.size_bytes.map(|size| size.to_string()), record.sha256.clone()];
        for (found, wanted) in found.into_iter().zip(wanted) {
            if wanted.is_some() && found != wanted {
                return Err(ClientError::Damaged {
                    server: self.address.clone(),
                    found: found.unwrap_or_default(),
                    wanted: wanted.unwrap_or_default(),
                });
            }
        }
        Ok(file.commit(existing)?)
    }

    /// Copies what is missing, as far as the connection holds.
    fn append(
        &self,
        record: &ImageRecord,
        copy: &mut Copy,
        to: &Utf8Path,
        cancelled: &dyn Fn() -> bool,
    ) -> Result<(), ClientError> {
        let path = format!("/v1/images/{}/body", record.id);
        let mut asked = Asked::new(Method::GET, &path);
        if copy.length() > 0 {
            let range = format!("bytes={}-", copy.length());
            let range = HeaderValue::try_from(range).map_err(|_| self.no_daemon("no range"))?;
            asked = asked.header(header::RANGE, range);
        }
        if copy.length() > 0 && Some(copy.length()) == record.size_bytes {
            return Ok(());
        }
        let answer = self.send(&asked)?;
        if copy.length() > 0 && answer.status() != StatusCode::PARTIAL_CONTENT {
            return Err(self.no_daemon("a range of a body is answered with all of it"));
        }
        let mut body = answer.into_body();
        let mut heard = Instant::now();
        loop {
            if cancelled() {
                return Err(ClientError::Cancelled);
            }
            match self.runtime.block_on(self.next_part(&mut body, LOOK)) {
                Err(ClientError::Silent { .. }) if heard.elapsed() < SILENCE => {},
                Ok(None) => return Ok(()),
                Ok(Some(part)) => {
                    heard = Instant::now();
                    copy.write(&part).map_err(|source| failed(to, source))?;
                },
                Err(error) => return Err(error),
            }
        }
    }
}

impl Copy {
    fn length(&self) -> u64 {
        self.appender.bytes()
    }

    fn write(&mut self, part: &[u8]) -> std::io::Result<()> {
        self.appender.append(self.file.file(), part)
    }
}

fn failed(path: &Utf8Path, source: std::io::Error) -> ClientError {
    AtomicFileError::Write { path: path.to_owned(), source }.into()
}

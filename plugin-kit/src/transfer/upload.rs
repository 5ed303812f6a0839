//! Bodies that are read from a file as they are sent.

use std::fmt;
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;
use std::time::{Duration, Instant};

use camino::{Utf8Path, Utf8PathBuf};
use fs_err::File;
use md5::Md5;
use plugin_api::Builder;
use sha2::digest::DynDigest;
use sha2::{Sha256, Sha384, Sha512};

use super::early::Answered;
use super::{Client, TransferError};

/// How often the build is told what was sent.
const TELL: Duration = Duration::from_secs(5);
const MIB: u64 = 1 << 20;
/// Bytes of a file that are read at a time for a digest.
const READ_BYTES: usize = 256 << 10;

/// A digest that is taken of what is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Algorithm {
    /// For servers that know nothing else.
    Md5,
    /// SHA-256.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
}

/// A part of a file, sent as it is read: never in memory as a whole.
pub struct Upload {
    path: Utf8PathBuf,
    range: Range<u64>,
    algorithms: Vec<Algorithm>,
    digests: Vec<(Algorithm, String)>,
    of: Range<u64>,
    pub(super) ends_early: bool,
}

impl Upload {
    /// The whole file at `path`.
    ///
    /// # Errors
    /// When it cannot be looked at.
    pub fn of_file(path: impl Into<Utf8PathBuf>) -> io::Result<Self> {
        let path = path.into();
        let size_bytes = fs_err::metadata(&path)?.len();
        Ok(Self {
            path,
            range: 0..size_bytes,
            algorithms: Vec::new(),
            digests: Vec::new(),
            of: 0..size_bytes,
            ends_early: false,
        })
    }

    /// Sends these bytes of the file only. Progress is told within the whole.
    #[must_use]
    pub fn range(mut self, range: Range<u64>) -> Self {
        self.range = range;
        self
    }

    /// Says that the file begins after `before` bytes of a delivery of `total`, for its progress.
    #[must_use]
    pub fn part_of(mut self, before: u64, total: u64) -> Self {
        self.of = before..total;
        self
    }

    /// Takes a digest of what is sent.
    #[must_use]
    pub fn digest_by(mut self, algorithm: Algorithm) -> Self {
        self.algorithms.push(algorithm);
        self
    }

    /// Sends it without its length (`Transfer-Encoding: chunked`), and has a cancel end the body instead
    /// of the connection: for servers that can only undo what they were told the end of. Whether all of
    /// it was sent is then for the caller to ask.
    #[must_use]
    pub fn ends_early(mut self) -> Self {
        self.ends_early = true;
        self
    }

    /// The file.
    pub fn path(&self) -> &Utf8Path {
        &self.path
    }

    /// How much is sent.
    pub fn size_bytes(&self) -> u64 {
        self.range.end.saturating_sub(self.range.start)
    }

    /// Hexadecimal digest of what was sent; `None` when it was not sent to the end, or not asked for.
    /// It is there too when everything was sent and the answer was lost.
    pub fn digest(&self, algorithm: Algorithm) -> Option<&str> {
        let taken = self.digests.iter().find(|(taken, _)| *taken == algorithm);
        taken.map(|(_, digest)| digest.as_str())
    }

    /// Hexadecimal digest of what is to be sent, read once more: for servers that say only afterwards by which
    /// digest they know it.
    ///
    /// # Errors
    /// [`TransferError::File`] and [`TransferError::Cancelled`].
    pub fn read_digest(
        &self,
        algorithm: Algorithm,
        client: &Client<'_>,
    ) -> Result<String, TransferError> {
        let unread = |source| TransferError::File { path: self.path.clone(), source };
        let mut file = File::open(&self.path).map_err(unread)?;
        file.seek(SeekFrom::Start(self.range.start)).map_err(unread)?;
        let mut file = file.take(self.size_bytes());
        let (mut hasher, mut buffer) = (hasher(algorithm), vec![0; READ_BYTES]);
        loop {
            client.check_cancelled()?;
            match file.read(&mut buffer).map_err(unread)? {
                0 => return Ok(hex::encode(hasher.finalize())),
                length => hasher.update(&buffer[..length]),
            }
        }
    }

    /// Opens the file for one try.
    pub(super) fn open<'a>(
        &self,
        builder: &'a Builder,
        answered: Answered,
        heeds_cancel: bool,
    ) -> io::Result<Sending<'a>> {
        let mut file = File::open(&self.path)?;
        file.seek(SeekFrom::Start(self.range.start))?;
        Ok(Sending {
            file,
            left: self.size_bytes(),
            sent: self.of.start + self.range.start,
            total: self.of.end,
            hashers: self.algorithms.iter().map(|algorithm| hasher(*algorithm)).collect(),
            report: Report { builder, told: None, percent: None },
            answered,
            heeds_cancel,
            ends_early: self.ends_early,
            failure: None,
        })
    }

    /// Keeps the digests of a try that reached the end.
    pub(super) fn sent(&mut self, sending: Sending<'_>) {
        self.digests.clear();
        if sending.left > 0 || sending.answered.get() {
            return;
        }
        let digests = sending.hashers.into_iter().map(|hasher| hex::encode(hasher.finalize()));
        self.digests = self.algorithms.iter().copied().zip(digests).collect();
    }
}

impl fmt::Debug for Upload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upload")
            .field("path", &self.path)
            .field("range", &self.range)
            .finish_non_exhaustive()
    }
}

fn hasher(algorithm: Algorithm) -> Box<dyn DynDigest> {
    match algorithm {
        Algorithm::Md5 => Box::<Md5>::default(),
        Algorithm::Sha256 => Box::<Sha256>::default(),
        Algorithm::Sha384 => Box::<Sha384>::default(),
        Algorithm::Sha512 => Box::<Sha512>::default(),
    }
}

/// One try at sending an [`Upload`].
pub(super) struct Sending<'a> {
    file: File,
    left: u64,
    sent: u64,
    total: u64,
    hashers: Vec<Box<dyn DynDigest>>,
    report: Report<'a>,
    answered: Answered,
    heeds_cancel: bool,
    ends_early: bool,
    failure: Option<io::Error>,
}

impl Sending<'_> {
    /// Why the file could not be read, if that is what ended the try.
    pub(super) fn failure(&mut self) -> Option<io::Error> {
        self.failure.take()
    }

    fn read_file(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.file.read(buffer)?;
        if length == 0 {
            let message = format!("`{}` became shorter as it was read", self.file.path().display());
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, message));
        }
        for hasher in &mut self.hashers {
            hasher.update(&buffer[..length]);
        }
        Ok(length)
    }
}

impl Read for Sending<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.heeds_cancel && self.report.builder.cancelled() {
            if self.ends_early {
                return Ok(0);
            }
            return Err(io::Error::other("the build was cancelled"));
        }
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        if most == 0 {
            return Ok(0);
        }
        if self.answered.get() {
            if self.ends_early {
                return Ok(0);
            }
            // Nobody hears this.
            self.left -= most as u64;
            return Ok(most);
        }
        let length = match self.read_file(&mut buffer[..most]) {
            Ok(length) => length,
            Err(error) => {
                let kind = error.kind();
                self.failure = Some(error);
                return Err(kind.into());
            },
        };
        self.left -= length as u64;
        self.sent += length as u64;
        self.report.tell(self.sent, self.total);
        Ok(length)
    }
}

/// Tells the build how far an upload is: each percent once, its bytes every few seconds, since each of
/// these phrases is a stage of the build.
struct Report<'a> {
    builder: &'a Builder,
    told: Option<Instant>,
    percent: Option<u8>,
}

impl Report<'_> {
    fn tell(&mut self, sent: u64, total: u64) {
        let percent = u128::from(sent) * 100 / u128::from(total.max(1));
        let percent = u8::try_from(percent).unwrap_or(100).min(100);
        if self.percent.replace(percent) != Some(percent) {
            self.builder.progress(percent);
        }
        if sent >= total || self.told.is_none_or(|told| told.elapsed() >= TELL) {
            self.told = Some(Instant::now());
            let (sent, total) = (sent.div_ceil(MIB), total.div_ceil(MIB));
            self.builder.activity(format!("uploading {sent} of {total} MiB"));
        }
    }
}

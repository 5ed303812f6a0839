//! The tar archive around an image: written front to back, but for a header that is known last.
//!
//! The name of a layer is its digest, so its header is written when the layer is. Names lie flat in the
//! archive and have no owner; their time is that of the image.

use std::collections::BTreeMap;
use std::io::{self, BufWriter, Seek, SeekFrom, Write};

use camino::{Utf8Path, Utf8PathBuf};
use fs_err::File;
use plugin_api::{DelegateError, DelegateErrorKind, ResultExt};
use tar::{EntryType, Header};

const BLOCK: u64 = 512;
const ZEROS: [u8; 1024] = [0; 1024];

/// An archive that is being written; removed when it is dropped unfinished.
pub(crate) struct Writer {
    path: Utf8PathBuf,
    output: BufWriter<File>,
    position: u64,
    /// Of every member, in seconds since 1970; what is written before it is known has time 0.
    pub(crate) time: u64,
    finished: bool,
}

impl Writer {
    pub(crate) fn create(path: &Utf8Path) -> io::Result<Self> {
        let output = BufWriter::with_capacity(1 << 20, File::create(path)?);
        Ok(Self { path: path.to_owned(), output, position: 0, time: 0, finished: false })
    }

    /// Leaves room for a header; what is written from now on belongs to it.
    pub(crate) fn begin(&mut self) -> io::Result<u64> {
        let at = self.position;
        self.write_all(&ZEROS[..512])?;
        Ok(at)
    }

    /// Names what was written since [`Writer::begin`] answered `at`.
    pub(crate) fn end(&mut self, at: u64, name: &str) -> io::Result<()> {
        let bytes = self.position - at - BLOCK;
        self.pad()?;
        self.output.seek(SeekFrom::Start(at))?;
        self.output.write_all(header(name, bytes, self.time)?.as_bytes())?;
        self.output.seek(SeekFrom::Start(self.position))?;
        Ok(())
    }

    pub(crate) fn put(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let header = header(name, bytes.len() as u64, self.time)?;
        self.write_all(header.as_bytes())?;
        self.write_all(bytes)?;
        self.pad()
    }

    pub(crate) fn finish(mut self) -> io::Result<()> {
        self.write_all(&ZEROS)?;
        self.output.flush()?;
        self.finished = true;
        Ok(())
    }

    fn pad(&mut self) -> io::Result<()> {
        let missing = self.position.next_multiple_of(BLOCK) - self.position;
        self.write_all(&ZEROS[..usize::try_from(missing).unwrap_or_default()])
    }
}

impl Write for Writer {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let written = self.output.write(data)?;
        self.position += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.output.flush()
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if !self.finished {
            // The error that led here is the one to report.
            drop(fs_err::remove_file(&self.path));
        }
    }
}

fn header(name: &str, bytes: u64, time: u64) -> io::Result<Header> {
    let mut header = Header::new_gnu();
    header.set_entry_type(EntryType::Regular);
    header.set_path(name)?;
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(time);
    header.set_size(bytes);
    header.set_cksum();
    Ok(header)
}

/// Where a member of an archive lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) offset: u64,
    pub(crate) bytes: u64,
}

/// The members of an archive, which stays where it is.
#[derive(Debug)]
pub(crate) struct Reader {
    path: Utf8PathBuf,
    parts: BTreeMap<String, Part>,
}

impl Reader {
    /// Reads the names in the archive at `path`.
    ///
    /// # Errors
    /// `InvalidInput` when it is no archive.
    pub(crate) fn open(path: &Utf8Path) -> Result<Self, DelegateError> {
        let broken = || format!("`{path}` is no archive of an image");
        let parts = parts(path).or_delegate_error(DelegateErrorKind::InvalidInput, broken())?;
        Ok(Self { path: path.to_owned(), parts })
    }

    pub(crate) fn path(&self) -> &Utf8Path {
        &self.path
    }

    /// The member called `name`.
    ///
    /// # Errors
    /// `InvalidInput` without one.
    pub(crate) fn part(&self, name: &str) -> Result<Part, DelegateError> {
        self.parts.get(name).copied().ok_or_else(|| {
            let path = &self.path;
            DelegateError::invalid_input(format!("`{path}` holds no `{name}`"))
        })
    }

    /// The bytes of a small member.
    ///
    /// # Errors
    /// `InvalidInput` without one, or when it is no document by its size.
    pub(crate) fn bytes(&self, name: &str) -> Result<Vec<u8>, DelegateError> {
        use fs_err::os::unix::fs::FileExt;
        const MAX_DOCUMENT: u64 = 64 << 20;
        let part = self.part(name)?;
        let path = &self.path;
        let Some(length) = usize::try_from(part.bytes).ok().filter(|_| part.bytes <= MAX_DOCUMENT)
        else {
            return Err(DelegateError::invalid_input(format!(
                "`{name}` in `{path}` has {} bytes, which is no document",
                part.bytes
            )));
        };
        let mut bytes = vec![0; length];
        File::open(path)?.read_exact_at(&mut bytes, part.offset)?;
        Ok(bytes)
    }
}

fn parts(path: &Utf8Path) -> io::Result<BTreeMap<String, Part>> {
    let mut parts = BTreeMap::new();
    let mut archive = tar::Archive::new(File::open(path)?);
    for member in archive.entries_with_seek()? {
        let member = member?;
        if member.header().entry_type() != EntryType::Regular {
            continue;
        }
        let name = String::from_utf8_lossy(&member.path_bytes()).into_owned();
        let part = Part { offset: member.raw_file_position(), bytes: member.size() };
        parts.insert(name, part);
    }
    Ok(parts)
}

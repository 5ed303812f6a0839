//! The file being written: removed again unless it is finished.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use camino::{Utf8Path, Utf8PathBuf};
use rustix::fs::{Mode, OFlags, ftruncate, open};
use rustix::io::{Errno, pwrite};

use crate::sparse::StreamError;

/// A new file, written at any offset; what is never written stays a hole.
#[derive(Debug)]
pub(crate) struct Output {
    path: Utf8PathBuf,
    file: OwnedFd,
    finished: bool,
}

impl Output {
    /// Creates `path`, emptying a file that is there.
    pub(crate) fn create(path: &Utf8Path) -> Result<Self, StreamError> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::TRUNC | OFlags::CLOEXEC;
        let file = open(path.as_std_path(), flags, Mode::from_raw_mode(0o666))
            .map_err(|error| StreamError::write(path, error))?;
        Ok(Self { path: path.to_owned(), file, finished: false })
    }

    pub(crate) fn path(&self) -> &Utf8Path {
        &self.path
    }

    pub(crate) fn write_all_at(
        &mut self,
        mut bytes: &[u8],
        mut offset: u64,
    ) -> Result<(), StreamError> {
        while !bytes.is_empty() {
            match pwrite(&self.file, bytes, offset) {
                Err(Errno::INTR) => {},
                Ok(written) => {
                    bytes = &bytes[written..];
                    offset += written as u64;
                },
                Err(error) => return Err(StreamError::write(&self.path, error)),
            }
        }
        Ok(())
    }

    /// Cuts or extends the file; the extension is a hole.
    pub(crate) fn set_len(&mut self, bytes: u64) -> Result<(), StreamError> {
        ftruncate(&self.file, bytes).map_err(|error| StreamError::write(&self.path, error))
    }

    /// Keeps the file.
    pub(crate) fn finish(mut self) {
        self.finished = true;
    }
}

impl AsFd for Output {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        if !self.finished {
            // The error that led here is the one to report.
            drop(fs_err::remove_file(&self.path));
        }
    }
}

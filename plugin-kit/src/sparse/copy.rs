//! Copies of files that keep their holes.

use std::ops::Range;

use camino::Utf8Path;
use rustix::fs::{copy_file_range, ioctl_ficlone};
use rustix::io::Errno;

use crate::sparse::{Control, Output, Pump, RawDisk, ReadAt, StreamError, UNIT_BYTES, pump};

/// What [`clone_file`] does with zeros inside data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Zeros {
    /// Copies them: the kernel may then move the data without showing it to this process.
    Keep,
    /// Turns every 64 KiB of zeros into a hole, which takes reading all data. Never shares blocks.
    Skip,
}

/// How the bytes got there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CopyMethod {
    /// The two files share their blocks until one is written (`FICLONE`).
    Reflink,
    /// The kernel copied the data extents (`copy_file_range`).
    InKernel,
    /// Read and written, without zeros.
    ReadWrite,
}

/// The outcome of [`clone_file`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Copied {
    /// The way that worked.
    pub method: CopyMethod,
    /// Apparent size of both files.
    pub size_bytes: u64,
}

/// Copies the file `from` to `to`, which is created or emptied. Cheapest way first: reflink, copy in the
/// kernel, read and write. On failure `to` is removed.
///
/// # Errors
/// [`StreamError`]; both files being the same one is a `Write` error, and leaves it untouched.
pub fn clone_file(
    from: &Utf8Path,
    to: &Utf8Path,
    zeros: Zeros,
    control: &Control<'_>,
) -> Result<Copied, StreamError> {
    let source = RawDisk::open(from)?;
    let mut output = create_beside(&source, to)?;
    let method = match zeros {
        Zeros::Keep if ioctl_ficlone(&output, &source).is_ok() => CopyMethod::Reflink,
        Zeros::Keep if copy_in_kernel(&source, &output, control)? => CopyMethod::InKernel,
        Zeros::Keep | Zeros::Skip => {
            copy_data(&source, &mut output, control)?;
            CopyMethod::ReadWrite
        },
    };
    let size_bytes = source.size_bytes();
    output.set_len(size_bytes)?;
    output.finish();
    Ok(Copied { method, size_bytes })
}

/// Creates the output, unless that would empty the very file that is to be read.
pub(crate) fn create_beside(disk: &dyn ReadAt, to: &Utf8Path) -> Result<Output, StreamError> {
    let same =
        match (rustix::fs::stat(disk.path().as_std_path()), rustix::fs::stat(to.as_std_path())) {
            (Ok(from), Ok(to)) => (from.st_dev, from.st_ino) == (to.st_dev, to.st_ino),
            _ => false,
        };
    if same {
        return Err(StreamError::write(to, Errno::EXIST));
    }
    Output::create(to)
}

/// Writes the data of `disk`, without zeros, to the same offsets of `output`.
pub(crate) fn copy_data(
    disk: &dyn ReadAt,
    output: &mut Output,
    control: &Control<'_>,
) -> Result<(), StreamError> {
    let unit_bytes = disk.preferred_read_bytes().max(UNIT_BYTES);
    let size_bytes = disk.size_bytes();
    pump(
        Pump { disk, unit_bytes, control },
        |_, data| Ok(data),
        |unit, data| {
            let offset = unit * unit_bytes as u64;
            let len = usize::try_from(size_bytes - offset).unwrap_or(usize::MAX).min(unit_bytes);
            output.write_all_at(&data[..len], offset)
        },
    )
}

/// False when the kernel cannot copy between these two files; then nothing has been written.
fn copy_in_kernel(
    source: &RawDisk,
    output: &Output,
    control: &Control<'_>,
) -> Result<bool, StreamError> {
    const STEP_BYTES: u64 = 32 << 20;
    let extents = source.data_extents().map_err(|error| StreamError::read(source.path(), error))?;
    let total: u64 = extents.iter().map(|extent| extent.end - extent.start).sum();
    let mut done = 0;
    for Range { start, end } in extents {
        let (mut from, mut to) = (start, start);
        while from < end {
            control.check()?;
            let step = usize::try_from((end - from).min(STEP_BYTES)).unwrap_or(usize::MAX);
            match copy_file_range(source, Some(&mut from), output, Some(&mut to), step) {
                Err(Errno::XDEV | Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP | Errno::PERM)
                    if done == 0 =>
                {
                    return Ok(false);
                },
                // Some file systems answer 0 instead of refusing; a shrunken source does so later.
                Ok(0) if done == 0 => return Ok(false),
                Ok(0) => return Err(StreamError::read(source.path(), Errno::IO)),
                Ok(copied) => done += copied as u64,
                Err(Errno::INTR) => {},
                Err(error) => return Err(StreamError::write(output.path(), error)),
            }
            control.report(done, total);
        }
    }
    Ok(true)
}

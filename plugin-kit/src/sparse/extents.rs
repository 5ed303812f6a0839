//! Where a file has data, as the file system tells it.

use std::io;
use std::ops::Range;
use std::os::fd::AsFd;

use rustix::fs::{SeekFrom, seek};
use rustix::io::Errno;

/// Byte ranges of `file` that hold data, ascending and apart, within its first `size_bytes`.
///
/// File systems answer in whole blocks, so a range may begin or end with zeros. Where the file system
/// cannot tell holes from data the answer is one range over everything. Moves the file's offset.
///
/// # Errors
/// Any failure of `lseek` other than "not supported here".
pub fn data_extents(file: impl AsFd, size_bytes: u64) -> io::Result<Vec<Range<u64>>> {
    let file = file.as_fd();
    let mut extents = Vec::new();
    let mut offset = 0;
    while offset < size_bytes {
        let start = match seek(file, SeekFrom::Data(offset)) {
            // lseek(2): no data at or after the offset.
            Err(Errno::NXIO) => break,
            Err(Errno::INVAL | Errno::OPNOTSUPP | Errno::SPIPE | Errno::NOTTY) if offset == 0 => {
                return Ok(std::iter::once(0..size_bytes).collect());
            },
            other => other?,
        };
        if start >= size_bytes {
            break;
        }
        let end = seek(file, SeekFrom::Hole(start))?.min(size_bytes);
        if end <= start {
            // The file was cut while it was being looked at.
            break;
        }
        extents.push(start..end);
        offset = end;
    }
    Ok(extents)
}

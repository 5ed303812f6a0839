//! SHA-256 of a disk's content.

use std::ops::Range;

use sha2::{Digest, Sha256};

use crate::sparse::{Control, ReadAt, StreamError};

/// SHA-256 of all bytes of `disk`, holes included, equal to that of the raw file.
///
/// Holes are hashed as zeros but not read. The hash function itself is the cost (0.4 to 2 s per GiB), and is serial.
///
/// # Errors
/// [`StreamError::Read`] and [`StreamError::Cancelled`].
pub fn sha256(disk: &dyn ReadAt, control: &Control<'_>) -> Result<[u8; 32], StreamError> {
    const STEP_BYTES: usize = 1 << 20;
    let zeros = vec![0; STEP_BYTES];
    let mut buffer = vec![0; STEP_BYTES.max(disk.preferred_read_bytes())];
    let read_error = |error| StreamError::read(disk.path(), error);
    let total = disk.size_bytes();
    let mut hash = Sha256::new();

    let mut position = 0;
    let end = std::iter::once(total..total);
    for extent in disk.data_extents().map_err(read_error)?.into_iter().chain(end) {
        for step in steps(position..extent.start, zeros.len()) {
            control.check()?;
            hash.update(&zeros[..len(&step)]);
            control.report(step.end, total);
        }
        for step in steps(extent.clone(), buffer.len()) {
            control.check()?;
            let buffer = &mut buffer[..len(&step)];
            disk.read_exact_at(buffer, step.start).map_err(read_error)?;
            hash.update(&*buffer);
            control.report(step.end, total);
        }
        position = extent.end;
    }
    Ok(hash.finalize().into())
}

/// Cuts `range` at multiples of `step_bytes`, so that no cluster of a compressed image is decoded twice.
fn steps(range: Range<u64>, step_bytes: usize) -> impl Iterator<Item = Range<u64>> {
    let step_bytes = step_bytes as u64;
    let mut start = range.start;
    std::iter::from_fn(move || {
        let end = ((start / step_bytes + 1) * step_bytes).min(range.end);
        let step = start..end;
        start = end;
        (!step.is_empty()).then_some(step)
    })
}

fn len(range: &Range<u64>) -> usize {
    usize::try_from(range.end - range.start).unwrap_or(usize::MAX)
}

//! The raw format: the disk's bytes at their own offsets, zeros as holes.

use camino::Utf8Path;

use crate::formats::{FormatError, Written};
use crate::sparse::{Control, ReadAt, copy_data, create_beside};

/// Writes the content of `disk`, of whatever format, as a sparse raw file.
///
/// # Errors
/// [`FormatError::Stream`].
pub fn write(
    disk: &dyn ReadAt,
    output: &Utf8Path,
    control: &Control<'_>,
) -> Result<Written, FormatError> {
    let mut output = create_beside(disk, output)?;
    copy_data(disk, &mut output, control)?;
    output.set_len(disk.size_bytes())?;
    output.finish();
    Ok(Written { virtual_bytes: disk.size_bytes(), file_bytes: disk.size_bytes() })
}

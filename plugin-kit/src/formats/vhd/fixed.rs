//! Fixed disks: raw data, then the footer.

use camino::Utf8Path;

use super::footer::FOOTER_BYTES;
use crate::formats::FormatError;
use crate::sparse::{Control, ReadAt, copy_data, create_beside};

pub(super) fn write(
    disk: &dyn ReadAt,
    output: &Utf8Path,
    virtual_bytes: u64,
    footer: &[u8; FOOTER_BYTES],
    control: &Control<'_>,
) -> Result<u64, FormatError> {
    let mut output = create_beside(disk, output)?;
    copy_data(disk, &mut output, control)?;
    output.write_all_at(footer, virtual_bytes)?;
    output.finish();
    Ok(virtual_bytes + FOOTER_BYTES as u64)
}

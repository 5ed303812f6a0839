//! Dynamic disks: copy of the footer, dynamic header, block allocation table, blocks, footer.

use camino::Utf8Path;

use super::footer::{FOOTER_BYTES, checksum};
use super::{FORMAT, LIMIT_BYTES};
use crate::formats::bytes::put;
use crate::formats::{FormatError, SECTOR_BYTES, SECTOR_LEN};
use crate::sparse::{Control, Pump, ReadAt, UNIT_BYTES, create_beside, pump};

pub(super) const HEADER_MAGIC: [u8; 8] = *b"cxsparse";
pub(super) const HEADER_BYTES: usize = 1024;
pub(super) const HEADER_CHECKSUM_AT: usize = 36;
/// The default of the specification, and the only size that Hyper-V takes.
const BLOCK_BYTES_FIELD: u32 = 2 << 20;
const BLOCK_BYTES: u64 = BLOCK_BYTES_FIELD as u64;
/// One bit per sector of the block, all set: a reader need not tell stored zeros from zeros by bitmap.
const BITMAP: [u8; SECTOR_LEN] = [0xff; SECTOR_LEN];
const TABLE_OFFSET: u64 = (FOOTER_BYTES + HEADER_BYTES) as u64;
/// Table entry of a block without data.
pub(super) const UNALLOCATED: u32 = u32::MAX;

pub(super) fn write(
    disk: &dyn ReadAt,
    output: &Utf8Path,
    virtual_bytes: u64,
    footer: &[u8; FOOTER_BYTES],
    control: &Control<'_>,
) -> Result<u64, FormatError> {
    let blocks = virtual_bytes.div_ceil(BLOCK_BYTES);
    let table_bytes = (blocks * 4).next_multiple_of(SECTOR_BYTES);
    let mut table = vec![UNALLOCATED; usize::try_from(table_bytes / 4).unwrap_or(usize::MAX)];
    let mut end = TABLE_OFFSET + table_bytes;
    let too_large =
        |size_bytes| FormatError::TooLarge { format: FORMAT, size_bytes, limit_bytes: LIMIT_BYTES };

    let mut output = create_beside(disk, output)?;
    pump(
        Pump { disk, unit_bytes: UNIT_BYTES, control },
        |_, data| Ok(data),
        |unit, data| {
            let offset = unit * UNIT_BYTES as u64;
            let entry = &mut table[usize::try_from(offset / BLOCK_BYTES).unwrap_or(usize::MAX)];
            if *entry == UNALLOCATED {
                *entry = u32::try_from(end / SECTOR_BYTES).map_err(|_| too_large(end))?;
                output.write_all_at(&BITMAP, end)?;
                end += SECTOR_BYTES + BLOCK_BYTES;
            }
            let block = u64::from(*entry) * SECTOR_BYTES + SECTOR_BYTES;
            output.write_all_at(&data, block + offset % BLOCK_BYTES)?;
            Ok::<_, FormatError>(())
        },
    )?;
    let blocks = u32::try_from(blocks).map_err(|_| too_large(virtual_bytes))?;
    let table: Vec<u8> = table.into_iter().flat_map(u32::to_be_bytes).collect();
    output.write_all_at(footer, 0)?;
    output.write_all_at(&header(blocks), FOOTER_BYTES as u64)?;
    output.write_all_at(&table, TABLE_OFFSET)?;
    output.write_all_at(footer, end)?;
    output.finish();
    Ok(end + FOOTER_BYTES as u64)
}

fn header(blocks: u32) -> [u8; HEADER_BYTES] {
    let mut bytes = [0; HEADER_BYTES];
    put(&mut bytes, 0, &HEADER_MAGIC);
    put(&mut bytes, 8, &u64::MAX.to_be_bytes());
    put(&mut bytes, 16, &TABLE_OFFSET.to_be_bytes());
    put(&mut bytes, 24, &0x0001_0000_u32.to_be_bytes());
    put(&mut bytes, 28, &blocks.to_be_bytes());
    put(&mut bytes, 32, &BLOCK_BYTES_FIELD.to_be_bytes());
    let sum = checksum(&bytes, HEADER_CHECKSUM_AT);
    put(&mut bytes, HEADER_CHECKSUM_AT, &sum.to_be_bytes());
    bytes
}

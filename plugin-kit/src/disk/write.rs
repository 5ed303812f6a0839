//! Writing into a sparse file without filling its holes.

use fs_err::File;
use fs_err::os::unix::fs::FileExt;
use std::io;

/// Writes `bytes` at `offset` and leaves out the stretches that are zero, so that a new file stays
/// sparse there. What lay at those places before is kept.
///
/// # Errors
/// The file cannot be written.
pub fn write_sparse(file: &File, offset: u64, bytes: &[u8]) -> io::Result<()> {
    let mut at = 0;
    while at < bytes.len() {
        let rest = &bytes[at..];
        let zeros = run_of(rest, true);
        let data = run_of(&rest[zeros..], false);
        file.write_all_at(&rest[zeros..zeros + data], offset + (at + zeros) as u64)?;
        at += zeros + data;
    }
    Ok(())
}

/// Length of the leading run of blocks that are all zero (`zero`) or not (`!zero`).
fn run_of(bytes: &[u8], zero: bool) -> usize {
    bytes
        .chunks(BLOCK)
        .take_while(|block| (**block == ZEROS[..block.len()]) == zero)
        .map(<[u8]>::len)
        .sum()
}

/// The block size of common file systems: a smaller hole saves nothing.
const BLOCK: usize = 4096;
static ZEROS: [u8; BLOCK] = [0; BLOCK];

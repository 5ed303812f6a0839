//! Moves the data of a disk, unit by unit and in order, through all cores into one writer.
//!
//! A reader thread hands batches of units to rayon, which reads, drops zeros and encodes; the calling
//! thread writes one batch while the next ones are in work. At most four batches are in memory.

use std::io;
use std::ops::Range;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;

use rayon::prelude::*;

use crate::sparse::{Control, ReadAt, StreamError, is_zero};

/// What to pump: a disk, cut in units of `unit_bytes` (a power of two).
#[derive(Clone, Copy)]
pub(crate) struct Pump<'a> {
    pub(crate) disk: &'a dyn ReadAt,
    pub(crate) unit_bytes: usize,
    pub(crate) control: &'a Control<'a>,
}

/// Encodes every unit that is not all zero and passes the results to `sink` in ascending order.
///
/// The last unit is padded with zeros to its full length.
pub(crate) fn pump<T, E, F>(
    pump: Pump<'_>,
    encode: F,
    mut sink: impl FnMut(u64, T) -> Result<(), E>,
) -> Result<(), E>
where
    T: Send,
    E: From<StreamError>,
    F: Fn(u64, Vec<u8>) -> io::Result<T> + Sync,
{
    let read_error = |error| StreamError::read(pump.disk.path(), error);
    let extents = pump.disk.data_extents().map_err(read_error)?;
    let units = covering(&extents, pump.unit_bytes as u64);
    let total_units: u64 = units.iter().map(|range| range.end - range.start).sum();
    let bytes_of = |units: u64| units * pump.unit_bytes as u64;
    let (disk, unit_bytes) = (pump.disk, pump.unit_bytes);

    pump.control.check()?;
    pump.control.report(0, bytes_of(total_units));
    thread::scope(|scope| {
        let (sender, batches) = sync_channel(2);
        let encode = &encode;
        scope.spawn(move || produce(disk, unit_bytes, &units, encode, &sender));
        let mut done_units = 0;
        for batch in batches {
            pump.control.check()?;
            let batch = batch.map_err(read_error)?;
            for (unit, encoded) in batch {
                done_units += 1;
                if let Some(encoded) = encoded {
                    sink(unit, encoded)?;
                }
            }
            pump.control.report(bytes_of(done_units), bytes_of(total_units));
        }
        Ok(())
    })
}

/// Enough for every thread to have work while the slowest unit of a batch is done.
const BATCH_BYTES_PER_THREAD: usize = 2 << 20;
const MAX_BATCH_BYTES: usize = 32 << 20;

type Batch<T> = io::Result<Vec<(u64, Option<T>)>>;

fn produce<T, F>(
    disk: &dyn ReadAt,
    unit_bytes: usize,
    units: &[Range<u64>],
    encode: &F,
    sender: &SyncSender<Batch<T>>,
) where
    T: Send,
    F: Fn(u64, Vec<u8>) -> io::Result<T> + Sync,
{
    let batch_bytes = (rayon::current_num_threads() * BATCH_BYTES_PER_THREAD).min(MAX_BATCH_BYTES);
    let batch_units = (batch_bytes / unit_bytes).max(1);
    let mut units = units.iter().cloned().flatten();
    loop {
        let batch: Vec<u64> = units.by_ref().take(batch_units).collect();
        if batch.is_empty() {
            return;
        }
        let encoded: Batch<T> = batch
            .into_par_iter()
            .map(|unit| {
                let data = read_unit(disk, unit_bytes, unit)?;
                let encoded = if is_zero(&data) { None } else { Some(encode(unit, data)?) };
                Ok((unit, encoded))
            })
            .collect();
        let failed = encoded.is_err();
        // A receiver that is gone has met an error or was cancelled.
        if sender.send(encoded).is_err() || failed {
            return;
        }
    }
}

fn read_unit(disk: &dyn ReadAt, unit_bytes: usize, unit: u64) -> io::Result<Vec<u8>> {
    let offset = unit * unit_bytes as u64;
    let mut data = vec![0; unit_bytes];
    let left = disk.size_bytes().saturating_sub(offset);
    let len = usize::try_from(left).unwrap_or(usize::MAX).min(unit_bytes);
    disk.read_exact_at(&mut data[..len], offset)?;
    Ok(data)
}

/// Indices of the units that touch an extent, each once.
fn covering(extents: &[Range<u64>], unit_bytes: u64) -> Vec<Range<u64>> {
    let mut units: Vec<Range<u64>> = Vec::new();
    for extent in extents.iter().filter(|extent| !extent.is_empty()) {
        let (first, end) = (extent.start / unit_bytes, extent.end.div_ceil(unit_bytes));
        match units.last_mut() {
            Some(last) if first <= last.end => last.end = last.end.max(end),
            _ => units.push(first..end),
        }
    }
    units
}

#[cfg(test)]
mod tests {
    use super::covering;

    #[test]
    fn extents_that_share_a_unit_visit_it_once() {
        let units = covering(&[1..2, 3..5, 10..12, 30..30, 40..45], 10);
        assert_eq!(units, [0..2, 4..5]);
    }
}

//! `streamOptimized`: header, descriptor, then per 32 MiB of disk its compressed grains and their table; at
//! the end the directory, the footer (the header again, with the directory's place) and the end marker.

use std::io;

use camino::Utf8Path;

use super::header::{
    COMPRESSION_DEFLATE, DIRECTORY_AT_END, FLAG_COMPRESSED, FLAG_MARKERS, FLAG_NEWLINE_TEST,
    GRAIN_BYTES, GRAIN_SECTORS, GRAINS_PER_TABLE, Header, Marker, TABLE_LEN, TABLE_SECTORS, Tables,
    sector_entry,
};
use crate::formats::bytes::le32_table;
use crate::formats::codec::{Codec, Method};
use crate::formats::{FormatError, SECTOR_BYTES, SECTOR_LEN, Written};
use crate::sparse::{Control, Output, Pump, ReadAt, create_beside, pump};

/// Zlib expands what does not compress by 5 bytes per stored block of at least 5000 bytes, and 6 in all.
const GRAIN_LIMIT_BYTES: usize = GRAIN_BYTES + 512;

pub(super) fn write(
    disk: &dyn ReadAt,
    output: &Utf8Path,
    tables: &Tables,
    descriptor: &str,
    level: i32,
    control: &Control<'_>,
) -> Result<Written, FormatError> {
    let codec = Codec::new(Method::Zlib, level)?;
    let header = Header {
        version: 3,
        flags: FLAG_NEWLINE_TEST | FLAG_COMPRESSED | FLAG_MARKERS,
        capacity_sectors: tables.capacity_sectors,
        redundant_directory: 0,
        directory: DIRECTORY_AT_END,
        // ESX wants the first grain marker on a grain boundary.
        overhead_sectors: GRAIN_SECTORS,
        compression: COMPRESSION_DEFLATE,
    };
    let mut output = create_beside(disk, output)?;
    output.write_all_at(&header.to_bytes(), 0)?;
    output.write_all_at(descriptor.as_bytes(), SECTOR_BYTES)?;

    let mut stream = Stream {
        output,
        next_sector: header.overhead_sectors,
        table: Vec::new(),
        table_index: 0,
        directory: vec![0; usize::try_from(tables.count).unwrap_or(usize::MAX)],
    };
    pump(
        Pump { disk, unit_bytes: GRAIN_BYTES, control },
        |grain, data| grain_record(&codec, grain, &data),
        |grain, record| stream.add(grain, &record),
    )?;
    let file_bytes = stream.finish(&header)?;
    Ok(Written { virtual_bytes: tables.capacity_sectors * SECTOR_BYTES, file_bytes })
}

/// A grain marker: first sector of the grain on the disk, length, compressed data, padding to a sector.
fn grain_record(codec: &Codec, grain: u64, data: &[u8]) -> io::Result<Vec<u8>> {
    let packed = codec.compress(data, GRAIN_LIMIT_BYTES)?.ok_or(io::ErrorKind::InvalidData)?;
    let len = u32::try_from(packed.len()).map_err(io::Error::other)?;
    let mut record = Vec::with_capacity((12 + packed.len()).next_multiple_of(SECTOR_LEN));
    record.extend((grain * GRAIN_SECTORS).to_le_bytes());
    record.extend(len.to_le_bytes());
    record.extend(packed);
    record.resize(record.len().next_multiple_of(SECTOR_LEN), 0);
    Ok(record)
}

struct Stream {
    output: Output,
    next_sector: u64,
    /// The grain table in work and its place in the directory.
    table: Vec<u32>,
    table_index: usize,
    directory: Vec<u32>,
}

impl Stream {
    fn add(&mut self, grain: u64, record: &[u8]) -> Result<(), FormatError> {
        let table_index = usize::try_from(grain / GRAINS_PER_TABLE).unwrap_or(usize::MAX);
        if table_index != self.table_index {
            self.flush_table()?;
            self.table_index = table_index;
        }
        let sector = self.append(record)?;
        self.table.resize(TABLE_LEN, 0);
        self.table[(grain % GRAINS_PER_TABLE) as usize] = sector;
        Ok(())
    }

    /// Appends whole sectors and gives the number of the first.
    fn append(&mut self, sectors: &[u8]) -> Result<u32, FormatError> {
        let first = sector_entry(self.next_sector)?;
        self.output.write_all_at(sectors, self.next_sector * SECTOR_BYTES)?;
        self.next_sector += sectors.len() as u64 / SECTOR_BYTES;
        Ok(first)
    }

    fn flush_table(&mut self) -> Result<(), FormatError> {
        if !self.table.is_empty() {
            self.append(&Marker::GrainTable.to_bytes(TABLE_SECTORS))?;
            let table = le32_table(&self.table);
            self.directory[self.table_index] = self.append(&table)?;
            self.table.clear();
        }
        Ok(())
    }

    fn finish(mut self, header: &Header) -> Result<u64, FormatError> {
        self.flush_table()?;
        let mut directory = le32_table(&self.directory);
        directory.resize(directory.len().next_multiple_of(SECTOR_LEN), 0);
        let directory_sectors = directory.len() as u64 / SECTOR_BYTES;
        self.append(&Marker::GrainDirectory.to_bytes(directory_sectors))?;
        let directory = u64::from(self.append(&directory)?);
        self.append(&Marker::Footer.to_bytes(1))?;
        self.append(&Header { directory, ..*header }.to_bytes())?;
        self.append(&Marker::EndOfStream.to_bytes(0))?;
        let file_bytes = self.next_sector * SECTOR_BYTES;
        self.output.finish();
        Ok(file_bytes)
    }
}

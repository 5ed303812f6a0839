//! `monolithicSparse`: header, descriptor, two copies of directory and tables at fixed places, plain grains.

use camino::Utf8Path;

use super::descriptor::DESCRIPTOR_SECTORS;
use super::header::{
    FLAG_NEWLINE_TEST, FLAG_REDUNDANT_TABLES, GRAIN_BYTES, GRAIN_SECTORS, GRAINS_PER_TABLE, Header,
    TABLE_LEN, TABLE_SECTORS, Tables, sector_entry,
};
use crate::formats::bytes::le32_table;
use crate::formats::{FormatError, SECTOR_BYTES, Written};
use crate::sparse::{Control, Output, Pump, ReadAt, create_beside, pump};

pub(super) fn write(
    disk: &dyn ReadAt,
    output: &Utf8Path,
    tables: &Tables,
    descriptor: &str,
    control: &Control<'_>,
) -> Result<Written, FormatError> {
    let copy_sectors = tables.directory_sectors() + tables.count * TABLE_SECTORS;
    let redundant_directory = 1 + DESCRIPTOR_SECTORS;
    let directory = redundant_directory + copy_sectors;
    let header = Header {
        version: 1,
        flags: FLAG_NEWLINE_TEST | FLAG_REDUNDANT_TABLES,
        capacity_sectors: tables.capacity_sectors,
        redundant_directory,
        directory,
        overhead_sectors: (directory + copy_sectors).next_multiple_of(GRAIN_SECTORS),
        compression: 0,
    };
    let mut output = create_beside(disk, output)?;
    output.write_all_at(&header.to_bytes(), 0)?;
    output.write_all_at(descriptor.as_bytes(), SECTOR_BYTES)?;
    let first_tables =
        [redundant_directory, directory].map(|start| start + tables.directory_sectors());
    for (start, first_table) in [redundant_directory, directory].into_iter().zip(first_tables) {
        let entries = (0..tables.count).map(|i| sector_entry(first_table + i * TABLE_SECTORS));
        let entries = entries.collect::<Result<Vec<u32>, _>>()?;
        output.write_all_at(&le32_table(&entries), start * SECTOR_BYTES)?;
    }

    let mut image = Image {
        output,
        next_sector: header.overhead_sectors,
        table: Vec::new(),
        table_index: 0,
        first_tables,
    };
    pump(
        Pump { disk, unit_bytes: GRAIN_BYTES, control },
        |_, data| Ok(data),
        |grain, data| image.add(grain, &data),
    )?;
    let file_bytes = image.finish()?;
    Ok(Written { virtual_bytes: tables.capacity_sectors * SECTOR_BYTES, file_bytes })
}

struct Image {
    output: Output,
    next_sector: u64,
    /// The grain table in work and its number.
    table: Vec<u32>,
    table_index: u64,
    /// Sector of the first grain table of both copies.
    first_tables: [u64; 2],
}

impl Image {
    fn add(&mut self, grain: u64, data: &[u8]) -> Result<(), FormatError> {
        let table_index = grain / GRAINS_PER_TABLE;
        if table_index != self.table_index {
            self.flush_table()?;
            self.table_index = table_index;
        }
        let sector = sector_entry(self.next_sector)?;
        self.output.write_all_at(data, self.next_sector * SECTOR_BYTES)?;
        self.next_sector += GRAIN_SECTORS;
        self.table.resize(TABLE_LEN, 0);
        self.table[(grain % GRAINS_PER_TABLE) as usize] = sector;
        Ok(())
    }

    /// Tables without grains stay holes: the file reads as zeros there, which means "not allocated".
    fn flush_table(&mut self) -> Result<(), FormatError> {
        if !self.table.is_empty() {
            let table = le32_table(&self.table);
            for first in self.first_tables {
                let sector = first + self.table_index * TABLE_SECTORS;
                self.output.write_all_at(&table, sector * SECTOR_BYTES)?;
            }
            self.table.clear();
        }
        Ok(())
    }

    fn finish(mut self) -> Result<u64, FormatError> {
        self.flush_table()?;
        let file_bytes = self.next_sector * SECTOR_BYTES;
        self.output.set_len(file_bytes)?;
        self.output.finish();
        Ok(file_bytes)
    }
}

//! Where a file system is written to.
//!
//! Small pieces that follow each other are gathered into large writes, and blocks of zeros are left out, so
//! that the output stays sparse.

use std::io::{self, Read};
use std::os::fd::AsFd;
use std::path::Path;

use crate::error::Error;
use crate::field::index;
use crate::geometry::BLOCK_SIZE;

const BLOCK: usize = index(BLOCK_SIZE);
/// Bytes that are gathered before they are written.
const BUFFER: usize = 1 << 20;

/// An output that reads as zeros wherever nothing was written.
pub trait WriteAt {
    /// Writes all of `data`, which starts `offset` bytes after the start of the file system.
    ///
    /// # Errors
    /// Whatever keeps the bytes from being written; it ends the writing of the file system.
    fn write_at(&mut self, offset: u64, data: &[u8]) -> io::Result<()>;
}

/// A part of an open file, such as a partition of a disk image. The part must read as zeros.
#[derive(Debug)]
pub struct Region<'f, F> {
    file: &'f F,
    start: u64,
}

impl<'f, F: AsFd> Region<'f, F> {
    /// The part of `file` from byte `start` on.
    pub fn new(file: &'f F, start: u64) -> Self {
        Self { file, start }
    }
}

impl<F: AsFd> WriteAt for Region<'_, F> {
    fn write_at(&mut self, offset: u64, data: &[u8]) -> io::Result<()> {
        let offset = self.start.checked_add(offset);
        let mut offset = offset.ok_or_else(|| io::Error::from(io::ErrorKind::FileTooLarge))?;
        let mut rest = data;
        while !rest.is_empty() {
            match rustix::io::pwrite(self.file, rest, offset) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => {
                    rest = &rest[count..];
                    offset += count as u64;
                },
                Err(rustix::io::Errno::INTR) => {},
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

/// The start of a vector is the start of the file system; it grows as needed.
impl WriteAt for Vec<u8> {
    fn write_at(&mut self, offset: u64, data: &[u8]) -> io::Result<()> {
        let start = index(offset);
        if self.len() < start + data.len() {
            self.resize(start + data.len(), 0);
        }
        self[start..start + data.len()].copy_from_slice(data);
        Ok(())
    }
}

/// Gathers consecutive data. [`Gathered::flush`] must come last.
pub(crate) struct Gathered<'s, S> {
    sink: &'s mut S,
    /// Where the buffer's content belongs; starts with a block.
    start: u64,
    filled: usize,
    buffer: Vec<u8>,
    pub(crate) written: u64,
}

impl<'s, S: WriteAt> Gathered<'s, S> {
    pub(crate) fn new(sink: &'s mut S) -> Self {
        Self { sink, start: 0, filled: 0, buffer: vec![0; BUFFER], written: 0 }
    }

    /// Writes `data` at the start of block `number`, filled up with zeros to a whole block.
    pub(crate) fn write(&mut self, number: u64, mut data: &[u8]) -> Result<(), Error> {
        self.go_to(number * BLOCK_SIZE)?;
        while !data.is_empty() {
            let room = self.room()?;
            let count = data.len().min(room.len());
            room[..count].copy_from_slice(&data[..count]);
            self.filled += count;
            data = &data[count..];
        }
        self.fill_block();
        Ok(())
    }

    /// Writes exactly `length` bytes from `reader` at the start of block `number`.
    pub(crate) fn copy(
        &mut self,
        number: u64,
        length: u64,
        reader: &mut dyn Read,
        problem: &dyn Fn(io::Error) -> Error,
    ) -> Result<(), Error> {
        self.go_to(number * BLOCK_SIZE)?;
        let mut left = length;
        while left > 0 {
            let room = self.room()?;
            let count = index(left.min(room.len() as u64));
            reader.read_exact(&mut room[..count]).map_err(problem)?;
            self.filled += count;
            left -= count as u64;
        }
        self.fill_block();
        Ok(())
    }

    pub(crate) fn flush(&mut self) -> Result<(), Error> {
        let data = &self.buffer[..self.filled];
        let mut done = 0;
        while done < data.len() {
            let zeros = data[done..].chunks(BLOCK).take_while(|block| is_zero(block)).count();
            done += zeros * BLOCK;
            let blocks = data.get(done..).unwrap_or_default().chunks(BLOCK);
            let count: usize = blocks.take_while(|block| !is_zero(block)).map(<[u8]>::len).sum();
            if count > 0 {
                let offset = self.start + done as u64;
                self.sink
                    .write_at(offset, &data[done..done + count])
                    .map_err(|source| Error::Write { offset, length: count, source })?;
                self.written += count as u64;
            }
            done += count;
        }
        self.start += self.filled as u64;
        self.filled = 0;
        Ok(())
    }

    fn go_to(&mut self, offset: u64) -> Result<(), Error> {
        if offset != self.start + self.filled as u64 {
            self.flush()?;
            self.start = offset;
        }
        Ok(())
    }

    /// The free part of the buffer, never empty.
    fn room(&mut self) -> Result<&mut [u8], Error> {
        if self.filled == BUFFER {
            self.flush()?;
        }
        Ok(&mut self.buffer[self.filled..])
    }

    fn fill_block(&mut self) {
        let end = self.filled.next_multiple_of(BLOCK);
        self.buffer[self.filled..end].fill(0);
        self.filled = end;
    }
}

/// Reads on to see that nothing is left.
pub(crate) fn at_end(reader: &mut dyn Read) -> io::Result<bool> {
    let mut byte = [0];
    loop {
        match reader.read(&mut byte) {
            Ok(count) => return Ok(count == 0),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {},
            Err(error) => return Err(error),
        }
    }
}

/// Names the file that a content comes from.
pub(crate) fn read_error(path: &Path, source: io::Error) -> Error {
    Error::Read { path: path.to_owned(), source }
}

fn is_zero(block: &[u8]) -> bool {
    const ZEROS: [u8; BLOCK] = [0; BLOCK];
    block == &ZEROS[..block.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Log(Vec<(u64, usize)>);

    impl WriteAt for Log {
        fn write_at(&mut self, offset: u64, data: &[u8]) -> io::Result<()> {
            self.0.push((offset, data.len()));
            Ok(())
        }
    }

    #[test]
    fn neighbours_become_one_write_and_zeros_none() {
        let mut log = Log::default();
        let mut gathered = Gathered::new(&mut log);
        gathered.write(3, &[1; 10]).unwrap();
        gathered.write(4, &[0; 9000]).unwrap();
        gathered.write(7, &[1; 4096]).unwrap();
        gathered.write(8, &[2; 1]).unwrap();
        gathered.write(20, &[0; 4096]).unwrap();
        gathered.flush().unwrap();
        assert_eq!(log.0, [(3 * 4096, 4096), (7 * 4096, 8192)]);
    }

    #[test]
    fn more_than_the_buffer_holds_arrives_whole() {
        let data: Vec<u8> = (0..3_000_000_u32).map(|n| (n % 251) as u8).collect();
        let mut out = Vec::new();
        let mut gathered = Gathered::new(&mut out);
        gathered.write(0, &data[..5000]).unwrap();
        gathered
            .copy(2, 2_990_000, &mut &data[5000..], &|source| read_error(Path::new(""), source))
            .unwrap();
        gathered.flush().unwrap();
        assert_eq!(out[..5000], data[..5000]);
        assert_eq!(out[8192..8192 + 2_990_000], data[5000..2_995_000]);
    }
}

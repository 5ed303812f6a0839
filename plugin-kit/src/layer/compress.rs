//! Compression of a stream on all cores, with the same bytes for any number of them.
//!
//! gzip is cut into pieces of 1 MiB that are packed apart and joined to one member (RFC 1951: a piece ends
//! at a byte with an empty block), which every reader takes for an ordinary one.

use std::fmt;
use std::io::{self, Write};

use bzip2::write::BzEncoder;
use flate2::{Compress, FlushCompress, Status};
use lzma_rust2::{XzOptions, XzWriter};
use rayon::prelude::*;

/// How a stream is packed. The levels are those of the programs of these names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// What every reader knows.
    Gzip {
        /// 1 to 9.
        level: u32,
    },
    /// Smaller and faster to read.
    Zstd {
        /// 1 to 22.
        level: i32,
    },
    /// Smallest, slow.
    Xz {
        /// 0 to 9.
        level: u32,
    },
    /// Slow, for readers that know nothing newer.
    Bzip2 {
        /// 1 to 9.
        level: u32,
    },
}

/// A writer that packs; [`Compressor::finish`] must come last.
pub struct Compressor<W: Write>(Inner<W>);

enum Inner<W: Write> {
    None(W),
    Gzip(Gzip<W>),
    Zstd(zstd::Encoder<'static, W>),
    Xz(Box<XzWriter<W>>),
    Bzip2(BzEncoder<W>),
}

/// Jobs are cut by level and not by the number of threads, so this changes speed alone.
const ZSTD_THREADS: u32 = 4;

impl<W: Write> Compressor<W> {
    /// Packs to `output`.
    ///
    /// # Errors
    /// A level that there is not, or an output that fails.
    pub fn new(mut output: W, compression: Compression) -> io::Result<Self> {
        Ok(Self(match compression {
            Compression::None => Inner::None(output),
            Compression::Gzip { level } => {
                output.write_all(&GZIP_HEADER)?;
                let level = flate2::Compression::new(level.min(9));
                let (input, checksum) = (Vec::new(), crc32fast::Hasher::new());
                Inner::Gzip(Gzip { output, level, input, checksum, length: 0 })
            },
            Compression::Zstd { level } => {
                let mut encoder = zstd::Encoder::new(output, level)?;
                encoder.include_checksum(true)?;
                encoder.multithread(ZSTD_THREADS)?;
                Inner::Zstd(encoder)
            },
            Compression::Xz { level } => {
                Inner::Xz(Box::new(XzWriter::new(output, XzOptions::with_preset(level.min(9)))?))
            },
            Compression::Bzip2 { level } => {
                Inner::Bzip2(BzEncoder::new(output, bzip2::Compression::new(level.clamp(1, 9))))
            },
        }))
    }

    /// Writes what is left and gives the output back.
    ///
    /// # Errors
    /// The output fails.
    pub fn finish(self) -> io::Result<W> {
        match self.0 {
            Inner::None(output) => Ok(output),
            Inner::Gzip(gzip) => gzip.finish(),
            Inner::Zstd(encoder) => encoder.finish(),
            Inner::Xz(writer) => writer.finish(),
            Inner::Bzip2(encoder) => encoder.finish(),
        }
    }
}

impl<W: Write> Write for Compressor<W> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        match &mut self.0 {
            Inner::None(output) => output.write(data),
            Inner::Gzip(gzip) => gzip.write(data),
            Inner::Zstd(encoder) => encoder.write(data),
            Inner::Xz(writer) => writer.write(data),
            Inner::Bzip2(encoder) => encoder.write(data),
        }
    }

    /// Does nothing: flushing in between would cost compression.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<W: Write> fmt::Debug for Compressor<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Compressor").finish_non_exhaustive()
    }
}

/// RFC 1952: deflate, no time, no name, an unknown system.
const GZIP_HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
const PIECE_BYTES: usize = 1 << 20;
/// Pieces that are in memory together.
const PIECES: usize = 8;

struct Gzip<W> {
    output: W,
    level: flate2::Compression,
    input: Vec<u8>,
    checksum: crc32fast::Hasher,
    length: u64,
}

impl<W: Write> Gzip<W> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let room = PIECES * PIECE_BYTES - self.input.len();
        let taken = data.len().min(room);
        self.input.extend_from_slice(&data[..taken]);
        if taken == room {
            self.pack(FlushCompress::Sync)?;
        }
        Ok(taken)
    }

    /// Packs what is there; with `Finish` the last piece ends the stream.
    fn pack(&mut self, end: FlushCompress) -> io::Result<()> {
        let input = std::mem::take(&mut self.input);
        self.checksum.update(&input);
        self.length += input.len() as u64;
        let mut pieces: Vec<(&[u8], FlushCompress)> =
            input.chunks(PIECE_BYTES).map(|piece| (piece, FlushCompress::Sync)).collect();
        match pieces.last_mut() {
            Some((_, flush)) => *flush = end,
            None => pieces.push((&[], end)),
        }
        let level = self.level;
        let packed: io::Result<Vec<Vec<u8>>> =
            pieces.into_par_iter().map(|(piece, flush)| deflate(piece, level, flush)).collect();
        for piece in packed? {
            self.output.write_all(&piece)?;
        }
        self.input = input;
        self.input.clear();
        Ok(())
    }

    fn finish(mut self) -> io::Result<W> {
        self.pack(FlushCompress::Finish)?;
        self.output.write_all(&self.checksum.finalize().to_le_bytes())?;
        // The length counts modulo 2^32.
        self.output.write_all(&self.length.to_le_bytes()[..4])?;
        Ok(self.output)
    }
}

fn deflate(piece: &[u8], level: flate2::Compression, flush: FlushCompress) -> io::Result<Vec<u8>> {
    let mut packer = Compress::new(level, false);
    let mut packed = Vec::with_capacity(piece.len() / 2 + 1024);
    loop {
        let taken = usize::try_from(packer.total_in()).unwrap_or(usize::MAX);
        let rest = piece.get(taken..).unwrap_or_default();
        let status = packer.compress_vec(rest, &mut packed, flush).map_err(io::Error::other)?;
        let room = packed.len() < packed.capacity();
        let all = packer.total_in() == piece.len() as u64;
        match (flush, status) {
            (_, Status::StreamEnd) => return Ok(packed),
            // With room left, all of the flush is out.
            (FlushCompress::Sync, _) if all && room => return Ok(packed),
            _ => packed.reserve(PIECE_BYTES / 4),
        }
    }
}

//! Compressors of the unit-wise formats, one per thread and reused: making one costs more than a unit does.

use std::io;
use std::sync::{Mutex, PoisonError};

use libdeflater::{CompressionLvl, Compressor};

use crate::formats::FormatError;

/// How units are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Method {
    /// Raw deflate, RFC 1951.
    Deflate,
    /// Deflate within a zlib frame, RFC 1950.
    Zlib,
    /// One Zstandard frame, RFC 8878.
    Zstd,
}

/// A unit after compression.
#[derive(Debug)]
pub(super) enum Encoded {
    /// Compression did not help.
    Plain(Vec<u8>),
    /// Shorter than the unit.
    Packed(Vec<u8>),
}

enum Engine {
    Deflate(Compressor),
    Zlib(Compressor),
    Zstd(zstd::bulk::Compressor<'static>),
}

struct Worker {
    engine: Engine,
    scratch: Vec<u8>,
}

/// A set of compressors with the same settings.
pub(super) struct Codec {
    method: Method,
    level: i32,
    idle: Mutex<Vec<Worker>>,
}

impl Codec {
    /// Checks that `level` exists: 1 to 12 for deflate and zlib, 1 to 22 for zstd.
    pub(super) fn new(method: Method, level: i32) -> Result<Self, FormatError> {
        let levels = match method {
            Method::Deflate | Method::Zlib => 1..=12,
            Method::Zstd => 1..=22,
        };
        if !levels.contains(&level) {
            return Err(FormatError::InvalidOption {
                option: "compression level",
                value: level.to_string(),
            });
        }
        Ok(Self { method, level, idle: Mutex::default() })
    }

    /// Compresses `unit`, or gives it back when the result would not be at least one byte shorter.
    pub(super) fn shrink(&self, unit: Vec<u8>) -> io::Result<Encoded> {
        let limit = unit.len().saturating_sub(1);
        Ok(match self.compress(&unit, limit)? {
            Some(packed) => Encoded::Packed(packed),
            None => Encoded::Plain(unit),
        })
    }

    /// Compresses `unit` to at most `limit` bytes.
    pub(super) fn compress(&self, unit: &[u8], limit: usize) -> io::Result<Option<Vec<u8>>> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut worker = match idle {
            Some(worker) => worker,
            None => self.worker()?,
        };
        worker.scratch.resize(limit, 0);
        let len = worker.engine.compress(unit, &mut worker.scratch);
        let packed = len.map(|len| worker.scratch[..len].to_vec());
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(worker);
        Ok(packed)
    }

    fn worker(&self) -> io::Result<Worker> {
        let deflate = || {
            CompressionLvl::new(self.level)
                .map(Compressor::new)
                .map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))
        };
        let engine = match self.method {
            Method::Deflate => Engine::Deflate(deflate()?),
            Method::Zlib => Engine::Zlib(deflate()?),
            Method::Zstd => Engine::Zstd(zstd::bulk::Compressor::new(self.level)?),
        };
        Ok(Worker { engine, scratch: Vec::new() })
    }
}

impl Engine {
    /// Length of the result, nothing when it does not fit: no other failure exists for a plain buffer.
    fn compress(&mut self, unit: &[u8], out: &mut [u8]) -> Option<usize> {
        match self {
            Self::Deflate(compressor) => compressor.deflate_compress(unit, out).ok(),
            Self::Zlib(compressor) => compressor.zlib_compress(unit, out).ok(),
            Self::Zstd(compressor) => compressor.compress_to_buffer(unit, out).ok(),
        }
    }
}

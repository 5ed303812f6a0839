//! Puts everything in its place.
//!
//! Content comes first and the superblock last, so that a file system that was not finished is none.

use std::io;

use crate::catalog::{Body, Catalog, Record};
use crate::checksum::Checksum;
use crate::entry::{Content, Time};
use crate::error::Error;
use crate::extent::{self, InodeBlocks};
use crate::field::index;
use crate::geometry::{BLOCK_SIZE, BLOCKS_PER_GROUP, INODE_SIZE, Run};
use crate::group::{self, Usage};
use crate::inode::{FLAG_EXTENTS, FLAG_INDEX, Inode, TYPE_FILE};
use crate::layout::{self, Layout, Placement};
use crate::options::Options;
use crate::sink::{Gathered, WriteAt, at_end, read_error};
use crate::superblock::{self, Counts};
use crate::tree::Tree;
use crate::{directory, journal, resize_inode, xattr};

/// What was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Summary {
    /// Size of the file system; up to 128 MiB less than asked for where the last block group would be
    /// too small to be of use.
    pub size_bytes: u64,
    /// Room that is left.
    pub free_bytes: u64,
    /// Inodes in all.
    pub inodes: u32,
    /// Inodes that are left.
    pub free_inodes: u32,
    /// Bytes that went to the output; the rest are holes.
    pub written_bytes: u64,
}

impl Tree {
    /// Writes the file system to `sink`, which must read as zeros up to `options.size_bytes`.
    ///
    /// The bytes depend on the tree and the options alone. After an error the output is no file system.
    ///
    /// # Errors
    /// [`Error::DoesNotFit`] and everything that is wrong with the tree or the options, before anything is
    /// written; [`Error::Read`] and [`Error::ContentLength`] from contents, [`Error::Write`] from the sink.
    pub fn write(&self, options: &Options, sink: &mut impl WriteAt) -> Result<Summary, Error> {
        options.check()?;
        let catalog = Catalog::new(self, &options.hash_seed)?;
        let layout = Layout::new(&catalog, options)?;
        if !layout.fits() {
            let needed = layout::minimum_size(&catalog, options)?;
            return Err(Error::DoesNotFit { needed, available: options.size_bytes });
        }
        Writer::new(options, &layout, sink).write(catalog)
    }

    /// The smallest `size_bytes`, to within 256 KiB, with which [`Tree::write`] succeeds; leaves no room
    /// for more files.
    ///
    /// # Errors
    /// Everything that is wrong with the tree or the options; their `size_bytes` does not matter.
    pub fn minimum_size(&self, options: &Options) -> Result<u64, Error> {
        options.check()?;
        layout::minimum_size(&Catalog::new(self, &options.hash_seed)?, options)
    }
}

struct Writer<'a, S> {
    options: &'a Options,
    layout: &'a Layout,
    out: Gathered<'a, S>,
    seed: Checksum,
    now: Time,
    /// Inodes of the file system up to the last one in use.
    inodes: Vec<u8>,
}

impl<'a, S: WriteAt> Writer<'a, S> {
    fn new(options: &'a Options, layout: &'a Layout, sink: &'a mut S) -> Self {
        Self {
            options,
            layout,
            out: Gathered::new(sink),
            seed: Checksum::of_file_system(&options.uuid),
            now: Time { seconds: options.timestamp, nanoseconds: 0 },
            inodes: Vec::new(),
        }
    }

    fn write(mut self, catalog: Catalog<'_>) -> Result<Summary, Error> {
        let last_inode = catalog.last_inode();
        self.inodes = vec![0; last_inode as usize * index(INODE_SIZE)];
        let usage = self.usage(&catalog, last_inode);
        self.resize_inode()?;
        let journal = self.journal()?;
        // Directories lie before everything else and so are written first.
        let (directories, others): (Vec<_>, Vec<_>) = catalog
            .records
            .into_iter()
            .zip(&self.layout.placements)
            .partition(|(record, _)| matches!(record.body, Body::Directory(_)));
        for (record, placement) in directories.into_iter().chain(others) {
            self.record(record, placement)?;
        }
        self.inode_tables(&usage)?;
        self.groups(&usage, journal)
    }

    fn usage(&self, catalog: &Catalog<'_>, last_inode: u32) -> Usage {
        let geometry = &self.layout.geometry;
        let mut directories = vec![0; geometry.groups as usize];
        for record in &catalog.records {
            if matches!(record.body, Body::Directory(_)) {
                directories[((record.number - 1) / geometry.inodes_per_group) as usize] += 1;
            }
        }
        Usage { end: self.layout.end, last_inode, directories }
    }

    fn resize_inode(&mut self) -> Result<(), Error> {
        let geometry = &self.layout.geometry;
        for (number, block) in resize_inode::encode(geometry, self.layout.double_indirect) {
            self.out.write(number, &block)?;
        }
        let inode = Inode {
            size: resize_inode::SIZE_BYTES,
            flags: 0,
            block: resize_inode::root(self.layout.double_indirect),
            used_blocks: resize_inode::used_blocks(geometry),
            ..self.hidden_file()
        };
        self.put_inode(resize_inode::INODE, &inode);
        Ok(())
    }

    fn journal(&mut self) -> Result<Option<(InodeBlocks, u64)>, Error> {
        let blocks = self.layout.geometry.journal_blocks;
        let Some(first) = self.layout.journal.data.first() else {
            return Ok(None);
        };
        self.out.write(first.start, &journal::superblock(blocks, &self.options.uuid))?;
        let block = self.extents(journal::INODE, &self.layout.journal)?;
        let size = blocks * BLOCK_SIZE;
        let used_blocks = self.layout.journal.used_blocks();
        let inode = Inode { size, block, used_blocks, ..self.hidden_file() };
        self.put_inode(journal::INODE, &inode);
        Ok(Some((block, size)))
    }

    /// An inode that no directory names.
    fn hidden_file(&self) -> Inode<'static> {
        Inode {
            mode: TYPE_FILE | 0o600,
            uid: 0,
            gid: 0,
            size: 0,
            links: 1,
            flags: FLAG_EXTENTS,
            block: [0; 60],
            used_blocks: 0,
            xattr_block: 0,
            mtime: self.now,
            ctime: self.now,
            xattrs: &[],
        }
    }

    fn record(&mut self, mut record: Record<'_>, placement: &Placement) -> Result<(), Error> {
        let inode_seed = self.seed.of_inode(record.number);
        if let (Some(number), Some(block)) = (placement.xattrs, &mut record.xattrs.block) {
            xattr::seal_block(block, number, self.seed);
            self.out.write(number, block)?;
        }
        let mut flags = FLAG_EXTENTS;
        let mut inline = None;
        let mut size = record.body.length();
        match &mut record.body {
            Body::Inline(block, length) => {
                inline = Some(*block);
                size = *length;
                flags = 0;
            },
            Body::Directory(encoded) => {
                flags |= if encoded.indexed { FLAG_INDEX } else { 0 };
                directory::seal(encoded, inode_seed);
                self.bytes(&encoded.blocks, &placement.data)?;
            },
            Body::Target(target) => self.bytes(target, &placement.data)?,
            Body::File(content) => self.content(content, &record.path, &placement.data)?,
        }
        let block = match inline {
            Some(block) => block,
            None => self.extents(record.number, placement)?,
        };
        let entry = record.entry;
        let inode = Inode {
            mode: record.file_type | permissions(entry.mode),
            uid: entry.uid,
            gid: entry.gid,
            size,
            links: record.links,
            flags,
            block,
            used_blocks: placement.used_blocks(),
            xattr_block: placement.xattrs.unwrap_or(0),
            mtime: entry.mtime.unwrap_or(self.now).min(self.now),
            ctime: self.now,
            xattrs: &record.xattrs.in_inode,
        };
        self.put_inode(record.number, &inode);
        Ok(())
    }

    fn bytes(&mut self, mut bytes: &[u8], runs: &[Run]) -> Result<(), Error> {
        for run in runs {
            let count = bytes.len().min(index(run.count * BLOCK_SIZE));
            let (first, rest) = bytes.split_at(count);
            self.out.write(run.start, first)?;
            bytes = rest;
        }
        Ok(())
    }

    fn content(
        &mut self,
        content: &Content,
        path: &std::path::Path,
        runs: &[Run],
    ) -> Result<(), Error> {
        let expected = content.length();
        if let Content::Bytes(bytes) = content {
            return self.bytes(bytes, runs);
        }
        let changed = |found: &str| Error::ContentLength {
            path: path.to_owned(),
            expected,
            found: found.to_owned(),
        };
        let problem = |source: io::Error| match source.kind() {
            io::ErrorKind::UnexpectedEof => changed("fewer were found"),
            _ => read_error(path, source),
        };
        let mut reader = content.open().map_err(|source| read_error(path, source))?;
        let mut left = expected;
        for run in runs {
            let length = left.min(run.count * BLOCK_SIZE);
            self.out.copy(run.start, length, reader.as_mut(), &problem)?;
            left -= length;
        }
        if at_end(reader.as_mut()).map_err(problem)? { Ok(()) } else { Err(changed("more follow")) }
    }

    fn extents(&mut self, inode: u32, placement: &Placement) -> Result<InodeBlocks, Error> {
        let seed = self.seed.of_inode(inode);
        let (root, blocks) = extent::encode(&placement.data, &placement.index, seed);
        for (number, block) in blocks {
            self.out.write(number, &block)?;
        }
        Ok(root)
    }

    fn put_inode(&mut self, number: u32, inode: &Inode<'_>) {
        let bytes = index(INODE_SIZE);
        let at = (number as usize - 1) * bytes;
        inode.encode(&mut self.inodes[at..at + bytes], self.seed.of_inode(number));
    }

    fn inode_tables(&mut self, usage: &Usage) -> Result<(), Error> {
        let geometry = &self.layout.geometry;
        let mut rest = self.inodes.as_slice();
        for (tables, group) in geometry.tables.iter().zip(0..) {
            let used = usage.used_inodes(geometry, group) as usize * index(INODE_SIZE);
            let (table, after) = rest.split_at(used);
            if !table.is_empty() {
                self.out.write(tables.inode_table, table)?;
            }
            rest = after;
        }
        Ok(())
    }

    /// Bitmaps, descriptors and superblocks.
    fn groups(
        mut self,
        usage: &Usage,
        journal: Option<(InodeBlocks, u64)>,
    ) -> Result<Summary, Error> {
        let geometry = &self.layout.geometry;
        let mut descriptors = Vec::new();
        let mut free_blocks = 0;
        for (tables, number) in geometry.tables.iter().zip(0..) {
            let group = group::encode(geometry, usage, number, self.seed);
            free_blocks += group.free_blocks;
            descriptors.extend_from_slice(&group.descriptor);
            if let Some(bitmap) = group.block_bitmap {
                self.out.write(tables.block_bitmap, &bitmap)?;
            }
            if let Some(bitmap) = group.inode_bitmap {
                self.out.write(tables.inode_bitmap, &bitmap)?;
            }
        }
        let counts = Counts { free_blocks, free_inodes: usage.free_inodes(geometry) };
        let mut copies: Vec<u32> = geometry.superblock_groups().collect();
        copies.reverse();
        for number in copies {
            let start = u64::from(number) * BLOCKS_PER_GROUP;
            let copy = superblock::encode(self.options, geometry, counts, journal, number);
            self.out.write(start + 1, &descriptors)?;
            let before = if number == 0 { index(superblock::OFFSET) } else { 0 };
            let mut block = vec![0; before];
            block.extend_from_slice(&copy);
            self.out.write(start, &block)?;
        }
        self.out.flush()?;
        Ok(Summary {
            size_bytes: geometry.blocks * BLOCK_SIZE,
            free_bytes: free_blocks * BLOCK_SIZE,
            inodes: geometry.inodes(),
            free_inodes: counts.free_inodes,
            written_bytes: self.out.written,
        })
    }
}

/// Without the type that `st_mode` has above them.
fn permissions(mode: u32) -> u16 {
    crate::field::lo16(mode & 0o7777)
}

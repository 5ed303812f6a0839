//! Blocks of directories: lists of names, and an index by hash over directories of several blocks.
//!
//! Every block ends in a checksum, which is left open here: it needs nothing but the inode's seed.

use crate::checksum::Checksum;
use crate::directory_hash::{DirectoryHash, HALF_MD4};
use crate::field::{index, lo8, lo16, lo32, put16, put32};
use crate::geometry::BLOCK_SIZE;

const BLOCK: usize = index(BLOCK_SIZE);
/// An entry without its name: inode, length, length of the name, type.
pub(crate) const ENTRY_BYTES: usize = 8;
/// A last, nameless entry that holds the checksum.
const TAIL_BYTES: usize = 12;
const TAIL_TYPE: u8 = 0xde;
/// `.` and `..`.
const DOTS_BYTES: usize = 24;
/// Hash and block.
const INDEX_ENTRY: usize = 8;
const INDEX_TAIL: usize = 8;
const ROOT_ENTRIES_AT: usize = DOTS_BYTES + 8;
const NODE_ENTRIES_AT: usize = 8;
const TYPE_DIRECTORY: u8 = 2;

/// A name in a directory and what it leads to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Link<'a> {
    pub(crate) name: &'a [u8],
    pub(crate) inode: u32,
    /// Type by ext4's numbers: 1 file, 2 directory, 3 and 4 devices, 5 fifo, 6 socket, 7 link.
    pub(crate) file_type: u8,
}

/// The content of a directory.
#[derive(Debug)]
pub(crate) struct Encoded {
    pub(crate) blocks: Vec<u8>,
    pub(crate) indexed: bool,
}

/// The content of directory `inode`, with an index when the names take more than a block.
pub(crate) fn encode(inode: u32, parent: u32, names: &[Link<'_>], hash: DirectoryHash) -> Encoded {
    let dots = [
        Link { name: b".", inode, file_type: TYPE_DIRECTORY },
        Link { name: b"..", inode: parent, file_type: TYPE_DIRECTORY },
    ];
    let linear = pack(dots.iter().chain(names).copied());
    if linear.len() > BLOCK
        && let Some(blocks) = indexed(&dots, names, hash)
    {
        return Encoded { blocks, indexed: true };
    }
    Encoded { blocks: linear, indexed: false }
}

/// Appends empty blocks up to `count`, as `lost+found` has them ready for a repair.
pub(crate) fn pad(encoded: &mut Encoded, count: usize) {
    while !encoded.indexed && encoded.blocks.len() < count * BLOCK {
        let start = encoded.blocks.len();
        encoded.blocks.resize(start + BLOCK, 0);
        let block = &mut encoded.blocks[start..];
        put16(block, 4, length16(BLOCK - TAIL_BYTES));
        put_tail(block);
    }
}

/// Sets the checksums of all blocks.
pub(crate) fn seal(encoded: &mut Encoded, seed: Checksum) {
    for block in encoded.blocks.chunks_exact_mut(BLOCK) {
        if block[BLOCK - TAIL_BYTES + 7] == TAIL_TYPE && block[BLOCK - TAIL_BYTES + 4] == 12 {
            let checksum = seed.update(&block[..BLOCK - TAIL_BYTES]).value();
            put32(block, BLOCK - 4, checksum);
        } else {
            // A node of the index; only the entries in use are covered.
            let start = if block[4] == 12 { ROOT_ENTRIES_AT } else { NODE_ENTRIES_AT };
            let count = u16::from_le_bytes([block[start + 2], block[start + 3]]);
            let end = start + usize::from(count) * INDEX_ENTRY;
            let checksum = seed.update(&block[..end]).update(&[0; 8]).value();
            put32(block, BLOCK - 4, checksum);
        }
    }
}

/// Names in the order given, in as few blocks as that takes.
fn pack<'a>(names: impl Iterator<Item = Link<'a>>) -> Vec<u8> {
    let mut blocks = Vec::new();
    let mut used = BLOCK;
    let mut last = 0;
    for name in names {
        let bytes = entry_bytes(name.name);
        if used + bytes > BLOCK - TAIL_BYTES {
            end_block(&mut blocks, last);
            used = 0;
            blocks.resize(blocks.len() + BLOCK, 0);
        }
        last = blocks.len() - BLOCK + used;
        put_entry(&mut blocks[last..], name, bytes);
        used += bytes;
    }
    end_block(&mut blocks, last);
    blocks
}

/// Stretches the entry at `last` to the end of the last block and puts the tail.
fn end_block(blocks: &mut [u8], last: usize) {
    if !blocks.is_empty() {
        let end = blocks.len();
        put16(blocks, last + 4, length16(end - TAIL_BYTES - last));
        put_tail(&mut blocks[end - BLOCK..]);
    }
}

/// Root and nodes of the index, then the names by hash. `None` when two levels are too few.
fn indexed(dots: &[Link<'_>; 2], names: &[Link<'_>], hash: DirectoryHash) -> Option<Vec<u8>> {
    let mut hashed: Vec<_> = names.iter().map(|name| (hash.hash(name.name), *name)).collect();
    hashed.sort_by_key(|(hash, name)| (*hash, name.name));
    let leaves = leaves(&hashed);

    let root_limit = (BLOCK - ROOT_ENTRIES_AT - INDEX_TAIL) / INDEX_ENTRY;
    let node_limit = (BLOCK - NODE_ENTRIES_AT - INDEX_TAIL) / INDEX_ENTRY;
    let nodes = if leaves.len() > root_limit { leaves.len().div_ceil(node_limit) } else { 0 };
    if nodes > root_limit {
        return None;
    }
    let leaf_at = |leaf: usize| lo32((1 + nodes + leaf) as u64);
    let pointers: Vec<(u32, u32)> =
        leaves.iter().enumerate().map(|(leaf, (hash, _))| (*hash, leaf_at(leaf))).collect();

    let mut blocks = vec![0; BLOCK];
    put_entry(&mut blocks, dots[0], DOTS_BYTES / 2);
    put_entry(&mut blocks[DOTS_BYTES / 2..], dots[1], BLOCK - DOTS_BYTES / 2);
    blocks[DOTS_BYTES + 4] = HALF_MD4;
    blocks[DOTS_BYTES + 5] = 8; // bytes of this record
    blocks[DOTS_BYTES + 6] = u8::from(nodes > 0); // levels below the root
    if nodes == 0 {
        put_pointers(&mut blocks[ROOT_ENTRIES_AT..], root_limit, &pointers);
    } else {
        let chunks = pointers.chunks(node_limit);
        let upper: Vec<(u32, u32)> =
            chunks.clone().zip(1..).map(|(chunk, block)| (chunk[0].0, block)).collect();
        put_pointers(&mut blocks[ROOT_ENTRIES_AT..], root_limit, &upper);
        for chunk in chunks {
            let start = blocks.len();
            blocks.resize(start + BLOCK, 0);
            put16(&mut blocks, start + 4, length16(BLOCK));
            put_pointers(&mut blocks[start + NODE_ENTRIES_AT..], node_limit, chunk);
        }
    }
    for (_, leaf) in leaves {
        blocks.extend(pack(leaf.iter().map(|(_, name)| *name)));
    }
    Some(blocks)
}

type Hashed<'a> = ((u32, u32), Link<'a>);

/// Cuts sorted names into blocks. The hash that leads to a block has its lowest bit set when the block
/// before ends in the same hash.
fn leaves<'a, 'b>(hashed: &'b [Hashed<'a>]) -> Vec<(u32, &'b [Hashed<'a>])> {
    let mut leaves = Vec::new();
    let mut start = 0;
    let mut used = 0;
    for (at, (_, name)) in hashed.iter().enumerate() {
        let bytes = entry_bytes(name.name);
        if used + bytes > BLOCK - TAIL_BYTES {
            leaves.push((start, at));
            start = at;
            used = 0;
        }
        used += bytes;
    }
    leaves.push((start, hashed.len()));
    leaves
        .into_iter()
        .map(|(start, end)| {
            let hash = hashed[start].0.0;
            let continued = start > 0 && hashed[start - 1].0.0 == hash;
            (hash | u32::from(continued), &hashed[start..end])
        })
        .collect()
}

/// The first pointer has no hash: limit and count lie in its place.
fn put_pointers(area: &mut [u8], limit: usize, pointers: &[(u32, u32)]) {
    for (slot, (hash, block)) in area.chunks_exact_mut(INDEX_ENTRY).zip(pointers) {
        put32(slot, 0, *hash);
        put32(slot, 4, *block);
    }
    put16(area, 0, length16(limit));
    put16(area, 2, length16(pointers.len()));
}

fn put_entry(area: &mut [u8], name: Link<'_>, bytes: usize) {
    put32(area, 0, name.inode);
    put16(area, 4, length16(bytes));
    area[6] = lo8(lo32(name.name.len() as u64));
    area[7] = name.file_type;
    area[ENTRY_BYTES..ENTRY_BYTES + name.name.len()].copy_from_slice(name.name);
}

fn put_tail(block: &mut [u8]) {
    let tail = BLOCK - TAIL_BYTES;
    put16(block, tail + 4, length16(TAIL_BYTES));
    block[tail + 7] = TAIL_TYPE;
}

fn entry_bytes(name: &[u8]) -> usize {
    (ENTRY_BYTES + name.len()).next_multiple_of(4)
}

/// Lengths within a block.
fn length16(length: usize) -> u16 {
    debug_assert!(length <= BLOCK, "{length} is more than a block");
    lo16(lo32(length as u64))
}

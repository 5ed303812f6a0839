//! The half-MD4 hash that orders the names of an indexed directory.

use crate::field::lo32;

/// Number of the hash in superblock and index; its treatment of bytes above 127 as unsigned is a flag of
/// the superblock.
pub(crate) const HALF_MD4: u8 = 1;
/// The highest value ends a search.
const END: u32 = 0xffff_fffe;

/// Start values of MD4 (RFC 1320 section 3.3), for a seed of zeros.
const DEFAULT_SEED: [u32; 4] = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476];

/// Hashes names by the seed of a file system.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DirectoryHash([u32; 4]);

impl DirectoryHash {
    pub(crate) fn new(seed: &[u8; 16]) -> Self {
        let mut words = [0; 4];
        for (word, bytes) in words.iter_mut().zip(seed.chunks_exact(4)) {
            *word = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        }
        Self(if words == [0; 4] { DEFAULT_SEED } else { words })
    }

    /// The hash that the index knows (its lowest bit is 0) and the one that orders equal ones.
    pub(crate) fn hash(self, name: &[u8]) -> (u32, u32) {
        let mut state = self.0;
        let mut rest = name;
        while !rest.is_empty() {
            transform(&mut state, &words(rest));
            rest = rest.get(32..).unwrap_or_default();
        }
        let hash = state[1] & !1;
        (if hash == END { END - 2 } else { hash }, state[2])
    }
}

/// The next 32 bytes, filled up with the number of bytes that are left.
fn words(rest: &[u8]) -> [u32; 8] {
    let pad = lo32(rest.len() as u64) * 0x0101_0101;
    let mut words = [pad; 8];
    for (word, chunk) in words.iter_mut().zip(rest.chunks(4)) {
        *word = chunk.iter().fold(pad, |value, byte| value << 8 | u32::from(*byte));
    }
    words
}

/// Three rounds of MD4 (RFC 1320), each over half of the words that MD4 takes.
fn transform(state: &mut [u32; 4], input: &[u32; 8]) {
    type Mix = fn(u32, u32, u32) -> u32;
    const ROUNDS: [(Mix, u32, [u32; 4], [usize; 8]); 3] = [
        (|x, y, z| z ^ (x & (y ^ z)), 0, [3, 7, 11, 19], [0, 1, 2, 3, 4, 5, 6, 7]),
        (
            |x, y, z| (x & y).wrapping_add((x ^ y) & z),
            0x5a82_7999,
            [3, 5, 9, 13],
            [1, 3, 5, 7, 0, 2, 4, 6],
        ),
        (|x, y, z| x ^ y ^ z, 0x6ed9_eba1, [3, 9, 11, 15], [3, 7, 2, 6, 1, 5, 0, 4]),
    ];
    let [mut a, mut b, mut c, mut d] = *state;
    for (mix, constant, shifts, order) in ROUNDS {
        for (step, word) in order.into_iter().enumerate() {
            let sum = a.wrapping_add(mix(b, c, d)).wrapping_add(input[word]).wrapping_add(constant);
            (a, b, c, d) = (d, sum.rotate_left(shifts[step % 4]), b, c);
        }
    }
    for (word, change) in state.iter_mut().zip([a, b, c, d]) {
        *word = word.wrapping_add(change);
    }
}

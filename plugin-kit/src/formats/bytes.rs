//! Fixed-offset fields of on-disk headers.

/// Copies `field` to `at` of a header whose length is a constant of the format.
pub(super) fn put(header: &mut [u8], at: usize, field: &[u8]) {
    header[at..at + field.len()].copy_from_slice(field);
}

/// The `N` bytes at `at`, zeros where the header ends before.
pub(super) fn field<const N: usize>(header: &[u8], at: usize) -> [u8; N] {
    let mut bytes = [0; N];
    let rest = header.get(at..).unwrap_or_default();
    let len = rest.len().min(N);
    bytes[..len].copy_from_slice(&rest[..len]);
    bytes
}

/// Serialises a table of big-endian words.
pub(super) fn be64_table(words: &[u64]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_be_bytes()).collect()
}

/// Serialises a table of little-endian words.
pub(super) fn le32_table(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

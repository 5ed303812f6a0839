//! Zero detection.

/// True when every byte is zero. Leaves at the first 256 bytes that are not.
pub fn is_zero(bytes: &[u8]) -> bool {
    // A fold without early exit over a fixed length is what the compiler turns into vector code.
    let chunks = bytes.chunks_exact(256);
    let rest = chunks.remainder();
    chunks.into_iter().all(|chunk| chunk.iter().fold(0, |all, byte| all | byte) == 0)
        && rest.iter().all(|byte| *byte == 0)
}

#[cfg(test)]
mod tests {
    use super::is_zero;

    #[test]
    fn one_bit_anywhere_is_seen() {
        for len in [1, 255, 256, 257, 1000] {
            let mut bytes = vec![0; len];
            assert!(is_zero(&bytes));
            for at in [0, len / 2, len - 1] {
                bytes[at] = 0x10;
                assert!(!is_zero(&bytes), "bit in byte {at} of {len} was missed");
                bytes[at] = 0;
            }
        }
        assert!(is_zero(&[]));
    }
}

//! What a ustar header has no room for (POSIX.1-2017, `pax`).

use std::collections::BTreeMap;

/// The records of one member, sorted by key.
#[derive(Debug, Default)]
pub(super) struct Records(BTreeMap<Vec<u8>, Vec<u8>>);

impl Records {
    pub(super) fn put(&mut self, key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) {
        self.0.insert(key.into(), value.into());
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Each record begins with its own length.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut encoded = Vec::new();
        for (key, value) in &self.0 {
            // A space, `=` and a line feed.
            let rest = key.len() + value.len() + 3;
            let mut length = rest;
            while length != rest + length.to_string().len() {
                length = rest + length.to_string().len();
            }
            encoded.extend_from_slice(format!("{length} ").as_bytes());
            encoded.extend_from_slice(key);
            encoded.push(b'=');
            encoded.extend_from_slice(value);
            encoded.push(b'\n');
        }
        encoded
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_length_counts_itself() {
        let mut records = Records::default();
        records.put("path", "x");
        assert_eq!(records.encode(), b"9 path=x\n");
        let mut records = Records::default();
        records.put("k", vec![b'x'; 93]);
        assert!(records.encode().starts_with(b"99 k=x"));
        assert_eq!(records.encode().len(), 99);
        let mut records = Records::default();
        records.put("k", vec![b'x'; 94]);
        assert_eq!(records.encode().len(), 101);
        assert!(records.encode().starts_with(b"101 k=x"));
    }
}

//! Changes to an input, of the kinds that libFuzzer makes.

use proptest::prelude::*;
use proptest::sample::Index;

use crate::folder::{inputs, words};

/// One change.
#[derive(Clone, Debug)]
pub(crate) enum Edit {
    Set(Index, u8),
    Insert(Index, Vec<u8>),
    Overwrite(Index, Vec<u8>),
    Remove(Index, usize),
    Repeat(Index, usize),
    Cut(Index),
}

impl Edit {
    fn apply(&self, bytes: &mut Vec<u8>) {
        if bytes.is_empty() {
            bytes.push(b'\n');
        }
        let end = |at: usize, len: usize| (at + len).min(bytes.len());
        match self {
            Self::Set(at, byte) => {
                let at = at.index(bytes.len());
                bytes[at] = *byte;
            },
            Self::Insert(at, word) => {
                let at = at.index(bytes.len());
                bytes.splice(at..at, word.iter().copied());
            },
            Self::Overwrite(at, word) => {
                let at = at.index(bytes.len());
                let end = end(at, word.len());
                bytes[at..end].copy_from_slice(&word[..end - at]);
            },
            Self::Remove(at, len) => {
                let at = at.index(bytes.len());
                bytes.drain(at..end(at, *len));
            },
            Self::Repeat(at, len) => {
                let at = at.index(bytes.len());
                let part = bytes[at..end(at, *len)].to_vec();
                bytes.splice(at..at, part);
            },
            Self::Cut(at) => bytes.truncate(at.index(bytes.len())),
        }
    }
}

/// Edits that do not move what follows.
pub(crate) fn in_place(words: Vec<Vec<u8>>) -> impl Strategy<Value = Edit> {
    let word = prop::sample::select(words);
    prop_oneof![
        (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Edit::Set(at, byte)),
        (any::<Index>(), word).prop_map(|(at, word)| Edit::Overwrite(at, word)),
    ]
}

fn edit(words: Vec<Vec<u8>>) -> impl Strategy<Value = Edit> {
    let word = prop::sample::select(words.clone());
    prop_oneof![
        4 => in_place(words),
        3 => (any::<Index>(), word).prop_map(|(at, word)| Edit::Insert(at, word)),
        2 => (any::<Index>(), 1..64_usize).prop_map(|(at, len)| Edit::Remove(at, len)),
        2 => (any::<Index>(), 1..512_usize).prop_map(|(at, len)| Edit::Repeat(at, len)),
        1 => any::<Index>().prop_map(Edit::Cut),
    ]
}

/// `input` after all of `edits`.
pub(crate) fn edited(input: &[u8], edits: &[Edit]) -> Vec<u8> {
    let mut bytes = input.to_vec();
    for edit in edits {
        edit.apply(&mut bytes);
    }
    bytes
}

/// Inputs made of the committed ones of `subject` by a few edits.
pub(crate) fn near_a_committed_input(subject: &str) -> impl Strategy<Value = Vec<u8>> {
    let seeds: Vec<Vec<u8>> = inputs(subject).into_iter().map(|(_, input)| input).collect();
    let mut words = words(subject);
    words.push(b"\0\0".to_vec());
    (prop::sample::select(seeds), prop::collection::vec(edit(words), 1..8))
        .prop_map(|(seed, edits)| edited(&seed, &edits))
}

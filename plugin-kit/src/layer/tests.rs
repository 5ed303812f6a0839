//! Layers as other programs see them.

use std::io::Read;
use std::path::Path;

use ext4::{Entry, Kind, Tree};

use super::*;
use crate::sparse::{Control, StreamError};

fn tree() -> Tree {
    let mut tree = Tree::new();
    let ping = Entry::file("ping").mode(0o4755).owner(7, 8).mtime(1_000_000_000);
    tree.add("bin/ping", ping.xattr("security.capability", [1, 2])).unwrap();
    tree.add("bin/sh", Entry::hard_link("/bin/ping")).unwrap();
    tree.add("late", Entry::file("late").mtime(2_000_000_000).owner(3_000_000, 5)).unwrap();
    tree.add("l".repeat(150), Entry::symlink("t".repeat(200))).unwrap();
    tree.add("null", Entry::new(Kind::CharDevice { major: 1, minor: 3 })).unwrap();
    tree.add("socket", Entry::new(Kind::Socket)).unwrap();
    tree.add("big", Entry::file(vec![7; 3_000_000])).unwrap();
    tree
}

fn archive(tree: &Tree, latest: Option<i64>) -> Result<(Vec<u8>, Written), LayerError> {
    let mut bytes = Vec::new();
    let options = LayerOptions { latest, max_bytes: Some(4 << 20) };
    let written = write(tree, &options, &mut bytes, &Control::default())?;
    Ok((bytes, written))
}

#[test]
fn a_layer_holds_the_tree_sorted_and_whole() {
    let (bytes, written) = archive(&tree(), Some(1_900_000_000)).unwrap();
    assert_eq!((written.members, written.sockets, written.latest), (7, 1, 1_900_000_000));
    let mut names = Vec::new();
    let mut archive = tar::Archive::new(&bytes[..]);
    for member in archive.entries().unwrap() {
        let mut member = member.unwrap();
        let name = String::from_utf8(member.path_bytes().into_owned()).unwrap();
        let pax: Vec<(String, Vec<u8>)> = member
            .pax_extensions()
            .unwrap()
            .into_iter()
            .flatten()
            .map(|record| {
                let record = record.unwrap();
                (record.key().unwrap().to_owned(), record.value_bytes().to_vec())
            })
            .collect();
        match name.as_str() {
            "bin/ping" => {
                assert_eq!(member.header().mode().unwrap(), 0o4755);
                assert_eq!(pax, [("SCHILY.xattr.security.capability".to_owned(), vec![1, 2])]);
            },
            "bin/sh" => {
                assert_eq!(&*member.link_name_bytes().unwrap(), b"bin/ping");
                // What is told of one name counts for both.
                assert_eq!(member.header().mode().unwrap(), 0o4755);
                assert_eq!(member.header().mtime().unwrap(), 1_000_000_000);
                assert_eq!(member.header().uid().unwrap(), 7);
                assert_eq!(pax, [("SCHILY.xattr.security.capability".to_owned(), vec![1, 2])]);
            },
            "late" => {
                assert_eq!(member.header().mtime().unwrap(), 1_900_000_000);
                assert_eq!(pax, [("uid".to_owned(), b"3000000".to_vec())]);
            },
            "big" => {
                let mut content = Vec::new();
                member.read_to_end(&mut content).unwrap();
                assert!(content == vec![7; 3_000_000]);
            },
            "null" => assert_eq!(member.header().device_minor().unwrap(), Some(3)),
            _ if name.starts_with('l') => {
                assert_eq!(member.link_name_bytes().unwrap().len(), 200);
            },
            _ => {},
        }
        names.push(name);
    }
    let link = "l".repeat(150);
    assert_eq!(names, ["big", "bin/", "bin/ping", "bin/sh", "late", &link, "null"]);
}

#[test]
fn a_layer_reads_back_as_the_tree() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("layer");
    fs_err::write(&path, archive(&tree(), None).unwrap().0).unwrap();
    let again = Tree::from_tar(&path).unwrap();
    assert!(archive(&again, None).unwrap().0 == archive(&tree(), None).unwrap().0);
}

#[test]
fn what_a_layer_cannot_hold_is_told() {
    let mut marked = Tree::new();
    marked.add("a/.wh.b", Entry::file("")).unwrap();
    assert!(matches!(archive(&marked, None), Err(LayerError::Whiteout { .. })));
    let mut dead = Tree::new();
    dead.add("a", Entry::hard_link("b")).unwrap();
    assert!(matches!(archive(&dead, None), Err(LayerError::DeadLink { .. })));
    let mut holes = tree();
    let open = || -> std::io::Result<Box<dyn Read>> { Ok(Box::new(std::io::empty())) };
    let content = ext4::Content::Reader { length: 5 << 20, open: std::sync::Arc::new(open) };
    holes.add("log", Entry::file(content)).unwrap();
    let error = archive(&holes, None).unwrap_err();
    assert!(
        matches!(&error, LayerError::Holes { path, .. } if path == Path::new("log")),
        "{error}"
    );
}

#[test]
fn a_cancelled_layer_ends_at_once() {
    let control = Control::new(&|_, _| {}, &|| true);
    let error = write(&tree(), &LayerOptions::default(), &mut std::io::sink(), &control);
    assert!(matches!(error, Err(LayerError::Stream(StreamError::Cancelled))));
}

/// Some of it repeats, some does not.
fn data(length: usize) -> Vec<u8> {
    let mut state = 1_u32;
    (0..length)
        .map(|at| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            if at % 5000 < 2000 { state.to_be_bytes()[0] } else { b'x' }
        })
        .collect()
}

fn packed(data: &[u8], compression: Compression, step: usize) -> Vec<u8> {
    let mut compressor = Compressor::new(Vec::new(), compression).unwrap();
    for piece in data.chunks(step) {
        std::io::Write::write_all(&mut compressor, piece).unwrap();
    }
    compressor.finish().unwrap()
}

#[test]
fn every_compression_reads_back_and_does_not_depend_on_the_writes() {
    let kinds = [
        Compression::None,
        Compression::Gzip { level: 6 },
        Compression::Zstd { level: 3 },
        Compression::Xz { level: 0 },
        Compression::Bzip2 { level: 1 },
    ];
    for length in [0, 1, 300_000, 9_000_000] {
        let data = data(length);
        for kind in kinds {
            if length > 1 << 20
                && matches!(kind, Compression::Xz { .. } | Compression::Bzip2 { .. })
            {
                continue; // nothing new but seconds
            }
            let bytes = packed(&data, kind, 1_000_003);
            assert!(bytes == packed(&data, kind, 70_000), "{kind:?} {length}");
            let mut unpacked = Vec::new();
            let mut reader: Box<dyn Read> = match kind {
                Compression::None => Box::new(&bytes[..]),
                // One member: no other reader is needed.
                Compression::Gzip { .. } => Box::new(flate2::read::GzDecoder::new(&bytes[..])),
                Compression::Zstd { .. } => Box::new(zstd::Decoder::new(&bytes[..]).unwrap()),
                Compression::Xz { .. } => Box::new(lzma_rust2::XzReader::new(&bytes[..], true)),
                Compression::Bzip2 { .. } => Box::new(bzip2::read::BzDecoder::new(&bytes[..])),
            };
            reader.read_to_end(&mut unpacked).unwrap();
            assert!(unpacked == data, "{kind:?} {length}");
        }
    }
}

#[test]
fn a_digest_counts_what_went_through() {
    let mut digested = Digested::new(Vec::new());
    std::io::Write::write_all(&mut digested, b"abc").unwrap();
    assert_eq!(digested.bytes(), 3);
    let (_, digest) = digested.finish();
    let of_abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    assert_eq!(digest, format!("sha256:{of_abc}"));
}

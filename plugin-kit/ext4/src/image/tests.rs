//! What was written reads back, and what is damaged is told.

use std::collections::BTreeMap;
use std::io::Read;

use super::*;
use crate::Options;
use crate::entry::Time;

fn options() -> Options {
    Options::new(16 << 20, [7; 16], 1_700_000_000)
}

fn tree() -> Tree {
    let mut tree = Tree::new();
    let capability = [1, 0, 0, 2, 0, 32, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    tree.add("/", Entry::directory().mode(0o711).owner(3, 70_000)).unwrap();
    tree.add("bin/ping", Entry::file("ping").mode(0o4755).xattr("security.capability", capability))
        .unwrap();
    tree.add("a/first", Entry::file("twice").mtime(-5)).unwrap();
    tree.add("b/second", Entry::hard_link("a/first")).unwrap();
    tree.add("short", Entry::symlink("a/first")).unwrap();
    tree.add("long", Entry::symlink("x".repeat(2000))).unwrap();
    tree.add("dev/null", Entry::new(Kind::CharDevice { major: 1, minor: 3 }).mode(0o666)).unwrap();
    tree.add("dev/far", Entry::new(Kind::BlockDevice { major: 259, minor: 300 })).unwrap();
    tree.add("fifo", Entry::new(Kind::Fifo)).unwrap();
    tree.add("socket", Entry::new(Kind::Socket)).unwrap();
    tree.add("big", Entry::file(vec![5; 300_001]).xattr("user.big", vec![9; 3000])).unwrap();
    for number in 0..500 {
        let name = format!("many/{}-{number}", "n".repeat(60));
        tree.add(name, Entry::file(number.to_string().as_str())).unwrap();
    }
    let mut late = Entry::file("late");
    late.mtime = Some(Time { seconds: 1_600_000_000, nanoseconds: 7 });
    tree.add("late", late).unwrap();
    tree
}

fn image() -> Vec<u8> {
    let mut image = Vec::new();
    tree().write(&options(), &mut image).unwrap();
    image.resize(16 << 20, 0);
    image
}

fn read(image: Vec<u8>) -> Result<Tree, ImageError> {
    Tree::from_image(Arc::new(image), |_| true)
}

/// All that can be told about an entry.
fn told(tree: &Tree, path: &Path) -> (String, u32, u32, u32, BTreeMap<String, Vec<u8>>) {
    let entry = tree.get(path).unwrap();
    let kind = match &entry.kind {
        Kind::File(content) => format!("{:?}", bytes(content)),
        Kind::HardLink(target) => format!("{:?}", target.strip_prefix("/").unwrap_or(target)),
        other => format!("{other:?}"),
    };
    (kind, entry.mode, entry.uid, entry.gid, entry.xattrs.clone())
}

fn bytes(content: &Content) -> Vec<u8> {
    let mut bytes = Vec::new();
    content.open().unwrap().read_to_end(&mut bytes).unwrap();
    bytes
}

#[test]
fn what_was_written_reads_back() {
    let (written, read) = (tree(), read(image()).unwrap());
    assert_eq!(read.paths(), written.paths());
    for path in written.paths() {
        assert_eq!(told(&read, &path), told(&written, &path), "{}", path.display());
    }
    let time = |path: &str| read.get(path).unwrap().mtime.unwrap();
    assert_eq!(time("a/first"), Time { seconds: -5, nanoseconds: 0 });
    assert_eq!(time("late"), Time { seconds: 1_600_000_000, nanoseconds: 7 });
    let root = read.get("/").unwrap();
    assert_eq!((root.mode, root.uid, root.gid), (0o711, 3, 70_000));
}

#[test]
fn a_tree_that_was_read_gives_the_same_image() {
    let mut again = Vec::new();
    read(image()).unwrap().write(&options(), &mut again).unwrap();
    again.resize(16 << 20, 0);
    assert!(again == image());
}

#[test]
fn what_is_not_to_be_kept_is_left_out() {
    let tree = Tree::from_image(Arc::new(image()), |path| {
        !path.starts_with("many") && path != Path::new("a/first")
    });
    let tree = tree.unwrap();
    assert!(tree.get("many").is_none() && tree.get("a/first").is_none());
    // The name that is left has the content.
    assert!(
        matches!(&tree.get("b/second").unwrap().kind, Kind::File(content) if bytes(content) == b"twice")
    );
}

#[test]
fn something_else_is_no_file_system() {
    for other in [Vec::new(), vec![0; 4096], vec![0xff; 1 << 20]] {
        assert!(matches!(read(other), Err(ImageError::NoFileSystem)));
    }
}

#[test]
fn a_file_system_in_use_and_unknown_features_are_refused() {
    let with = |at: usize, bit: u8| {
        let mut image = image();
        image[1024 + at] |= bit;
        read(image)
    };
    assert!(matches!(with(0x60, 4), Err(ImageError::InUse)));
    assert!(matches!(with(0x61, 0x80), Err(ImageError::Unsupported { feature: "inline_data" })));
    assert!(matches!(with(0x63, 0x80), Err(ImageError::Unsupported { .. })));
}

#[test]
fn a_file_system_that_is_cut_off_is_damaged() {
    let mut image = image();
    image.truncate(8 << 20);
    assert!(matches!(read(image), Err(ImageError::Damaged { .. })));
}

/// Every byte of the metadata that is set, replaced: an error or a tree, and never a panic or no end.
#[test]
fn any_changed_byte_gives_a_tree_or_an_error() {
    let mut tree = Tree::new();
    tree.add("a/b/file", Entry::file("x").xattr("user.name", "value")).unwrap();
    tree.add("link", Entry::hard_link("a/b/file")).unwrap();
    let mut image = Vec::new();
    let options = Options::new(1 << 20, [7; 16], 0).journal(crate::Journal::None);
    tree.write(&options, &mut image).unwrap();
    image.resize(1 << 20, 0);
    let mut failed = 0;
    for at in (0..image.len()).filter(|at| image[*at] != 0).collect::<Vec<_>>() {
        for value in [0, 1, 0x7f, 0xff] {
            let mut changed = image.clone();
            changed[at] = value;
            match read(changed) {
                Ok(tree) => drop(tree.paths()),
                Err(error) => {
                    failed += 1;
                    assert!(!error.to_string().is_empty());
                },
            }
        }
    }
    assert!(failed > 100, "{failed}");
}

/// A directory in itself, which a reader without memory would follow for ever.
#[test]
fn a_directory_in_itself_is_told() {
    let mut tree = Tree::new();
    tree.add("aaaa/bbbb", Entry::directory()).unwrap();
    let mut image = Vec::new();
    let options = Options::new(1 << 20, [7; 16], 0).journal(crate::Journal::None);
    tree.write(&options, &mut image).unwrap();
    image.resize(1 << 20, 0);
    let at = image.windows(4).position(|bytes| bytes == b"bbbb").unwrap() - 8;
    let parent = image.windows(4).position(|bytes| bytes == b"aaaa").unwrap() - 8;
    let number: [u8; 4] = image[parent..parent + 4].try_into().unwrap();
    image[at..at + 4].copy_from_slice(&number);
    let error = read(image).unwrap_err().to_string();
    assert_eq!(error, "the file system is damaged: directory `/aaaa/bbbb` has two places");
}

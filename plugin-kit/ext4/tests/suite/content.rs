//! What was put into a tree is what e2fsprogs finds in the image.

use std::io::{self, Read};
use std::sync::Arc;

use crate::tools::{Image, MIB, TIMESTAMP, options};
use ext4::{Content, Entry, Error, Journal, Kind, Time, Tree};

fn every_kind() -> Vec<(&'static str, Entry)> {
    vec![
        ("bin/tool", Entry::file("tool").mode(0o4755).owner(100_000, 70_000).mtime(1_234_567_890)),
        ("bin", Entry::directory().mode(0o1777)),
        ("bin/same", Entry::hard_link("/bin/tool")),
        ("also-same", Entry::hard_link("bin/same")),
        ("empty", Entry::file("")),
        ("large", Entry::file(vec![7; 300_000])),
        ("fast", Entry::symlink("x".repeat(59))),
        ("slow", Entry::symlink("y".repeat(60))),
        ("dev/null", Entry::new(Kind::CharDevice { major: 1, minor: 3 }).mode(0o666)),
        ("dev/nvme", Entry::new(Kind::BlockDevice { major: 259, minor: 300 })),
        ("run/fifo", Entry::new(Kind::Fifo)),
        ("run/socket", Entry::new(Kind::Socket)),
        ("ping", Entry::file("ping").xattr("security.capability", [1, 0, 0, 2].repeat(5))),
        (
            "attributes",
            Entry::directory()
                .xattr("user.long", vec![b'l'; 2000])
                .xattr("user.short", *b"s")
                .xattr("user.empty", []),
        ),
    ]
}

fn tree_of(entries: impl IntoIterator<Item = (&'static str, Entry)>) -> Tree {
    let mut tree = Tree::new();
    for (path, entry) in entries {
        tree.add(path, entry).unwrap();
    }
    tree
}

#[test]
fn every_kind_of_entry_is_found_as_it_was_added() {
    let image = Image::checked(&tree_of(every_kind()), &options(32 * MIB));

    let tool = image.debugfs("stat bin/tool");
    assert!(tool.contains("Type: regular    Mode:  04755"), "{tool}");
    assert!(tool.contains("User: 100000   Group: 70000"), "{tool}");
    assert!(tool.contains("Links: 3"), "{tool}");
    assert!(tool.contains("mtime: 0x499602d2:00000000"), "{tool}");
    assert!(tool.contains("crtime: 0x6553f100:00000000"), "{tool}");
    assert_eq!(image.cat("also-same"), b"tool");
    assert_eq!(image.cat("large"), vec![7; 300_000]);
    assert_eq!(image.cat("empty"), b"");
    assert!(image.debugfs("stat bin").contains("Type: directory    Mode:  01777"));
    assert!(
        image.debugfs("stat fast").contains(&format!("Fast link dest: \"{}\"", "x".repeat(59)))
    );
    assert_eq!(image.cat("slow"), "y".repeat(60).as_bytes());
    assert!(image.debugfs("stat dev/null").contains("Device major/minor number: 01:03"));
    assert!(image.debugfs("stat dev/nvme").contains("Device major/minor number: 259:300"));
    assert!(image.debugfs("stat run/fifo").contains("Type: FIFO"));
    assert!(image.debugfs("stat run/socket").contains("Type: socket"));
    assert!(image.debugfs("stat <11>").contains("Type: directory    Mode:  0700"));
    assert!(image.debugfs("ea_list ping").contains("security.capability (20) = 01 00 00 02"));
    assert!(image.debugfs("ea_get attributes user.long").contains(&"l".repeat(2000)));
    assert!(image.debugfs("ea_list attributes").contains("user.empty (0)"));
}

#[test]
fn the_order_of_adding_does_not_show() {
    let forward = Image::checked(&tree_of(every_kind()), &options(16 * MIB));
    let mut entries = every_kind();
    entries.rotate_left(5);
    entries.reverse();
    let backward = Image::checked(&tree_of(entries), &options(16 * MIB));
    assert!(forward.bytes() == backward.bytes());
}

#[test]
fn a_large_directory_has_an_index_that_e2fsck_accepts() {
    let mut tree = Tree::new();
    for number in 0..60_000 {
        let name = format!("many/{number:-<60}\u{fc}");
        tree.add(name, Entry::file("")).unwrap();
    }
    let image = Image::checked(&tree, &options(300 * MIB));
    let index = image.debugfs("htree_dump many");
    assert!(index.contains("Indirect levels: 1"), "{}", &index[..400]);
}

#[test]
fn a_file_across_many_groups_has_an_extent_tree() {
    let length = 700 * MIB;
    let open = move || Ok(Box::new(io::repeat(0).take(length)) as Box<dyn Read>);
    let mut tree = Tree::new();
    tree.add("zeros", Entry::file(Content::Reader { length, open: Arc::new(open) })).unwrap();
    let image = Image::checked(&tree, &options(1024 * MIB));
    let stat = image.debugfs("stat zeros");
    assert!(stat.contains("Size: 734003200") && stat.contains("(ETB0)"), "{stat}");
    assert!(image.summary.written_bytes < 2 * MIB, "{:?}", image.summary);
}

#[test]
fn times_are_cut_off_at_the_time_of_the_file_system() {
    let mut tree = Tree::new();
    let mut entry = Entry::file("");
    entry.mtime = Some(Time { seconds: TIMESTAMP + 1, nanoseconds: 5 });
    tree.add("new", entry).unwrap();
    let image = Image::checked(&tree, &options(8 * MIB));
    assert!(image.debugfs("stat new").contains("mtime: 0x6553f100:00000000"));
}

#[test]
fn content_that_changed_its_length_is_an_error() {
    for (length, found) in [(3, "more follow"), (5, "fewer were found")] {
        let open = || Ok(Box::new(&b"four"[..]) as Box<dyn Read>);
        let mut tree = Tree::new();
        tree.add("a/b", Entry::file(Content::Reader { length, open: Arc::new(open) })).unwrap();
        let error = tree.write(&options(8 * MIB), &mut Vec::new()).unwrap_err();
        let expected = format!("content of `a/b` changed: {length} bytes were announced, {found}");
        assert_eq!(error.to_string(), expected);
    }
}

#[test]
fn links_that_lead_nowhere_are_an_error() {
    for target in ["missing", "directory", "link"] {
        let tree = tree_of([("directory", Entry::directory()), ("link", Entry::hard_link(target))]);
        let error = tree.write(&options(8 * MIB), &mut Vec::new()).unwrap_err();
        assert!(matches!(error, Error::HardLinkTarget { .. }), "{error}");
    }
}

#[test]
fn a_file_system_may_do_without_a_journal() {
    let options = options(64 * MIB).journal(Journal::None);
    let image = Image::checked(&tree_of(every_kind()), &options);
    assert!(!image.debugfs("features").contains("has_journal"));
}

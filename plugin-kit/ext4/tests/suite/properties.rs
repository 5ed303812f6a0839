//! Random trees: e2fsck finds nothing, and the order of adding does not show.

use std::collections::BTreeMap;

use crate::tools::{Image, MIB, options};
use ext4::{Entry, Kind, Tree};
use proptest::prelude::*;

fn entry() -> impl Strategy<Value = Entry> {
    let xattrs = prop::collection::btree_map(
        "(user|trusted|security)\\.[a-z]{1,12}",
        prop::collection::vec(any::<u8>(), 0..300),
        0..4,
    );
    let kind = prop_oneof![
        4 => (0..40_000_usize, any::<u8>()).prop_map(|(size, byte)| {
            Kind::File(vec![byte; size].into())
        }),
        1 => "[a-z/]{1,120}".prop_map(|target| Kind::Symlink(target.into())),
        1 => (0..4096_u32, 0..0x10_0000_u32).prop_map(|(major, minor)| Kind::CharDevice { major, minor }),
        1 => Just(Kind::Directory),
        1 => Just(Kind::Fifo),
    ];
    (kind, 0..0o10000_u32, any::<u32>(), any::<u32>(), any::<i32>(), xattrs).prop_map(
        |(kind, mode, uid, gid, mtime, xattrs)| {
            let mut entry = Entry::new(kind).mode(mode).owner(uid, gid).mtime(mtime.into());
            entry.xattrs = xattrs;
            entry
        },
    )
}

/// Names that start with `d` only occur as directories, so that no entry is in the way of another.
fn entries() -> impl Strategy<Value = Vec<(String, Entry)>> {
    let path = "(d[ab]/){0,3}[e-z\u{e4}]{1,40}";
    prop::collection::btree_map(path, entry(), 0..60).prop_map(|map: BTreeMap<_, _>| {
        let mut entries: Vec<(String, Entry)> = map.into_iter().collect();
        let files = entries.iter().filter(|(_, entry)| matches!(entry.kind, Kind::File(_)));
        let links: Vec<_> = files
            .map(|(path, _)| (format!("dl/{}", path.replace('/', "-")), Entry::hard_link(path)))
            .collect();
        entries.extend(links);
        entries
    })
}

fn tree_of(entries: &[(String, Entry)]) -> Tree {
    let mut tree = Tree::new();
    for (path, entry) in entries {
        tree.add(path, entry.clone()).unwrap();
    }
    tree
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 24,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn random_trees_pass_the_check_in_any_order_of_adding(
        (entries, shuffled) in entries().prop_flat_map(|entries| {
            (Just(entries.clone()), Just(entries).prop_shuffle())
        }),
        extra in 0..20_u64,
    ) {
        let tree = tree_of(&entries);
        let minimum = tree.minimum_size(&options(0)).unwrap();
        let options = options(minimum + extra * MIB);
        let image = Image::checked(&tree, &options);
        let again = Image::new(&tree_of(&shuffled), &options).unwrap();
        prop_assert!(image.bytes() == again.bytes());
    }
}

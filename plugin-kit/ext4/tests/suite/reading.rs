//! Images that `mke2fs` made, read back.

use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use crate::tools::{MIB, run};
use ext4::{Kind, Tree};
use fs_err::os::unix::fs::symlink;

/// An image of `folder`, made with `options`.
fn image(folder: &Path, options: &[&str]) -> Vec<u8> {
    let holder = tempfile::tempdir().unwrap();
    let path = holder.path().join("image");
    fs_err::File::create(&path).unwrap().set_len(64 * MIB).unwrap();
    let folder = folder.to_str().unwrap();
    let arguments = [&["-q", "-t", "ext4", "-d", folder], options].concat();
    assert!(run("mke2fs", &arguments, &path).0);
    fs_err::read(path).unwrap()
}

fn content(tree: &Tree, path: &str) -> Vec<u8> {
    let Kind::File(content) = &tree.get(path).unwrap().kind else {
        unreachable!("`{path}` is no file");
    };
    let mut bytes = Vec::new();
    content.open().unwrap().read_to_end(&mut bytes).unwrap();
    bytes
}

#[test]
fn what_mke2fs_made_reads_back() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    fs_err::create_dir_all(root.join("many")).unwrap();
    for number in 0..2000 {
        fs_err::write(root.join(format!("many/{number}")), number.to_string()).unwrap();
    }
    // More extents than the inode holds, and holes between them.
    let scattered = fs_err::File::create(root.join("scattered")).unwrap();
    for piece in 0..40_u64 {
        fs_err::os::unix::fs::FileExt::write_all_at(&scattered, b"piece", piece * 131_072).unwrap();
    }
    symlink("many/7", root.join("link")).unwrap();
    symlink("y".repeat(1000), root.join("long")).unwrap();
    fs_err::hard_link(root.join("many/7"), root.join("same")).unwrap();
    let mode = std::fs::Permissions::from_mode(0o4750);
    fs_err::set_permissions(root.join("many/8"), mode).unwrap();
    let flags = rustix::fs::XattrFlags::empty();
    rustix::fs::setxattr(root.join("many/9"), "user.origin", b"test", flags).unwrap();

    for options in [&["-b", "4096"][..], &["-b", "1024"], &["-O", "^64bit,^metadata_csum"]] {
        let tree = Tree::from_image(Arc::new(image(root, options)), |_| true).unwrap();
        assert_eq!(tree.paths().len(), 2006, "{options:?}");
        assert_eq!(content(&tree, "many/1999"), b"1999");
        assert!(content(&tree, "scattered") == fs_err::read(root.join("scattered")).unwrap());
        assert!(matches!(&tree.get("link").unwrap().kind, Kind::Symlink(to) if to == "many/7"));
        assert!(matches!(&tree.get("long").unwrap().kind, Kind::Symlink(to) if to.len() == 1000));
        let same = &tree.get("same").unwrap().kind;
        assert!(matches!(same, Kind::HardLink(to) if to == Path::new("/many/7")), "{same:?}");
        assert_eq!(tree.get("many/8").unwrap().mode, 0o4750);
        assert_eq!(tree.get("many/9").unwrap().xattrs["user.origin"], b"test");
    }
}

//! The tree of entries that is to become a file system.
//!
//! Entries may come in any order. Directories that only occur within the paths of others are made, owned by
//! root with mode 0755, and take their attributes when they are added themselves. Names are kept sorted, so
//! neither the order of adding nor that of a directory on disk shows in the result.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use crate::entry::{Entry, Kind};
use crate::error::Error;

/// Longest name of a directory entry, in bytes.
const MAX_NAME: usize = 255;

/// Files, directories and other entries by path.
#[derive(Debug, Clone)]
pub struct Tree {
    /// The root comes first. Removed nodes stay, unreachable.
    nodes: Vec<Node>,
}

/// Index of a node in its tree.
pub(crate) type NodeId = usize;

pub(crate) const ROOT: NodeId = 0;
/// Directory of the root that a repair puts files into; every tree has it.
pub(crate) const LOST_FOUND: &str = "lost+found";

#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) entry: Entry,
    pub(crate) children: BTreeMap<Box<[u8]>, NodeId>,
    /// Made for the path of another entry.
    implicit: bool,
}

impl Default for Tree {
    fn default() -> Self {
        Self::new()
    }
}

impl Tree {
    /// A tree with nothing but its root directory and an empty `lost+found` of mode 0700.
    pub fn new() -> Self {
        let mut tree = Self { nodes: vec![Node::implicit_directory()] };
        let mut lost_found = Node::implicit_directory();
        lost_found.entry.mode = 0o700;
        tree.insert(ROOT, LOST_FOUND.as_bytes(), lost_found);
        tree
    }

    /// Adds `entry` at `path`, which counts from the root with or without a leading `/` or `./`.
    ///
    /// # Errors
    /// [`Error::Duplicate`] when the path is taken; [`Error::ParentNotDirectory`],
    /// [`Error::BadPath`] (with `..`), [`Error::NameTooLong`], [`Error::MustBeDirectory`] (the root and
    /// `lost+found`).
    pub fn add(&mut self, path: impl AsRef<Path>, entry: Entry) -> Result<(), Error> {
        self.place(path.as_ref(), entry, false)
    }

    /// Adds `entry` at `path` or replaces what is there; a directory that stays one keeps its entries.
    ///
    /// # Errors
    /// As [`Tree::add`], but for [`Error::Duplicate`].
    pub fn put(&mut self, path: impl AsRef<Path>, entry: Entry) -> Result<(), Error> {
        self.place(path.as_ref(), entry, true)
    }

    /// Takes away the entry at `path` with everything below it; says whether there was one.
    ///
    /// # Errors
    /// As [`Tree::add`]; [`Error::MustBeDirectory`] for the root and `lost+found`, which stay.
    pub fn remove(&mut self, path: impl AsRef<Path>) -> Result<bool, Error> {
        let path = path.as_ref();
        let names = names(path)?;
        let Some((name, parents)) = names.split_last().filter(|_| !stays_directory(&names)) else {
            return Err(Error::MustBeDirectory { path: path.to_owned() });
        };
        let Some(parent) = self.find(parents) else {
            return Ok(false);
        };
        Ok(self.nodes[parent].children.remove(*name).is_some())
    }

    /// The entry at `path`; symbolic links on the way are not followed.
    pub fn get(&self, path: impl AsRef<Path>) -> Option<&Entry> {
        let names = names(path.as_ref()).ok()?;
        self.find(&names).map(|id| &self.nodes[id].entry)
    }

    /// The entry at `path` or, of a hard link, that of its file, which has its mode, owner and the like. `None` where
    /// there is nothing, or a link that ends nowhere.
    pub fn file(&self, path: impl AsRef<Path>) -> Option<&Entry> {
        let entry = self.get(path)?;
        let Kind::HardLink(target) = &entry.kind else { return Some(entry) };
        self.resolve_hard_link(target).map(|id| &self.nodes[id].entry)
    }

    /// The paths of all entries but the root, each directory before what is in it, sorted by name.
    pub fn paths(&self) -> Vec<PathBuf> {
        let mut paths = Vec::new();
        let mut waiting = vec![(PathBuf::new(), ROOT)];
        while let Some((path, id)) = waiting.pop() {
            for (name, child) in self.nodes[id].children.iter().rev() {
                waiting.push((path.join(OsStr::from_bytes(name)), *child));
            }
            if id != ROOT {
                paths.push(path);
            }
        }
        paths
    }

    pub(crate) fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id]
    }

    /// One more than the highest [`NodeId`].
    pub(crate) fn node_count(&self) -> usize {
        self.nodes.len()
    }

    /// The node at the end of a path of hard links that starts with `target`, unless it is a directory.
    pub(crate) fn resolve_hard_link(&self, target: &Path) -> Option<NodeId> {
        let mut id = self.find(&names(target).ok()?)?;
        // A chain longer than the tree goes in a circle.
        for _ in 0..self.nodes.len() {
            match &self.nodes[id].entry.kind {
                Kind::HardLink(next) => id = self.find(&names(next).ok()?)?,
                Kind::Directory => return None,
                _ => return Some(id),
            }
        }
        None
    }

    fn find(&self, names: &[&[u8]]) -> Option<NodeId> {
        names.iter().try_fold(ROOT, |id, name| self.nodes[id].children.get(*name).copied())
    }

    fn place(&mut self, path: &Path, entry: Entry, replace: bool) -> Result<(), Error> {
        let names = names(path)?;
        if stays_directory(&names) && !matches!(entry.kind, Kind::Directory) {
            return Err(Error::MustBeDirectory { path: path.to_owned() });
        }
        let Some((name, parents)) = names.split_last() else {
            return self.assign(ROOT, path, entry, replace);
        };
        let parent = self.make_parents(path, parents)?;
        if let Some(id) = self.nodes[parent].children.get(*name).copied() {
            return self.assign(id, path, entry, replace);
        }
        self.insert(parent, name, Node { entry, children: BTreeMap::new(), implicit: false });
        Ok(())
    }

    fn assign(
        &mut self,
        id: NodeId,
        path: &Path,
        entry: Entry,
        replace: bool,
    ) -> Result<(), Error> {
        let node = &mut self.nodes[id];
        let directory = matches!(entry.kind, Kind::Directory);
        let addition = node.implicit && directory;
        if !replace && !addition {
            return Err(if node.implicit {
                Error::MustBeDirectory { path: path.to_owned() }
            } else {
                Error::Duplicate { path: path.to_owned() }
            });
        }
        if !directory {
            node.children.clear();
        }
        node.entry = entry;
        node.implicit = false;
        Ok(())
    }

    fn make_parents(&mut self, path: &Path, parents: &[&[u8]]) -> Result<NodeId, Error> {
        let mut id = ROOT;
        for (depth, name) in parents.iter().enumerate() {
            id = match self.nodes[id].children.get(*name) {
                Some(child) => *child,
                None => self.insert(id, name, Node::implicit_directory()),
            };
            if !matches!(self.nodes[id].entry.kind, Kind::Directory) {
                let parent = parents[..=depth].iter().map(|name| OsStr::from_bytes(name)).collect();
                return Err(Error::ParentNotDirectory { path: path.to_owned(), parent });
            }
        }
        Ok(id)
    }

    fn insert(&mut self, parent: NodeId, name: &[u8], node: Node) -> NodeId {
        let id = self.nodes.len();
        self.nodes.push(node);
        self.nodes[parent].children.insert(name.into(), id);
        id
    }
}

impl Node {
    fn implicit_directory() -> Self {
        Self { entry: Entry::directory(), children: BTreeMap::new(), implicit: true }
    }
}

/// The root and `lost+found`.
fn stays_directory(names: &[&[u8]]) -> bool {
    names.is_empty() || names == [LOST_FOUND.as_bytes()]
}

/// The names that lead from the root to `path`.
fn names(path: &Path) -> Result<Vec<&[u8]>, Error> {
    let bad = |reason| Error::BadPath { path: path.to_owned(), reason };
    if path.as_os_str().is_empty() {
        return Err(bad("it is empty"));
    }
    let mut names = Vec::new();
    for component in path.components() {
        match component {
            Component::RootDir | Component::CurDir => {},
            Component::ParentDir => return Err(bad("it holds `..`")),
            Component::Prefix(_) => return Err(bad("it holds a prefix")),
            Component::Normal(name) => {
                let name = name.as_bytes();
                if name.len() > MAX_NAME {
                    return Err(Error::NameTooLong { path: path.to_owned(), length: name.len() });
                }
                if name.contains(&0) {
                    return Err(bad("it holds a zero byte"));
                }
                names.push(name);
            },
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leading_slashes_and_dots_mean_the_root() {
        let mut tree = Tree::new();
        tree.add("./etc/", Entry::directory().mode(0o700)).unwrap();
        tree.add(".", Entry::directory().mode(0o711)).unwrap();
        assert_eq!(tree.get("/etc").unwrap().mode, 0o700);
        assert_eq!(tree.get("/").unwrap().mode, 0o711);
    }

    #[test]
    fn a_path_is_taken_only_once() {
        let mut tree = Tree::new();
        tree.add("a/b", Entry::file("x")).unwrap();
        tree.add("a", Entry::directory().mode(0o700)).unwrap();
        assert!(matches!(tree.add("a", Entry::directory()), Err(Error::Duplicate { .. })));
        assert!(matches!(tree.add("a/b", Entry::file("y")), Err(Error::Duplicate { .. })));
        tree.put("a/b", Entry::file("y").mode(0o600)).unwrap();
        assert_eq!(tree.get("a/b").unwrap().mode, 0o600);
    }

    #[test]
    fn nothing_lies_below_a_symbolic_link() {
        let mut tree = Tree::new();
        tree.add("lib", Entry::symlink("usr/lib")).unwrap();
        let error = tree.add("lib/modules/x", Entry::file("")).unwrap_err();
        assert_eq!(error.to_string(), "`lib` cannot hold `lib/modules/x`: it is not a directory");
    }

    #[test]
    fn paths_that_leave_the_root_or_are_too_long_are_refused() {
        let mut tree = Tree::new();
        assert!(matches!(tree.add("a/../b", Entry::directory()), Err(Error::BadPath { .. })));
        assert!(matches!(tree.add("", Entry::directory()), Err(Error::BadPath { .. })));
        assert!(matches!(tree.add("a\0b", Entry::directory()), Err(Error::BadPath { .. })));
        let name = "n".repeat(256);
        assert!(matches!(
            tree.add(name, Entry::directory()),
            Err(Error::NameTooLong { length: 256, .. })
        ));
        assert!(matches!(tree.add("/", Entry::file("")), Err(Error::MustBeDirectory { .. })));
        let link = Entry::symlink("tmp");
        assert!(matches!(tree.put(LOST_FOUND, link), Err(Error::MustBeDirectory { .. })));
        assert!(matches!(tree.remove(LOST_FOUND), Err(Error::MustBeDirectory { .. })));
    }

    #[test]
    fn what_is_removed_takes_its_content_along() {
        let mut tree = Tree::new();
        tree.add("a/b/c", Entry::file("")).unwrap();
        tree.add("d", Entry::file("")).unwrap();
        assert!(tree.remove("a/b").unwrap());
        assert!(!tree.remove("a/b").unwrap());
        assert_eq!(tree.paths(), [Path::new("a"), Path::new("d"), Path::new(LOST_FOUND)]);
    }

    #[test]
    fn hard_links_in_a_circle_lead_nowhere() {
        let mut tree = Tree::new();
        tree.add("a", Entry::hard_link("b")).unwrap();
        tree.add("b", Entry::hard_link("a")).unwrap();
        assert_eq!(tree.resolve_hard_link(Path::new("a")), None);
    }
}

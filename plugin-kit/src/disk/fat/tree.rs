//! The folders and files of a FAT file system.

use super::geometry::{FIXED_ROOT, Geometry, Table};
use super::name::{ENTRY, is_valid, long_entries, short_name};
use super::{FatError, FatSpec};
use std::collections::BTreeMap;

/// Everything that goes into a file system.
#[derive(Debug)]
pub(super) struct Tree<'a> {
    label: [u8; 11],
    root: Folder<'a>,
    bytes: u64,
}

#[derive(Debug, Default)]
struct Folder<'a> {
    children: BTreeMap<&'a str, Child<'a>>,
}

#[derive(Debug)]
enum Child<'a> {
    Folder(Folder<'a>),
    File { path: &'a str, contents: &'a [u8] },
}

impl<'a> Tree<'a> {
    pub(super) fn new(
        spec: &FatSpec,
        files: &'a BTreeMap<String, Vec<u8>>,
    ) -> Result<Self, FatError> {
        let mut root = Folder::default();
        for (path, contents) in files {
            if root.insert(path, path, contents).is_none() {
                return Err(FatError::Path { path: path.clone() });
            }
        }
        Ok(Self { label: spec.padded_label(), root, bytes: spec.bytes })
    }

    /// Writes folders and files into `image` and their runs of clusters into `table`.
    pub(super) fn write(
        &self,
        image: &mut [u8],
        geometry: &Geometry,
        table: &mut Table,
    ) -> Result<(), FatError> {
        let mut writer = Writer { image, geometry, table, label: self.label };
        let needed = writer.clusters_of(&self.root, true);
        if needed > geometry.clusters || !writer.root_fits(&self.root) {
            let bytes = self.bytes;
            let needed = (needed * geometry.cluster_bytes()) as u64;
            let path = self.root.largest().map_or("", |(path, _)| path).to_owned();
            return Err(FatError::Full { path, needed, bytes });
        }
        writer.folder(&self.root, None);
        Ok(())
    }
}

impl<'a> Folder<'a> {
    /// Puts a file at `rest`; answers `None` where that is not possible.
    fn insert(&mut self, path: &'a str, rest: &'a str, contents: &'a [u8]) -> Option<()> {
        let (name, below) = match rest.split_once('/') {
            Some((name, below)) => (name, Some(below)),
            None => (rest, None),
        };
        let differs_in_case =
            |other: &str| other != name && other.to_lowercase() == name.to_lowercase();
        if !is_valid(name) || self.children.keys().any(|other| differs_in_case(other)) {
            return None;
        }
        match below {
            None => {
                let file = Child::File { path, contents };
                self.children.insert(name, file).is_none().then_some(())
            },
            Some(below) => {
                let child = self.children.entry(name);
                match child.or_insert_with(|| Child::Folder(Self::default())) {
                    Child::Folder(folder) => folder.insert(path, below, contents),
                    Child::File { .. } => None,
                }
            },
        }
    }

    /// The children with their short names.
    fn named(&self) -> Vec<(&'a str, [u8; 11], &Child<'a>)> {
        let mut taken = Vec::new();
        self.children
            .iter()
            .map(|(name, child)| {
                let short = short_name(name, &taken);
                taken.push(short);
                (*name, short, child)
            })
            .collect()
    }

    /// Bytes of its entries; the two first ones are the label, or the folder itself and its parent.
    fn entry_bytes(&self) -> usize {
        let length = |name: &str, short| 1 + long_entries(name, short).len();
        let own: usize = self.named().iter().map(|(name, short, _)| length(name, short)).sum();
        (2 + own) * ENTRY
    }

    /// The largest file below, which an error names.
    fn largest(&self) -> Option<(&'a str, usize)> {
        let below = self.children.values().filter_map(|child| match child {
            Child::Folder(folder) => folder.largest(),
            Child::File { path, contents } => Some((*path, contents.len())),
        });
        below.max_by_key(|(_, len)| *len)
    }
}

struct Writer<'w> {
    image: &'w mut [u8],
    geometry: &'w Geometry,
    table: &'w mut Table,
    label: [u8; 11],
}

impl Writer<'_> {
    fn run(&self, bytes: usize) -> usize {
        bytes.div_ceil(self.geometry.cluster_bytes())
    }

    fn root_fits(&self, root: &Folder<'_>) -> bool {
        self.geometry.fat32 || root.entry_bytes() <= FIXED_ROOT
    }

    fn clusters_of(&self, folder: &Folder<'_>, root: bool) -> usize {
        let fixed = root && !self.geometry.fat32;
        let own = if fixed { 0 } else { self.run(folder.entry_bytes()) };
        let below = folder.children.values().map(|child| match child {
            Child::Folder(folder) => self.clusters_of(folder, false),
            Child::File { contents, .. } => self.run(contents.len()),
        });
        own + below.sum::<usize>()
    }

    /// Writes a folder and what is in it; answers its first cluster. `parent` is the cluster of the
    /// folder above: 0 stands for the root, `None` means that this is the root.
    fn folder(&mut self, folder: &Folder<'_>, parent: Option<usize>) -> usize {
        let is_root = parent.is_none();
        let (own, start) = if is_root && !self.geometry.fat32 {
            (0, self.geometry.fixed_root())
        } else {
            let own = self.table.take(self.run(folder.entry_bytes()));
            (own, self.geometry.cluster(own))
        };
        let mut entries = match parent {
            None => vec![entry(&self.label, VOLUME_LABEL, 0, 0)],
            Some(parent) => vec![
                entry(b".          ", FOLDER, own, 0),
                entry(b"..         ", FOLDER, parent, 0),
            ],
        };
        for (name, short, child) in folder.named() {
            entries.extend(long_entries(name, &short));
            entries.push(match child {
                Child::Folder(below) => {
                    let first = self.folder(below, Some(if is_root { 0 } else { own }));
                    entry(&short, FOLDER, first, 0)
                },
                Child::File { contents, .. } => {
                    let first = self.file(contents);
                    entry(&short, ARCHIVE, first, contents.len())
                },
            });
        }
        let bytes = entries.concat();
        self.image[start..start + bytes.len()].copy_from_slice(&bytes);
        own
    }

    fn file(&mut self, contents: &[u8]) -> usize {
        if contents.is_empty() {
            return 0;
        }
        let first = self.table.take(self.run(contents.len()));
        let start = self.geometry.cluster(first);
        self.image[start..start + contents.len()].copy_from_slice(contents);
        first
    }
}

/// A short entry. Sizes and clusters are below 2³², as the file system is at most 1 GiB large.
fn entry(short: &[u8; 11], attributes: u8, cluster: usize, len: usize) -> [u8; ENTRY] {
    let mut entry = [0; ENTRY];
    entry[..11].copy_from_slice(short);
    entry[11] = attributes;
    for date in [16, 18, 24] {
        entry[date..date + 2].copy_from_slice(&FIRST_DATE.to_le_bytes());
    }
    let cluster = u32::try_from(cluster).unwrap_or(0).to_le_bytes();
    entry[20..22].copy_from_slice(&cluster[2..]);
    entry[26..28].copy_from_slice(&cluster[..2]);
    entry[28..].copy_from_slice(&u32::try_from(len).unwrap_or(0).to_le_bytes());
    entry
}

const VOLUME_LABEL: u8 = 0x08;
const FOLDER: u8 = 0x10;
const ARCHIVE: u8 = 0x20;
/// 1980-01-01, the first day that FAT can express: firmware does not look at time stamps.
const FIRST_DATE: u16 = 1 << 5 | 1;

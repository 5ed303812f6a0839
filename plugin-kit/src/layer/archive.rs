//! The tar archive of a tree.

use std::ffi::OsStr;
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use ext4::{Content, Entry, Kind, Tree};
use tar::{EntryType, Header};

use super::error::LayerError;
use super::pax::Records;
use crate::sparse::Control;

/// How a layer is written.
#[derive(Clone, Copy, Debug, Default)]
pub struct LayerOptions {
    /// The latest time that a file may have, in seconds since 1970 (`SOURCE_DATE_EPOCH`).
    pub latest: Option<i64>,
    /// The most that all files may take together; a tree with holes could take any time otherwise.
    pub max_bytes: Option<u64>,
}

/// What was written.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct Written {
    /// The latest time of a file, in seconds since 1970.
    pub latest: i64,
    /// Files, directories and others.
    pub members: u64,
    /// Sockets, which an archive cannot hold.
    pub sockets: u64,
}

/// Sockets are left out, and an empty `lost+found`, which every ext4 file system has.
///
/// # Errors
/// [`LayerError`]; what was written until then is no archive.
pub fn write(
    tree: &Tree,
    options: &LayerOptions,
    output: &mut impl Write,
    control: &Control<'_>,
) -> Result<Written, LayerError> {
    let paths = tree.paths();
    let total = total_bytes(tree, &paths, options)?;
    let mut archive = Archive { output, control, written: Written::default(), done: 0, total };
    for path in &paths {
        let Some(entry) = tree.get(path) else { continue };
        if is_empty_lost_found(path, &paths) {
            continue;
        }
        if path.file_name().is_some_and(|name| name.as_bytes().starts_with(b".wh.")) {
            return Err(LayerError::Whiteout { path: path.clone() });
        }
        // Who unpacks a hard link gives its file the mode, owner, time and attributes that the link tells.
        let Some(file) = tree.file(path) else {
            return Err(LayerError::DeadLink { path: path.clone() });
        };
        archive.put(path, &entry.kind, file, options)?;
    }
    archive.output.write_all(&[0; 2 * BLOCK]).map_err(LayerError::Write)?;
    Ok(archive.written)
}

const BLOCK: usize = 512;
/// What a field of a ustar header can hold.
const MAX_NAME: usize = 100;
const MAX_ID: u32 = 0o7_777_777;
const MAX_SIZE: u64 = 0o77_777_777_777;
const STEP_BYTES: usize = 1 << 20;
/// They mean something to the machine that set them, and nothing, or harm, to another one.
const LOCAL_ATTRIBUTES: [&str; 4] =
    ["security.selinux", "security.ima", "security.evm", "trusted.overlay."];

fn total_bytes(tree: &Tree, paths: &[PathBuf], options: &LayerOptions) -> Result<u64, LayerError> {
    let mut total_bytes = 0_u64;
    let mut largest = (0, PathBuf::new());
    for path in paths {
        if let Some(Entry { kind: Kind::File(content), .. }) = tree.get(path) {
            total_bytes = total_bytes.saturating_add(content.length());
            if content.length() > largest.0 {
                largest = (content.length(), path.clone());
            }
        }
    }
    match options.max_bytes {
        Some(most) if total_bytes > most => Err(LayerError::Holes { path: largest.1, total_bytes }),
        _ => Ok(total_bytes),
    }
}

fn is_empty_lost_found(path: &Path, paths: &[PathBuf]) -> bool {
    path == Path::new("lost+found")
        && !paths.iter().any(|other| other != path && other.starts_with(path))
}

struct Archive<'a, W> {
    output: &'a mut W,
    control: &'a Control<'a>,
    written: Written,
    done: u64,
    total: u64,
}

impl<W: Write> Archive<'_, W> {
    fn put(
        &mut self,
        path: &Path,
        kind: &Kind,
        file: &Entry,
        options: &LayerOptions,
    ) -> Result<(), LayerError> {
        if matches!(file.kind, Kind::Socket) {
            self.written.sockets += 1;
            return Ok(());
        }
        let mut header = Header::new_ustar();
        let mut records = Records::default();
        let (entry_type, link) = match kind {
            Kind::Directory => (EntryType::Directory, None),
            Kind::File(_) => (EntryType::Regular, None),
            Kind::Symlink(target) => (EntryType::Symlink, Some(target.as_os_str())),
            Kind::HardLink(target) => (EntryType::Link, Some(below_root(target))),
            Kind::CharDevice { .. } => (EntryType::Char, None),
            Kind::BlockDevice { .. } => (EntryType::Block, None),
            // A socket was left out above.
            Kind::Fifo | Kind::Socket => (EntryType::Fifo, None),
        };
        header.set_entry_type(entry_type);
        let mut name = below_root(path).as_bytes().to_vec();
        if entry_type == EntryType::Directory {
            name.push(b'/');
        }
        text(&mut header.as_old_mut().name, "path", &name, &mut records);
        if let Some(link) = link {
            text(&mut header.as_old_mut().linkname, "linkpath", link.as_bytes(), &mut records);
        }
        if let Kind::CharDevice { major, minor } | Kind::BlockDevice { major, minor } = *kind {
            header.set_device_major(major).map_err(LayerError::Write)?;
            header.set_device_minor(minor).map_err(LayerError::Write)?;
        }
        header.set_mode(file.mode & 0o7777);
        header.set_uid(id(file.uid, "uid", &mut records));
        header.set_gid(id(file.gid, "gid", &mut records));
        header.set_mtime(self.time(file, options));
        attributes(file, &mut records);
        let content = match kind {
            Kind::File(content) => Some(content),
            _ => None,
        };
        let length = content.map_or(0, Content::length);
        header.set_size(if length > MAX_SIZE { 0 } else { length });
        if length > MAX_SIZE {
            records.put("size", length.to_string());
        }
        header.set_cksum();
        self.put_records(&records)?;
        self.output.write_all(header.as_bytes()).map_err(LayerError::Write)?;
        if let Some(content) = content {
            self.put_content(path, content)?;
        }
        self.written.members += 1;
        self.control.check().map_err(LayerError::Stream)
    }

    fn time(&mut self, entry: &Entry, options: &LayerOptions) -> u64 {
        let seconds = entry.mtime.map_or(0, |time| time.seconds);
        let seconds = options.latest.map_or(seconds, |latest| seconds.min(latest));
        self.written.latest = self.written.latest.max(seconds);
        // Years before 1970 and after 10000 are nobody's.
        u64::try_from(seconds).unwrap_or(0).min(MAX_SIZE)
    }

    fn put_records(&mut self, records: &Records) -> Result<(), LayerError> {
        if records.is_empty() {
            return Ok(());
        }
        let encoded = records.encode();
        let mut header = Header::new_ustar();
        header.set_entry_type(EntryType::XHeader);
        header.as_old_mut().name[..3].copy_from_slice(b"pax");
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_size(encoded.len() as u64);
        header.set_cksum();
        self.output.write_all(header.as_bytes()).map_err(LayerError::Write)?;
        self.output.write_all(&encoded).map_err(LayerError::Write)?;
        self.pad(encoded.len() as u64)
    }

    fn put_content(&mut self, path: &Path, content: &Content) -> Result<(), LayerError> {
        let failed = |source| LayerError::Read { path: path.to_owned(), source };
        let length = content.length();
        let mut reader = content.open().map_err(failed)?;
        let step = usize::try_from(length).unwrap_or(STEP_BYTES).min(STEP_BYTES);
        let mut buffer = vec![0; step];
        let mut left = length;
        while left > 0 {
            self.control.check()?;
            let step = usize::try_from(left).unwrap_or(step).min(step);
            reader.read_exact(&mut buffer[..step]).map_err(failed)?;
            self.output.write_all(&buffer[..step]).map_err(LayerError::Write)?;
            left -= step as u64;
            self.done += step as u64;
            self.control.report(self.done, self.total);
        }
        self.pad(length)
    }

    fn pad(&mut self, length: u64) -> Result<(), LayerError> {
        let over = usize::try_from(length % BLOCK as u64).unwrap_or_default();
        let missing = if over == 0 { 0 } else { BLOCK - over };
        self.output.write_all(&[0; BLOCK][..missing]).map_err(LayerError::Write)
    }
}

fn below_root(path: &Path) -> &OsStr {
    path.strip_prefix("/").unwrap_or(path).as_os_str()
}

/// Puts as much of `value` as fits into `field`; all of it into the records when that is not all.
fn text(field: &mut [u8; MAX_NAME], key: &str, value: &[u8], records: &mut Records) {
    let fits = value.len().min(MAX_NAME);
    field[..fits].copy_from_slice(&value[..fits]);
    if fits < value.len() {
        records.put(key, value);
    }
}

fn id(id: u32, key: &str, records: &mut Records) -> u64 {
    if id <= MAX_ID {
        return id.into();
    }
    records.put(key, id.to_string());
    0
}

fn attributes(entry: &Entry, records: &mut Records) {
    for (name, value) in &entry.xattrs {
        let local = LOCAL_ATTRIBUTES.iter().any(|local| name.starts_with(local));
        // `=` would end the key of the record.
        if !local && !name.contains('=') {
            records.put(format!("SCHILY.xattr.{name}"), value.clone());
        }
    }
}

//! Reads a tree from a tar archive, without unpacking it.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tar::EntryType;

use crate::entry::{Content, Entry, Kind, Time};
use crate::error::Error;
use crate::sink::read_error;
use crate::tree::Tree;

/// Extended attributes in pax headers, as GNU tar and libarchive write them.
const PAX_XATTR: &str = "SCHILY.xattr.";

impl Tree {
    /// The tree in an uncompressed tar archive (ustar, pax or GNU). Contents are read from the archive when
    /// the tree is written; it must not change until then. Of several members with one path the last counts.
    ///
    /// # Errors
    /// [`Error::Read`] when the archive cannot be read; [`Error::UnsupportedKind`] for members that are no
    /// files (sparse ones, volume labels); what [`Tree::put`] says about their paths.
    pub fn from_tar(archive: &Path) -> Result<Self, Error> {
        let problem = |source: io::Error| read_error(archive, source);
        let file = Arc::new(fs_err::File::open(archive).map_err(problem)?);
        let mut reader = tar::Archive::new(file.as_ref());
        let mut tree = Self::new();
        for member in reader.entries_with_seek().map_err(problem)? {
            let mut member = member.map_err(problem)?;
            if member.header().entry_type() == EntryType::XGlobalHeader {
                continue;
            }
            let path = PathBuf::from(OsStr::from_bytes(&member.path_bytes()));
            let mut entry = Entry::new(kind(&member, &path, &file).map_err(problem)??);
            let header = member.header();
            entry.mode = header.mode().map_err(problem)?;
            entry.uid = id(header.uid()).map_err(problem)?;
            entry.gid = id(header.gid()).map_err(problem)?;
            let seconds = i64::try_from(header.mtime().map_err(problem)?).unwrap_or(i64::MAX);
            entry.mtime = Some(Time { seconds, nanoseconds: 0 });
            pax_fields(&mut member, &mut entry).map_err(problem)?;
            tree.put(path, entry)?;
        }
        Ok(tree)
    }
}

type Member<'a> = tar::Entry<'a, &'a fs_err::File>;

/// The outer error is about the archive, the inner one about the member.
fn kind(
    member: &Member<'_>,
    path: &Path,
    file: &Arc<fs_err::File>,
) -> io::Result<Result<Kind, Error>> {
    let header = member.header();
    let target = || {
        let name = member.link_name_bytes().unwrap_or_default();
        OsStr::from_bytes(&name).to_owned()
    };
    let device = || -> io::Result<(u32, u32)> {
        Ok((header.device_major()?.unwrap_or(0), header.device_minor()?.unwrap_or(0)))
    };
    Ok(Ok(match header.entry_type() {
        EntryType::Regular | EntryType::Continuous => Kind::File(Content::Range {
            file: Arc::clone(file),
            offset: member.raw_file_position(),
            length: member.size(),
        }),
        EntryType::Directory => Kind::Directory,
        EntryType::Symlink => Kind::Symlink(target()),
        EntryType::Link => Kind::HardLink(target().into()),
        EntryType::Char => device().map(|(major, minor)| Kind::CharDevice { major, minor })?,
        EntryType::Block => device().map(|(major, minor)| Kind::BlockDevice { major, minor })?,
        EntryType::Fifo => Kind::Fifo,
        other => {
            let kind = format!("tar member of type {other:?}");
            return Ok(Err(Error::UnsupportedKind { path: path.to_owned(), kind }));
        },
    }))
}

fn id(id: io::Result<u64>) -> io::Result<u32> {
    u32::try_from(id?).map_err(io::Error::other)
}

/// Extended attributes, and times finer than the header's.
fn pax_fields(member: &mut Member<'_>, entry: &mut Entry) -> io::Result<()> {
    let Some(extensions) = member.pax_extensions()? else {
        return Ok(());
    };
    for extension in extensions {
        let extension = extension?;
        let Ok(key) = extension.key() else { continue };
        if let Some(name) = key.strip_prefix(PAX_XATTR) {
            entry.xattrs.insert(name.to_owned(), extension.value_bytes().to_vec());
        } else if key == "mtime" {
            let time = extension.value().ok().and_then(parse_time);
            entry.mtime = time.or(entry.mtime);
        }
    }
    Ok(())
}

/// A decimal number of seconds, as in `-1.25`.
fn parse_time(text: &str) -> Option<Time> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let seconds: i64 = whole.parse().ok()?;
    let digits = format!("{fraction:0<9}");
    let nanoseconds: u32 = digits.get(..9)?.parse().ok()?;
    if whole.starts_with('-') && nanoseconds > 0 {
        // The fraction counts on from the second before.
        return Some(Time {
            seconds: seconds.checked_sub(1)?,
            nanoseconds: 1_000_000_000 - nanoseconds,
        });
    }
    Some(Time { seconds, nanoseconds })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimal_times_keep_their_fraction() {
        assert_eq!(parse_time("12"), Some(Time { seconds: 12, nanoseconds: 0 }));
        assert_eq!(parse_time("12.5"), Some(Time { seconds: 12, nanoseconds: 500_000_000 }));
        assert_eq!(parse_time("-1.25"), Some(Time { seconds: -2, nanoseconds: 750_000_000 }));
        assert_eq!(parse_time("1.0000000019"), Some(Time { seconds: 1, nanoseconds: 1 }));
        assert_eq!(parse_time("x"), None);
    }
}

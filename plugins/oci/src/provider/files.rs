//! Files that appear whole or not at all.

use std::io::{self, Write};
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use fs_err::File;
use plugin_api::{Builder, DelegateError, DelegateErrorKind, ResultExt};
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

/// How the names of files end that are not yet whole.
const PARTIAL: &str = ".partial";
/// Until a lock is tried again.
const WAIT: Duration = Duration::from_millis(50);

/// Writes `path` through a file beside it, which is removed when anything fails.
pub(super) fn write<T>(
    builder: &Builder,
    path: &Utf8Path,
    write: impl FnOnce(&Utf8Path) -> Result<T, DelegateError>,
) -> Result<T, DelegateError> {
    let partial = partial(path, builder.id());
    let written = write(&partial).and_then(|written| {
        File::open(&partial)?.sync_all()?;
        builder.check_cancelled()?;
        fs_err::rename(&partial, path)?;
        sync_folder(path)?;
        Ok(written)
    });
    if written.is_err() {
        discard(&partial);
    }
    written
}

/// Writes the bytes of a document.
pub(super) fn write_bytes(
    builder: &Builder,
    path: &Utf8Path,
    bytes: &[u8],
) -> Result<(), DelegateError> {
    write(builder, path, |partial| Ok(File::create(partial)?.write_all(bytes)?))
}

/// A name outlives a power cut with the folder that it is in.
fn sync_folder(path: &Utf8Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}

fn partial(path: &Utf8Path, build: &str) -> Utf8PathBuf {
    let name = path.file_name().unwrap_or_default();
    path.with_file_name(format!(".{name}.{build}{PARTIAL}"))
}

/// Whether a file is one that is half-written, of any build.
pub(super) fn is_partial(path: &Utf8Path) -> bool {
    path.file_name().is_some_and(|name| name.starts_with('.') && name.ends_with(PARTIAL))
}

/// Removes what the build left half-written in `folder`; of every build when it is empty.
pub(super) fn remove_partial(folder: &Utf8Path, build: &str) {
    let end = format!("{build}{PARTIAL}");
    let Ok(entries) = folder.read_dir_utf8() else { return };
    let partial = entries.flatten().filter(|entry| is_partial(entry.path()));
    for entry in partial.filter(|entry| entry.file_name().ends_with(&end)) {
        discard(entry.path());
    }
}

/// Removes what any build left half-written of the file `path`: for whoever knows that none is at it.
pub(super) fn remove_partials_of(path: &Utf8Path) {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else { return };
    let begin = format!(".{name}.");
    let Ok(entries) = folder.read_dir_utf8() else { return };
    for entry in entries.flatten() {
        let rest = entry.file_name().strip_prefix(&begin);
        let build = rest.and_then(|rest| rest.strip_suffix(PARTIAL));
        // Another file's name may begin alike, and goes on after a dot.
        if build.is_some_and(|build| !build.contains('.')) {
            discard(entry.path());
        }
    }
}

/// Removes a file after a failure, which is the error to tell.
pub(super) fn discard(path: &Utf8Path) {
    if let Err(error) = remove(path) {
        tracing::warn!(%error, "a half-written file stays behind");
    }
}

/// Removes a file; one that is gone is removed.
pub(super) fn remove(path: &Utf8Path) -> io::Result<()> {
    match fs_err::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Whether files can be made in `folder`.
pub(super) fn check_writable(folder: &Utf8Path) -> Result<(), DelegateError> {
    let refused = || format!("nothing can be written to `{folder}`");
    if !folder.is_dir() {
        return Err(DelegateError::unavailable(format!("there is no folder `{folder}`"))
            .hint("make it, or name another one"));
    }
    // Another one may try at the same time, by the same number in its own namespace.
    let trial = folder.join(format!(".{}{PARTIAL}", std::process::id()));
    File::create(&trial)
        .and_then(|_| remove(&trial))
        .or_delegate_error(DelegateErrorKind::Unavailable, refused())
        .map_err(|error| error.hint("check owner and mode of the folder"))
}

/// Keeps others from changing `folder` until it is dropped.
pub(super) fn lock(builder: &Builder, folder: &Utf8Path) -> Result<File, DelegateError> {
    let file = File::open(folder)?;
    loop {
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(file),
            Err(Errno::WOULDBLOCK | Errno::INTR) => {
                builder.check_cancelled()?;
                std::thread::sleep(WAIT);
            },
            Err(error) => return Err(io::Error::from(error).into()),
        }
    }
}

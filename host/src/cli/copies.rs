//! `--output`: copies of finished images where the user wants them.

use camino::{Utf8Path, Utf8PathBuf};
use rustix::fs::Access;

use super::context::Context;
use super::error::{Exit, Failure, Failures};
use super::interrupt::Interrupt;
use crate::atomic_file::Existing;
use crate::factory::Built;

/// Refuses a place that cannot take `targets` images, before anything is built.
pub(super) fn check(output: &Utf8Path, targets: usize) -> Result<(), Failure> {
    let found = fs_err::metadata(output).ok();
    if targets > 1 && found.as_ref().is_some_and(|found| !found.is_dir()) {
        let message = format!("`{output}` is a file, and {targets} images are to be written there");
        return Err(Failure::new(Exit::Conflict, message).hint("name a directory"));
    }
    let is_directory = found.is_some_and(|found| found.is_dir());
    let makes_directories = is_directory || names_directory(output, targets);
    let folder = if is_directory { Some(output) } else { output.parent() };
    let folder = match folder {
        Some(folder) if folder.as_str().is_empty() => Utf8Path::new("."),
        Some(folder) if makes_directories => nearest_folder(folder),
        Some(folder) => folder,
        None => output,
    };
    rustix::fs::access(folder.as_std_path(), Access::WRITE_OK | Access::EXEC_OK).map_err(|error| {
        let exit = match error {
            rustix::io::Errno::NOENT => Exit::NotFound,
            _ => Exit::InvalidInput,
        };
        Failure::new(exit, format!("cannot write images to `{output}`"))
            .because(format!("`{folder}`: {}", std::io::Error::from(error)))
            .hint("name a place in a directory that you may write to")
    })
}

/// One image goes to the path itself; several go into a directory, each with its target's name.
pub(super) fn write(
    context: &Context,
    images: &[&Built],
    output: &Utf8Path,
    interrupt: &Interrupt,
) -> Result<(), Failures> {
    let into_directory = names_directory(output, images.len())
        || fs_err::metadata(output).is_ok_and(|found| found.is_dir());
    if into_directory {
        fs_err::create_dir_all(output)
            .map_err(|error| Failure::from_error(Exit::InvalidInput, &error))?;
    }
    for image in images {
        let path = if into_directory {
            output.join(file_name(&image.record.name, &image.label))
        } else {
            output.to_owned()
        };
        context.backend().export(&image.record, &path, Existing::Replace, interrupt)?;
        context.output.note(format!("{}: written to {path}", image.label));
    }
    Ok(())
}

fn names_directory(output: &Utf8Path, images: usize) -> bool {
    images > 1 || output.as_str().ends_with('/')
}

/// The nearest folder above `path`, or itself, that exists.
fn nearest_folder(path: &Utf8Path) -> &Utf8Path {
    path.ancestors()
        .map(|folder| if folder.as_str().is_empty() { Utf8Path::new(".") } else { folder })
        .find(|folder| fs_err::metadata(folder).is_ok())
        .unwrap_or(path)
}

/// A name for people may hold anything; a file name stays within its folder.
fn file_name(name: &str, label: &str) -> Utf8PathBuf {
    let safe = |text: &str| text.replace(|c: char| c == '/' || c.is_control(), "-");
    let extension = if label == "base" { "raw" } else { label };
    Utf8PathBuf::from(format!("{}.{}", safe(name).trim_start_matches('.'), safe(extension)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_slashes_stays_within_the_folder() {
        assert_eq!(file_name("../../etc/passwd", "qcow2"), "-..-etc-passwd.qcow2");
        assert_eq!(file_name("debian-12", "base"), "debian-12.raw");
    }

    #[test]
    fn a_file_cannot_take_several_images() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = Utf8Path::from_path(file.path()).unwrap();
        assert_eq!(check(path, 2).unwrap_err().exit(), Exit::Conflict);
        assert!(check(path, 1).is_ok());
    }

    #[test]
    fn a_missing_folder_is_made_for_a_directory_and_refused_for_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = Utf8Path::from_path(folder.path()).unwrap();
        assert!(check(&path.join("a/b"), 2).is_ok());
        assert!(check(&path.join("a/b/"), 1).is_ok());
        assert_eq!(check(&path.join("a/b"), 1).unwrap_err().exit(), Exit::NotFound);
    }
}

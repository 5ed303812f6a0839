//! Between a delegate's builder and this crate (feature `builder`): what every cloud plugin that
//! writes an image format needs.
//!
//! A plugin opens the disk with [`disk_of`], writes it within [`with_control`], so that progress and
//! cancellation reach the builder, and lets `?` turn the errors of this crate into those of a delegate.
//! [`content_id`] gives the identifiers that formats ask for, [`choice`] and [`level`] read parameters.

use std::cell::Cell;
use std::io;
use std::ops::RangeInclusive;

use plugin_api::{Builder, DelegateError, Tier};
use sha2::{Digest, Sha256};

use crate::disk::{RootError, derived_uuid};
use crate::formats::FormatError;
use crate::layer::LayerError;
use crate::sparse::{Control, RawDisk, ReadAt, StreamError, UNIT_BYTES, is_zero};

/// Opens the disk that `finish_target_image` turns into the target's format.
///
/// # Errors
/// `BugInPlugin` in the base tier, `Failed` when it does not open.
pub fn disk_of(builder: &Builder) -> Result<RawDisk, DelegateError> {
    Ok(RawDisk::open(builder.disk()?)?)
}

/// Does `work` with a [`Control`] that reports to `builder` (each percent once) and that
/// `builder.cancelled()` ends.
///
/// # Errors
/// Those of `work`.
pub fn with_control<T, E: Into<DelegateError>>(
    builder: &Builder,
    work: impl FnOnce(&Control<'_>) -> Result<T, E>,
) -> Result<T, DelegateError> {
    let reported = Cell::new(None);
    let progress = |done: u64, total: u64| {
        let percent = percent(done, total);
        if reported.replace(Some(percent)) != Some(percent) {
            builder.progress(percent);
        }
    };
    let cancelled = || builder.cancelled();
    let done = work(&Control::new(&progress, &cancelled)).map_err(Into::into)?;
    // Work without data, or with shared blocks, has nothing to report on its way.
    progress(1, 1);
    Ok(done)
}

/// An empty disk is done from the start.
fn percent(done: u64, total: u64) -> u8 {
    let percent = u128::from(done) * 100 / u128::from(total.max(1));
    if total == 0 {
        return 100;
    }
    u8::try_from(percent).unwrap_or(100).min(100)
}

/// The identifier of `disk` in an image of `format`: the same for the same template name and content,
/// whenever and wherever it is built. A version 5 UUID.
///
/// The content is known by the digest that the host took of the base image; a disk that was changed
/// since is read, zeros left out.
///
/// # Errors
/// `Failed` when the disk does not read, `Cancelled`.
pub fn content_id(
    builder: &Builder,
    disk: &RawDisk,
    format: &str,
) -> Result<[u8; 16], DelegateError> {
    let known =
        builder.base_image().filter(|image| image.path == disk.path() && !image.sha256.is_empty());
    let digest = match known {
        Some(image) => image.sha256.clone(),
        None => content_digest(builder, disk)?,
    };
    let seed = format!("{}\n{digest}", builder.template().name);
    Ok(derived_uuid(&seed, format).into_bytes())
}

/// Digest of the units that are not zero and of their places, which does not depend on where the file
/// system put holes. Hashing the holes as well would cost seconds per GiB of nothing.
fn content_digest(builder: &Builder, disk: &RawDisk) -> Result<String, DelegateError> {
    let unit_bytes = UNIT_BYTES as u64;
    let size_bytes = disk.size_bytes();
    let read_error = |error| StreamError::read(disk.path(), error);
    let mut hash = Sha256::new();
    hash.update(size_bytes.to_le_bytes());
    let mut buffer = vec![0; UNIT_BYTES];
    let mut next = 0;
    for extent in disk.data_extents().map_err(read_error)? {
        // Two extents may share a unit.
        for unit in next.max(extent.start / unit_bytes)..extent.end.div_ceil(unit_bytes) {
            builder.check_cancelled()?;
            let offset = unit * unit_bytes;
            let len = usize::try_from(size_bytes - offset).unwrap_or(usize::MAX);
            let data = &mut buffer[..len.min(UNIT_BYTES)];
            disk.read_exact_at(data, offset).map_err(read_error)?;
            if !is_zero(data) {
                hash.update(unit.to_le_bytes());
                hash.update(&*data);
            }
            next = unit + 1;
        }
    }
    Ok(hex::encode(hash.finalize()))
}

/// The value that parameter `name` stands for, of `choices` by word.
///
/// # Errors
/// `InvalidInput` for any other word.
pub fn choice<T: Copy>(
    builder: &Builder,
    name: &str,
    choices: &[(&str, T)],
) -> Result<Option<T>, DelegateError> {
    let Some(given) = builder.parameters().string(name)? else {
        return Ok(None);
    };
    if let Some((_, value)) = choices.iter().find(|(word, _)| *word == given) {
        return Ok(Some(*value));
    }
    let words: Vec<String> = choices.iter().map(|(word, _)| format!("`{word}`")).collect();
    let words = words.join(", ");
    Err(DelegateError::invalid_input(format!(
        "parameter `{name}`: expected one of {words}, found `{given}`"
    )))
}

/// The compression level in parameter `name`.
///
/// # Errors
/// `InvalidInput` for what is not within `levels`.
pub fn level(
    builder: &Builder,
    name: &str,
    levels: RangeInclusive<i32>,
) -> Result<Option<i32>, DelegateError> {
    let Some(given) = builder.parameters().u64(name)? else {
        return Ok(None);
    };
    match i32::try_from(given) {
        Ok(level) if levels.contains(&level) => Ok(Some(level)),
        _ => Err(DelegateError::invalid_input(format!(
            "parameter `{name}`: expected a level from {} to {}, found {given}",
            levels.start(),
            levels.end(),
        ))),
    }
}

/// Refuses the provider tier, for a `check` of targets that are files and nothing more.
///
/// # Errors
/// `Unsupported` when `builder.tier()` is the provider's.
pub fn refuse_provider(builder: &Builder) -> Result<(), DelegateError> {
    if builder.tier() != Tier::Provider {
        return Ok(());
    }
    Err(DelegateError::unsupported(format!(
        "target `{}` has no providers to push to",
        builder.target()
    ))
    .hint("leave the provider out: the body of the target image is the file to deliver"))
}

impl From<StreamError> for DelegateError {
    fn from(error: StreamError) -> Self {
        let message = error.to_string();
        match error {
            StreamError::Cancelled => Self::cancelled("the build was cancelled"),
            StreamError::Open { source, .. }
            | StreamError::Read { source, .. }
            | StreamError::Write { source, .. } => {
                // What can be done about a full disk is known where `io::Error` is converted.
                let known = Self::from(io::Error::from(source.kind()));
                let failed = Self::failed(message).caused_by(source);
                known.hints().iter().fold(failed, Self::hint)
            },
        }
    }
}

impl From<RootError> for DelegateError {
    fn from(error: RootError) -> Self {
        let message = error.to_string();
        match error {
            RootError::None { .. } => Self::invalid_input(message).hint(
                "this target takes images whose root is an ext4 file system, such as those of plugin `debian`",
            ),
            RootError::FileSystem { source, .. } => {
                let unsupported = matches!(source, ext4::ImageError::Unsupported { .. });
                let kind = if unsupported { Self::unsupported } else { Self::failed };
                kind(message).caused_by(source)
            },
            RootError::Disk { source, .. } => Self::failed(message).caused_by(source),
        }
    }
}

impl From<LayerError> for DelegateError {
    fn from(error: LayerError) -> Self {
        let message = error.to_string();
        match error {
            LayerError::Stream(error) => error.into(),
            LayerError::Whiteout { .. }
            | LayerError::DeadLink { .. }
            | LayerError::Holes { .. } => {
                Self::invalid_input(message).hint("leave it out with the parameter `tar_excludes`")
            },
            LayerError::Read { source, .. } => Self::failed(message).caused_by(source),
            LayerError::Write(source) => {
                let known = Self::from(io::Error::from(source.kind()));
                let failed = Self::failed(message).caused_by(source);
                known.hints().iter().fold(failed, Self::hint)
            },
        }
    }
}

impl From<FormatError> for DelegateError {
    fn from(error: FormatError) -> Self {
        let message = error.to_string();
        match error {
            FormatError::Stream(error) => error.into(),
            FormatError::TooLarge { .. } => Self::invalid_input(message)
                .hint("ask for a smaller disk in the template, or build another target"),
            FormatError::InvalidOption { .. } => Self::invalid_input(message),
            FormatError::Malformed { .. } => Self::failed(message),
            FormatError::Unsupported { .. } => Self::unsupported(message),
        }
    }
}

#[cfg(test)]
mod tests {
    use plugin_api::DelegateErrorKind;
    use rustix::io::Errno;

    use super::*;

    #[test]
    fn a_full_disk_names_the_file_the_cause_and_the_remedy() {
        let error = DelegateError::from(StreamError::write("a.qcow2".into(), Errno::NOSPC));
        assert_eq!(error.kind(), DelegateErrorKind::Failed);
        assert_eq!(error.message(), "cannot write `a.qcow2`");
        assert_eq!(error.causes().len(), 1);
        assert!(error.hints()[0].contains("free space"));
    }

    #[test]
    fn cancelling_stays_cancelling_through_every_layer() {
        let error = DelegateError::from(FormatError::from(StreamError::Cancelled));
        assert_eq!(error.kind(), DelegateErrorKind::Cancelled);
    }

    #[test]
    fn a_disk_that_does_not_fit_is_the_template_s_fault() {
        let error = DelegateError::from(FormatError::TooLarge {
            format: "VHD",
            size_bytes: 2,
            limit_bytes: 1,
        });
        assert_eq!(error.kind(), DelegateErrorKind::InvalidInput);
        assert_eq!(error.hints().len(), 1);
    }

    #[test]
    fn percent_is_whole_and_never_above_100() {
        let cases = [(0, 3, 0), (1, 3, 33), (3, 3, 100), (9, 3, 100), (0, 0, 100)];
        for (done, total, expected) in cases {
            assert_eq!(percent(done, total), expected, "{done} of {total}");
        }
    }
}

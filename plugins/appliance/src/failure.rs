//! What `plugin-kit` reports, in the words of the plugin API.

use plugin_api::{DelegateError, DelegateErrorKind};
use plugin_kit::boot::grub::MissingGrub;
use plugin_kit::packages::PackageError;
use plugin_kit::run::RunError;
use std::error::Error;

/// GRUB is not installed.
pub(crate) fn grub(error: &MissingGrub) -> DelegateError {
    DelegateError::missing_requirement(error.to_string()).hint(error.hint())
}

/// Packages cannot be had.
pub(crate) fn packages(error: &PackageError) -> DelegateError {
    let kind = match error {
        PackageError::NoMirror => DelegateErrorKind::MissingRequirement,
        PackageError::Invalid { .. } => DelegateErrorKind::InvalidInput,
        PackageError::Offline { .. } => DelegateErrorKind::Unavailable,
        PackageError::Run { source, .. } => match program(source) {
            // apt fails most often because a mirror does not answer.
            DelegateErrorKind::Failed => DelegateErrorKind::Unavailable,
            kind => kind,
        },
        _ => DelegateErrorKind::Failed,
    };
    let failed = with_causes(DelegateError::new(kind, error.to_string()), error.source());
    match error.hint() {
        Some(hint) => failed.hint(hint),
        None => failed,
    }
}

/// Something failed while the disk was made.
pub(crate) fn disk(error: &dyn Error) -> DelegateError {
    with_causes(DelegateError::failed(error.to_string()), error.source())
}

/// Why a program did not run, as the builder said.
fn program(error: &RunError) -> DelegateErrorKind {
    error.downcast_ref::<DelegateError>().map_or(DelegateErrorKind::Failed, DelegateError::kind)
}

/// Adds the chain of causes; a builder's own error brings its causes along.
fn with_causes(
    mut failed: DelegateError,
    mut source: Option<&(dyn Error + 'static)>,
) -> DelegateError {
    while let Some(cause) = source {
        failed = failed.because(cause.to_string());
        if let Some(inner) = cause.downcast_ref::<DelegateError>() {
            failed = inner.causes().iter().fold(failed, DelegateError::because);
            failed = inner.hints().iter().fold(failed, DelegateError::hint);
        }
        source = cause.source();
    }
    failed
}

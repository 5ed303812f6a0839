//! How the end of a build is told in its record.

use plugin_api::{DelegateError, DelegateErrorKind};

use super::limits::more_time;
use super::plan::PlanProblem;
use super::protocol::{Request, Work};
use crate::failures;
use crate::images::{Failure, ImageRecord, Status, StoreError};

/// Cancelled while it waited for its turn.
pub(super) fn cancelled_early() -> Failure {
    Failure::new(DelegateErrorKind::Cancelled, "the build was cancelled before it began")
}

/// Cancelled when the plugins were done and the store was not.
fn cancelled_late() -> Failure {
    Failure::new(DelegateErrorKind::Cancelled, "the build was cancelled while its image was kept")
}

/// How an image ends that is made from `parent`, which is not complete: as that one did.
pub(super) fn as_its_parent(parent: &ImageRecord, error: String) -> (Status, Failure) {
    let (status, kind) = match parent.status {
        Status::Skipped => (Status::Skipped, None),
        Status::Cancelled => (Status::Cancelled, Some(DelegateErrorKind::Cancelled)),
        _ => (Status::Failed, parent.status_detail.kind.or(Some(DelegateErrorKind::Failed))),
    };
    let mut failure = Failure::skip(error);
    failure.kind = kind;
    failure.causes.extend(parent.status_detail.error.clone());
    (status, failure)
}

/// What stands against an image that was accepted before, now that its job is planned again.
pub(super) fn refused<'p>(mut problems: impl Iterator<Item = &'p PlanProblem>) -> Failure {
    let first = problems.next();
    let mut failure = match first {
        Some(PlanProblem::Refused { error, .. }) => Failure::from(error),
        Some(problem) => {
            let kind = match problem {
                PlanProblem::NoPlugin(_) | PlanProblem::Unusable(_) => {
                    DelegateErrorKind::MissingRequirement
                },
                PlanProblem::Store(error) => error.kind(),
                PlanProblem::Prepare(_) => DelegateErrorKind::Failed,
                _ => DelegateErrorKind::InvalidInput,
            };
            let mut failure = Failure::new(kind, problem.to_string());
            failure.causes.extend(failures::causes(problem));
            failure.hints.extend(problem.hints());
            failure
        },
        None => Failure::new(DelegateErrorKind::Failed, "it is refused without a reason"),
    };
    failure.causes.extend(problems.map(ToString::to_string));
    failure.hint("it was accepted before: a plugin, a provider or the settings have changed since")
}

/// The store could not do its part.
pub(super) fn store_failed(error: &StoreError) -> Failure {
    let failed = DelegateError::failed("the image cannot be kept").caused_by(error);
    let mut failure = Failure::from(&failed);
    failure.hints.extend(error.hints());
    failure
}

/// How an image ends when the store could not take what plugins made, or not in time.
pub(super) fn not_kept(
    request: &Request,
    error: &StoreError,
    is_cancelled: bool,
) -> (Status, Failure) {
    let gave_up = error.kind() == DelegateErrorKind::Cancelled;
    if gave_up && is_cancelled {
        return (Status::Cancelled, cancelled_late());
    }
    let maker = request.cloud.as_ref().or(request.os.as_ref());
    let plugin = maker.map_or("", |plugin| plugin.name.as_str());
    let method = match request.work {
        Work::Target => "finish_target_image",
        Work::Push => "push_image_to_provider",
        Work::Snapshot => "snapshot_image_on_provider",
        Work::Base | Work::Check | Work::Delete => "create_base_image",
    };
    let what = format!("what `{method}` of plugin `{plugin}` made cannot be kept");
    if gave_up {
        let late = DelegateError::failed(format!("{what}: reading it takes too long"))
            .hint(more_time(plugin, request));
        return (Status::Failed, Failure::from(&late));
    }
    let mut failure = Failure::from(&DelegateError::failed(what).caused_by(error));
    failure.hints.extend(error.hints());
    (Status::Failed, failure)
}

/// What a delegate said while an image was deleted, with its plugin and method.
pub(super) fn named(plugin: &str, method: &str, error: &DelegateError) -> DelegateError {
    reworded(error, told_by(plugin, method, error).error)
}

/// `error` with another message.
pub(super) fn reworded(error: &DelegateError, message: String) -> DelegateError {
    let mut reworded = DelegateError::new(error.kind(), message);
    for cause in error.causes() {
        reworded = reworded.because(cause);
    }
    for hint in error.hints() {
        reworded = reworded.hint(hint);
    }
    reworded
}

/// A defect of this program: what the panic said.
pub(super) fn internal(panic: &(dyn std::any::Any + Send)) -> Failure {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    let message = format!("internal error: {}", text.unwrap_or("a panic without words"));
    Failure::new(DelegateErrorKind::Failed, message)
        .hint("this is a defect of imageforge: report it with the log of this image")
}

/// What a delegate said, with its plugin and method where the message does not name them.
pub(super) fn told_by(plugin: &str, method: &str, error: &DelegateError) -> Failure {
    let mut failure = Failure::from(error);
    if !plugin.is_empty() && !failure.error.contains(&format!("`{plugin}`")) {
        failure.error = match method {
            "" | "open" => format!("plugin `{plugin}`: {}", failure.error),
            method => format!("plugin `{plugin}`, `{method}`: {}", failure.error),
        };
    }
    failure
}

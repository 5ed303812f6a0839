//! `images delete`: the files, and what a provider holds.

use serde_json::json;

use super::backend::Deletion;
use super::context::Context;
use super::error::{Exit, Failure, Failures};
use super::inputs;
use super::interrupt::Interrupt;
use crate::images::{DeleteMode, ImageId};

/// What to do when a provider does not delete an image.
pub(super) const MEND: &str = "mend it and delete again; `--provider` and `--credentials` may name others, `--leave-at-provider` asks nobody";

/// What is to be deleted, and how.
pub(super) struct Request<'a> {
    pub(super) ids: &'a [String],
    pub(super) mode: DeleteMode,
    pub(super) provider: Option<&'a str>,
    pub(super) credentials: Option<&'a str>,
    pub(super) leave_at_provider: bool,
}

/// `--cascade` and `--force` exclude each other.
pub(super) fn mode(cascade: bool, force: bool) -> DeleteMode {
    match (cascade, force) {
        (true, _) => DeleteMode::Cascade,
        (_, true) => DeleteMode::Force,
        _ => DeleteMode::Refuse,
    }
}

/// Deletes images; each that cannot be deleted is a failure of its own.
pub(super) fn run(context: &Context, request: &Request<'_>) -> Result<Exit, Failures> {
    let provider = request.provider.map(inputs::text_or_file).transpose()?;
    let credentials = request.credentials.map(inputs::text_or_file).transpose()?;
    let backend = context.backend();
    let interrupt = Interrupt::listen()?;
    let mut deleted: Vec<ImageId> = Vec::new();
    let mut failures = Vec::new();
    for reference in request.ids {
        if interrupt.happened() {
            let message = format!("image `{reference}` was not deleted: cancelled");
            failures.push(Failure::new(Exit::Cancelled, message));
            continue;
        }
        let deletion = Deletion {
            reference,
            mode: request.mode,
            provider: provider.as_deref(),
            credentials: credentials.as_deref(),
            leave_at_provider: request.leave_at_provider,
        };
        let result = backend.delete(&deletion, &interrupt, &mut |id| {
            context.output.text(format!("{id}: deleted"));
            deleted.push(id);
        });
        failures.extend(result.err().into_iter().flatten());
    }
    if let Some(failures) = Failures::collect(failures) {
        return Err(failures);
    }
    context.output.json(&json!({ "deleted": deleted }));
    Ok(Exit::Done)
}

//! `images delete`: the files, and what a provider holds.

use serde_json::json;

use super::context::{Context, Interrupt, find, store_failure};
use super::error::{Exit, Failure, Failures};
use super::inputs;
use crate::factory::{Deleter, order::Delivery};
use crate::images::{DeleteMode, ImageId, ImageRecord, Store, StoreError};

/// What is to be deleted, and how.
pub(super) struct Request<'a> {
    pub(super) ids: &'a [String],
    pub(super) mode: DeleteMode,
    pub(super) provider: Option<&'a str>,
    pub(super) credentials: Option<&'a str>,
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
    let store = context.store()?;
    let interrupt = Interrupt::listen()?;
    let mut deleted: Vec<ImageId> = Vec::new();
    let mut failures = Vec::new();
    for reference in request.ids {
        if interrupt.happened() {
            let message = format!("image `{reference}` was not deleted: cancelled");
            failures.push(Failure::new(Exit::Cancelled, message));
            continue;
        }
        if let (Some(id), DeleteMode::Force) = (damaged(&store, reference), request.mode) {
            match store.delete_damaged(id) {
                Ok(()) => {
                    context.output.text(format!("{id}: deleted"));
                    deleted.push(id);
                },
                Err(error) => failures.push(store_failure(&error)),
            }
            continue;
        }
        let result = find(&store, reference).and_then(|record| {
            // An earlier one may have taken it along.
            let order = store
                .deletion_order(record.id, request.mode)
                .map_err(|error| store_failure(&error))?;
            for record in order {
                delete_one(context, &store, &record, request, &interrupt)?;
                context.output.text(format!("{}: deleted", record.id));
                deleted.push(record.id);
            }
            Ok(())
        });
        failures.extend(result.err());
    }
    if let Some(failures) = Failures::collect(failures) {
        return Err(failures);
    }
    context.output.json(&json!({ "deleted": deleted }));
    Ok(Exit::Done)
}

/// The image that `reference` means, if its record does not read.
fn damaged(store: &Store, reference: &str) -> Option<ImageId> {
    match store.find(reference) {
        Err(StoreError::Damaged { id, .. }) => id.parse().ok(),
        _ => None,
    }
}

fn delete_one(
    context: &Context,
    store: &Store,
    record: &ImageRecord,
    request: &Request<'_>,
    interrupt: &Interrupt,
) -> Result<(), Failure> {
    let deletion =
        store.begin_delete(record.id, request.mode).map_err(|error| store_failure(&error))?;
    if deletion.needs_provider() {
        let delivery = Delivery {
            provider: match request.provider {
                Some(given) => inputs::text_or_file(given)?,
                None => record.provider.clone().unwrap_or_default(),
            },
            credentials: request.credentials.map(inputs::text_or_file).transpose()?,
            snapshot: false,
        };
        let registry = context.registry()?;
        let cancelled = || interrupt.happened();
        let deleter = Deleter::new(&registry, store, &context.settings, &cancelled);
        if let Err(error) = deleter.delete_from_provider(record, &delivery) {
            let failure = Failure::from(&error);
            deletion.fail((&error).into()).map_err(|error| store_failure(&error))?;
            return Err(failure.hint(
                "mend it and delete again; `--provider` and `--credentials` may name others",
            ));
        }
    }
    deletion.finish().map_err(|error| store_failure(&error))
}

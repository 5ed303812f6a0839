//! `images log`: everything that happened to an image, as it was written down.

use std::time::Duration;

use super::args::Format;
use super::context::{Context, Interrupt, find, store_failure};
use super::error::{Exit, Failures};
use super::output::reader_gone;
use crate::images::{EventKind, ImageId, Status};

/// Time between two looks for news.
const PATIENCE: Duration = Duration::from_millis(500);

/// Prints the log of an image; with `follow`, goes on until it is finished.
pub(super) fn run(context: &Context, reference: &str, follow: bool) -> Result<Exit, Failures> {
    let store = context.store()?;
    let id = find(&store, reference)?.id;
    let interrupt = Interrupt::listen()?;
    let wants_document = context.output.format == Format::Json;
    let mut events = Vec::new();
    let mut status = None;
    let mut seen = 0;
    loop {
        let patience = if follow { PATIENCE } else { Duration::ZERO };
        let news =
            store.wait_for_events(&[id], seen, patience).map_err(|error| store_failure(&error))?;
        let nothing_new = news.is_empty();
        for event in news {
            seen = event.sequence;
            if let EventKind::Transition { to, .. } = &event.kind {
                status = Some(*to);
            }
            context.output.text(event.to_string());
            if wants_document {
                events.push(event);
            }
        }
        let over = !follow || status.is_some_and(Status::is_terminal);
        if interrupt.happened() {
            context.output.json(&events);
            return Ok(Exit::Cancelled);
        }
        if (nothing_new && over) || reader_gone() {
            break;
        }
        if follow && nothing_new && gone(&store, id) {
            break;
        }
    }
    context.output.json(&events);
    Ok(Exit::Done)
}

/// A build whose process died writes nothing more; the next recovery ends it.
fn gone(store: &crate::images::Store, id: ImageId) -> bool {
    !store.is_owned(id).unwrap_or(false)
}

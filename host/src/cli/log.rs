//! `images log`: everything that happened to an image, as it was written down.

use super::args::Format;
use super::context::Context;
use super::error::{Exit, Failures};
use super::interrupt::Interrupt;
use super::output::reader_gone;

/// Prints the log of an image; with `follow`, goes on until it is finished.
pub(super) fn run(context: &Context, reference: &str, follow: bool) -> Result<Exit, Failures> {
    let backend = context.backend();
    let id = backend.image(reference)?.id;
    let interrupt = Interrupt::listen()?;
    let wants_document = context.output.format == Format::Json;
    let mut events = Vec::new();
    backend.log(id, follow, &mut |news| {
        for event in news {
            context.output.text(event.to_string());
            if wants_document {
                events.push(event);
            }
        }
        !interrupt.happened() && !reader_gone()
    })?;
    context.output.json(&events);
    Ok(if interrupt.happened() { Exit::Cancelled } else { Exit::Done })
}

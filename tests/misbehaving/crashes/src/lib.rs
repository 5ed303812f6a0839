//! Ends the process: by a signal, by `exit`, by a stack without end.

#![expect(clippy::unnecessary_wraps, reason = "all families share one signature")]

use moments::Misbehaving;
use moments::faults::commit;
use plugin_api::{Builder, DelegateError};

plugin_api::export_plugin!(os => Misbehaving::new(act));

fn act(how: &str, _: Option<&Builder>) -> Result<(), DelegateError> {
    commit(how);
    Ok(())
}

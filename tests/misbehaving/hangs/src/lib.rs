//! Never comes back, whatever it is told: busy, asleep, stopped, or with children that shield
//! themselves.

#![expect(clippy::unnecessary_wraps, reason = "all families share one signature")]

use moments::Misbehaving;
use moments::faults::commit;
use plugin_api::{Builder, DelegateError};

plugin_api::export_plugin!(os => Misbehaving::new(act));

fn act(how: &str, _: Option<&Builder>) -> Result<(), DelegateError> {
    commit(how);
    // Whoever left children, or was woken up, goes on for ever as well.
    commit("sleep");
    Ok(())
}

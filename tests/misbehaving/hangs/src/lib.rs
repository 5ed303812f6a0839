//! Never comes back, whatever it is told: busy, asleep, or with children that shield themselves.

#![expect(clippy::disallowed_methods, reason = "starts children behind the host's back on purpose")]

use std::process::Command;
use std::thread;
use std::time::Duration;

use moments::Misbehaving;
use plugin_api::{Builder, DelegateError};

plugin_api::export_plugin!(os => Misbehaving::new(act));

/// Leaves its group, its session and its parent, and takes no hint.
const CHILD: &str = "trap '' TERM INT HUP; setsid sh -c 'trap \"\" TERM INT HUP; sleep 600' & \
                     setsid sh -c '(trap \"\" TERM; sleep 600) & (sleep 600) &'";

fn act(how: &str, _: Option<&Builder>) -> Result<(), DelegateError> {
    match how {
        "loop" => loop {
            std::hint::spin_loop();
        },
        "children" => drop(Command::new("sh").args(["-c", CHILD]).spawn()?),
        _ => {},
    }
    loop {
        thread::sleep(Duration::from_mins(10));
    }
}

//! Panics: with a text, with a number, with a value whose drop panics again.

#![expect(clippy::panic, reason = "panics on purpose")]

use std::panic::panic_any;

use moments::Misbehaving;
use plugin_api::{Builder, DelegateError};

plugin_api::export_plugin!(os => Misbehaving::new(act));

struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("the payload was dropped");
    }
}

fn act(how: &str, _: Option<&Builder>) -> Result<(), DelegateError> {
    match how {
        "number" => panic_any(7_u64),
        "bomb" => panic_any(Bomb),
        _ => panic!("panicked on purpose"),
    }
}

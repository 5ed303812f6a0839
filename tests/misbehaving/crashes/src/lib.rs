//! Ends the process: by a signal, by `exit`, by a stack without end.

#![expect(clippy::exit, reason = "ends the process on purpose")]
#![expect(clippy::unnecessary_wraps, reason = "all families share one signature")]

use std::hint::black_box;
use std::process;

use moments::Misbehaving;
use plugin_api::{Builder, DelegateError};
use rustix::process::{Signal, getpid, kill_process};

plugin_api::export_plugin!(os => Misbehaving::new(act));

fn act(how: &str, _: Option<&Builder>) -> Result<(), DelegateError> {
    match how {
        "segfault" => segfault(),
        "abort" => process::abort(),
        "overflow" => drop(overflow(0)),
        "exit-0" => process::exit(0),
        "exit-7" => process::exit(7),
        _ => drop(kill_process(getpid(), Signal::KILL)),
    }
    Ok(())
}

#[expect(unsafe_code, reason = "crashes on purpose")]
fn segfault() {
    let nowhere = black_box(std::ptr::without_provenance_mut::<u8>(8));
    // SAFETY: there is none; nothing is mapped there, and the kernel ends the process.
    unsafe { nowhere.write_volatile(1) }
}

#[expect(unconditional_recursion, reason = "overflows the stack on purpose")]
fn overflow(depth: u64) -> [u8; 4096] {
    let mut frame = black_box(overflow(black_box(depth + 1)));
    frame[0] = 1;
    black_box(frame)
}

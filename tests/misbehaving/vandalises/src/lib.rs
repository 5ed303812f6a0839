//! Breaks the process around it: its streams, its folder, its handlers, its descriptors.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use moments::Misbehaving;
use plugin_api::{Builder, DelegateError};
use rustix::fs::Mode;

plugin_api::export_plugin!(os => Misbehaving::new(act));

fn act(how: &str, _: Option<&Builder>) -> Result<(), DelegateError> {
    match how {
        "stdout" => scribble(1)?,
        "stderr" => scribble(2)?,
        "channel" => (100..110).for_each(|number| drop(scribble(number))),
        "folder" => std::env::set_current_dir("/")?,
        "umask" => drop(rustix::process::umask(Mode::from_bits_truncate(0o777))),
        "environment" => empty_environment(),
        "signals" => take_signals()?,
        "signals for ever" => {
            take_signals()?;
            moments::faults::commit("sleep");
        },
        // What the supervisor says is not for a plugin, so this reads nothing and never ends.
        "input for ever" => loop {
            std::io::copy(&mut std::io::stdin(), &mut std::io::sink())?;
            std::thread::sleep(std::time::Duration::from_millis(5));
        },
        _ => close_all(),
    }
    Ok(())
}

/// Garbage without an end of line, so that it meets the line of somebody else.
fn scribble(descriptor: u32) -> Result<(), DelegateError> {
    let path = format!("/proc/self/fd/{descriptor}");
    let mut stream = fs_err::OpenOptions::new().write(true).open(path)?;
    stream.write_all(b"\n\xff\xfe scribbled {\"progress\":300}\n{\"done\":\"\n{\"half\":")?;
    Ok(())
}

fn take_signals() -> Result<(), DelegateError> {
    for signal in [1, 2, 3, 13, 15, 17] {
        signal_hook::flag::register(signal, Arc::new(AtomicBool::new(false)))?;
    }
    Ok(())
}

#[expect(unsafe_code, reason = "breaks the process on purpose")]
fn empty_environment() {
    let names: Vec<_> = std::env::vars_os().map(|(name, _)| name).collect();
    for name in names {
        // SAFETY: there is none; another thread may be reading.
        unsafe { std::env::remove_var(name) }
    }
}

#[expect(unsafe_code, reason = "breaks the process on purpose")]
fn close_all() {
    let open = (0..256)
        .filter(|number| fs_err::exists(format!("/proc/self/fd/{number}")).unwrap_or(false));
    let open: Vec<i32> = open.collect();
    for descriptor in open {
        // SAFETY: there is none; the owners of these descriptors will be surprised.
        unsafe { rustix::io::close(descriptor) }
    }
}

//! What a plugin can do to its own process, wherever it stands: in a constructor of its library, in
//! its root module, in a delegate method.

use std::hint::black_box;
use std::panic::panic_any;
use std::process::Command;
use std::time::Duration;
use std::{process, thread};

use rustix::process::{Signal, getpid, kill_process};
use rustix::thread::set_name;

/// Leave their group, their session and their parent, and take no hint.
const CHILDREN: &str = "trap '' TERM INT HUP; setsid sh -c 'trap \"\" TERM INT HUP; sleep 600' & \
                        setsid sh -c '(trap \"\" TERM; sleep 600) & (sleep 600) &'";

/// Commits the fault called `how`. Few come back: `nothing`, `leave children`; an unknown one panics,
/// so that a misspelt case fails. The thread is called `misbehaving` from here on, which is seen from
/// outside even where a call leaves no other trace.
///
/// # Panics
/// When it is to panic.
pub fn commit(how: &str) {
    let named = set_name(c"misbehaving");
    assert!(named.is_ok(), "{named:?}");
    match how {
        "nothing" => {},
        "panic" => panic!("panicked on purpose"),
        "panic with a number" => panic_any(7_u64),
        "panic with a bomb" => panic_any(Bomb),
        "segfault" => segfault(),
        "abort" => process::abort(),
        "overflow the stack" => drop(overflow(0)),
        "exit 0" => process::exit(0),
        "exit 7" => process::exit(7),
        "kill itself" => drop(kill_process(getpid(), Signal::KILL)),
        "stop itself" => drop(kill_process(getpid(), Signal::STOP)),
        "loop" => loop {
            std::hint::spin_loop();
        },
        "sleep" => loop {
            thread::sleep(Duration::from_mins(10));
        },
        "multiply" => {
            for _ in 0..300 {
                drop(Command::new("sleep").arg("600").spawn());
            }
            commit("sleep");
        },
        "take memory" => drop(black_box(vec![0_u8; 64 << 30])),
        "leave children" => drop(Command::new("sh").args(["-c", CHILDREN]).spawn()),
        other => panic!("there is no fault `{other}`"),
    }
}

/// Panics again when it is dropped.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("the payload was dropped");
    }
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

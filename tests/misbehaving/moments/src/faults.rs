//! What a plugin can do to its own process, wherever it stands: in a constructor of its library, in
//! its root module, in a delegate method.

use std::hint::black_box;
use std::panic::panic_any;
use std::path::{Path, PathBuf};
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
        "read what is secret" => {
            let data = std::env::var_os("IMAGEFORGE_DATA_DIR").unwrap_or_default();
            assert!(!data.is_empty(), "no data directory");
            // Where another image is worked on only a delegate can tell from its own folder.
            let found = secrets(data.as_ref(), &Path::new(&data).join("work"));
            assert!(found.is_empty(), "found {found:?}");
        },
        "leave children" => drop(Command::new("sh").args(["-c", CHILDREN]).spawn()),
        other => panic!("there is no fault `{other}`"),
    }
}

/// Where tests put the settings of the host and what these name.
const OUTSIDE: [&str; 5] =
    ["settings.toml", "serve.toml", "consumer.secret", "own.key", "audit.log"];

/// What is seen of the host's own files: whatever is in its folder `data`, but for what builds share and
/// for `own`, and what can be read of secrets where the host was started.
pub fn secrets(data: &Path, own: &Path) -> Vec<PathBuf> {
    let shared = ["images", "cache", "libraries"].map(|name| data.join(name));
    let mut found = Vec::new();
    let mut folders = vec![data.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs_err::read_dir(folder).into_iter().flatten().filter_map(Result::ok) {
            let path = entry.path();
            if path == own || shared.contains(&path) {
                continue;
            }
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                folders.push(path);
            } else {
                found.push(path);
            }
        }
    }
    let outside = OUTSIDE.map(PathBuf::from).into_iter();
    found.extend(outside.filter(|path| fs_err::read(path).is_ok_and(|bytes| !bytes.is_empty())));
    found
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

//! Takes without end: memory, disk, open files, processes, log, events.
//!
//! Each stops far beyond what any limit should allow, so that a host without limits loses a test
//! and not its machine.

#![expect(clippy::disallowed_methods, reason = "starts children behind the host's back on purpose")]

use std::io::Write;
use std::process::Command;
use std::thread;
use std::time::Duration;

use moments::Misbehaving;
use plugin_api::{Builder, DelegateError};

plugin_api::export_plugin!(os => Misbehaving::new(act));

const MEBIBYTE: usize = 1 << 20;

fn act(how: &str, builder: Option<&Builder>) -> Result<(), DelegateError> {
    let Some(builder) = builder else {
        return Ok(());
    };
    match how {
        "memory" => {
            let taken: Vec<Vec<u8>> = (0..4096).map(|_| vec![1; MEBIBYTE]).collect();
            drop(std::hint::black_box(taken));
        },
        // What no limit of a process counts, only a control group.
        "shared memory" => {
            let mut file = fs_err::File::create("/dev/shm/taken")?;
            for _ in 0..512 {
                file.write_all(&vec![1; MEBIBYTE])?;
            }
        },
        "disk" => {
            let mut file = fs_err::File::create(builder.work_dir().join("full"))?;
            for _ in 0..4096 {
                file.write_all(&vec![1; MEBIBYTE])?;
                thread::sleep(Duration::from_millis(5));
            }
        },
        "files" => {
            let opened: Result<Vec<_>, _> =
                (0..1_000_000).map(|_| fs_err::File::open("/dev/null")).collect();
            drop(opened?);
        },
        "processes" => {
            let started: Result<Vec<_>, _> =
                (0..5000).map(|_| Command::new("sleep").arg("600").spawn()).collect();
            drop(started?);
        },
        "log" => {
            let line = "a line of a log that has no end, ".repeat(500);
            for number in 0..1000 {
                tracing::info!(number, "{line}");
            }
        },
        // A gigabyte.
        "output" => {
            let line = format!("{}\n", "a line of an output that has no end, ".repeat(400));
            let lines = line.repeat(MEBIBYTE / line.len() + 1);
            for _ in 0..1024 {
                std::io::stderr().write_all(lines.as_bytes())?;
            }
        },
        _ => {
            for number in 0..1_000_000_u32 {
                builder.progress(u8::try_from(number % 100).unwrap_or_default());
                if number % 10 == 9 {
                    builder.activity(format!("event {number}"));
                }
            }
        },
    }
    Ok(())
}

//! Promises of `sparse` and `formats`, judged by `qemu-img`, which must be installed.
#![expect(clippy::expect_used, reason = "helpers fail the test that calls them")]

mod disks;
mod hostile;
mod qemu;
mod readers;
mod streams;
mod writers;

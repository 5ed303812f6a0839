//! Promises of `sparse` and `formats`, judged by `qemu-img`, which must be installed.

mod disks;
mod hostile;
mod qemu;
mod readers;
mod streams;
mod writers;

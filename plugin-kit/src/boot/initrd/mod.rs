//! Initial RAM disks: the archive format, and one that mounts the root file system of a disk.
//!
//! [`Ramdisk`] writes any tree as a `newc` archive; [`debian`] fills one with BusyBox, the drivers of
//! the usual virtual and real disks, and a script that finds the root file system.

mod archive;
mod debian;
mod elf;
mod modules;

pub use archive::{Compression, InvalidPath, Node, Ramdisk};
pub use debian::{DISK_MODULES, DebianRamdisk, debian};
pub use elf::{ModuleError, ModuleInfo};
pub use modules::{Module, ModuleTree};

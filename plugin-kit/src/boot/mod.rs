//! What makes a disk boot: GRUB for BIOS and UEFI firmware, and the initial RAM disk.
//!
//! GRUB 2 serves both firmwares, so that one menu on the root file system is all that a kernel
//! update in the guest has to leave alone. Its core images carry every module that they need and
//! find their file system by its UUID; nothing but the menu is read from the disk.

pub mod bios;
pub mod grub;
pub mod initrd;
#[cfg(test)]
mod tests;

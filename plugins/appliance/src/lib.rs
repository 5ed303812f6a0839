//! OS plugin `appliance`: Debian's cloud kernel and BusyBox, booted in seconds on BIOS and UEFI.
//!
//! Start with `delegate`. A build reads its `settings`, fetches two `packages`, fills a RAM disk with
//! the `system` and writes the `disk`; everything below the delegate is plain functions.

mod delegate;
mod disk;
mod failure;
mod packages;
mod settings;
mod system;
#[cfg(test)]
mod tests;

plugin_api::export_plugin!(os => delegate::Appliance);

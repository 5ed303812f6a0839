//! Debian packages: where they come from, fetching them once, and reading what is in them.
//!
//! [`mirror`] finds the archive that the machine itself uses. [`Fetcher`] downloads packages through
//! apt, so that proxies, signatures and mirrors work as everywhere on the machine, into a cache by
//! content: what was fetched once needs no network again. [`deb`] reads the files of a package in
//! this process.

mod apt;
pub mod deb;
mod error;
mod fetch;
pub mod mirror;

#[cfg(test)]
mod tests;

pub use error::PackageError;
pub use fetch::{Archive, Fetcher, Freshness, Package};

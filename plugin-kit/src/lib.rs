//! Under construction.
pub mod boot;
pub mod disk;
pub mod formats;
pub mod packages;
pub mod run;
pub mod sparse;

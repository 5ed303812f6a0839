//! Under construction.
pub mod formats;
pub mod sparse;

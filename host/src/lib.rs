//! The imageforge host: finds plugins, plans and supervises builds, keeps images.
//!
//! Layers, each may use only those above it in this list:
//! 0 machinery that knows no plugin ([`template`] among it), 1 [`plugins`] and [`images`],
//! 2 `factory` and `boot`, 3 `cli`.

pub mod images;
pub mod plugins;
pub mod template;

//! The promises of [`fuzz`] on inputs that are kept, and on inputs that are made of them.
//!
//! `corpus` runs every committed input and every past finding; `twins` change them, as the
//! fuzzer would, on any toolchain; `findings` names what was found and mended.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed step is a failed test")]
#![allow(clippy::print_stdout, reason = "shown of a failed test: the input that it was at")]

mod corpus;
mod edits;
mod findings;
mod folder;
mod twins;

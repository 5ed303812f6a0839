#![no_main]
//! cargo-fuzz's way into [`fuzz::worker_output`].

libfuzzer_sys::fuzz_target!(|input: &[u8]| fuzz::worker_output(input));

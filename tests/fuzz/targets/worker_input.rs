#![no_main]
//! cargo-fuzz's way into [`fuzz::worker_input`].

libfuzzer_sys::fuzz_target!(|input: &[u8]| fuzz::worker_input(input));

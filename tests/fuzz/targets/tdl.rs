#![no_main]
//! cargo-fuzz's way into [`fuzz::tdl`].

libfuzzer_sys::fuzz_target!(|input: &[u8]| fuzz::tdl(input));

#![no_main]
//! cargo-fuzz's way into [`fuzz::parameters`].

libfuzzer_sys::fuzz_target!(|input: &[u8]| fuzz::parameters(input));

#![no_main]
//! cargo-fuzz's way into [`fuzz::info`].

libfuzzer_sys::fuzz_target!(|input: &[u8]| fuzz::info(input));

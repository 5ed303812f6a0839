#![no_main]
//! cargo-fuzz's way into [`fuzz::settings`].

libfuzzer_sys::fuzz_target!(|input: &[u8]| fuzz::settings(input));

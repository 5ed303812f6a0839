#![no_main]
//! cargo-fuzz's way into [`fuzz::round_trip`].

libfuzzer_sys::fuzz_target!(|input: &[u8]| fuzz::round_trip(input));

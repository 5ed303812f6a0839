#![no_main]
//! cargo-fuzz's way into [`fuzz::vhd`].

libfuzzer_sys::fuzz_target!(|input: &[u8]| fuzz::vhd(input));

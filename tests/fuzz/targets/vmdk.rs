#![no_main]
//! cargo-fuzz's way into [`fuzz::vmdk`].

libfuzzer_sys::fuzz_target!(|input: &[u8]| fuzz::vmdk(input));

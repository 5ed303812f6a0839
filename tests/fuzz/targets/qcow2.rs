#![no_main]
//! cargo-fuzz's way into [`fuzz::qcow2`].

libfuzzer_sys::fuzz_target!(|input: &[u8]| fuzz::qcow2(input));

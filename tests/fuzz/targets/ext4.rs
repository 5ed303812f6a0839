#![no_main]
//! cargo-fuzz's way into [`fuzz::ext4`].

libfuzzer_sys::fuzz_target!(|input: &[u8]| fuzz::ext4(input));

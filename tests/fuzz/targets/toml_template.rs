#![no_main]
//! cargo-fuzz's way into [`fuzz::toml_template`].

libfuzzer_sys::fuzz_target!(|input: &[u8]| fuzz::toml_template(input));

//! libFuzzer's way into `steadfast_fuzz::entry_decode`: `cargo fuzz run -s none --features libfuzzer entry_decode`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| steadfast_fuzz::entry_decode(input));

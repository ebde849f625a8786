//! libFuzzer's way into `steadfast_fuzz::resp_decode`: `cargo fuzz run -s none --features libfuzzer resp_decode`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| steadfast_fuzz::resp_decode(input));

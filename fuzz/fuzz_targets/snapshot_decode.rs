//! libFuzzer's way into `steadfast_fuzz::snapshot_decode`: `cargo fuzz run -s none --features libfuzzer snapshot_decode`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| steadfast_fuzz::snapshot_decode(input));

//! libFuzzer's way into `steadfast_fuzz::log_recover`: `cargo fuzz run -s none --features libfuzzer log_recover`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| steadfast_fuzz::log_recover(input));

//! libFuzzer's program for [`millrace_fuzz::block`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| millrace_fuzz::block(data));

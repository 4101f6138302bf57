//! libFuzzer's program for [`millrace_fuzz::message`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| millrace_fuzz::message(data));

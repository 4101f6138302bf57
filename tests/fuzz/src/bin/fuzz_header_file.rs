//! libFuzzer's program for [`millrace_fuzz::header_file`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| millrace_fuzz::header_file(data));

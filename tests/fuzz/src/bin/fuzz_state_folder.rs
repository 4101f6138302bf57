//! libFuzzer's program for [`millrace_fuzz::state_folder`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| millrace_fuzz::state_folder(data));

//! libFuzzer's program for [`millrace_fuzz::transport_v2`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| millrace_fuzz::transport_v2(data));

//! libFuzzer's program for [`millrace_fuzz::address_book`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| millrace_fuzz::address_book(data));

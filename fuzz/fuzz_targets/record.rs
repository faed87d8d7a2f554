//! One record, as if its CRC were right: all that can be asked of it has an answer or an error.
#![no_main]

use libfuzzer_sys::fuzz_target;
use walbrook_fuzz::{ask_everything, record};

fuzz_target!(|bytes: &[u8]| {
    if let Some(record) = record(bytes) {
        ask_everything(&record);
    }
});

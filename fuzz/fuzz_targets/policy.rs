//! The policy language: whatever the text, the reader answers with findings.
#![no_main]

use holdfast_appraisal::{Document, Policy};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let _ = Policy::parse(Document { name: "fuzz.toml", text }, &[]);
});

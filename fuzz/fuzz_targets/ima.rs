//! The kernel's list of measured files, as a node sends it. Nothing may panic, and nothing may take long.
#![no_main]

use holdfast_appraisal::ima::{DigestSet, ImaState};
use holdfast_evidence::crypto::Digest;
use holdfast_evidence::tpm::Bank;
use holdfast_evidence::tpm::ima::{Counters, Entries, Measured, Quoted, Resume, keys_of_pem, replay};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    for entry in Entries::new(bytes, 0).flatten() {
        let _ = Measured::of(&entry);
    }
    let counters = Counters { resets: 1, restarts: 0 };
    for bank in Bank::ALL {
        assert!(replay(bytes, None, &Quoted { bank, pcr: Digest::ones(bank), counters, boot: [0; 32] }).is_err());
    }
    let _ = Resume::parse(bytes);
    let _ = keys_of_pem(bytes);
    let text = String::from_utf8_lossy(bytes);
    let _ = DigestSet::parse(&text);
    let _ = ImaState::parse(&text);
});

//! Everything of kind `tpm` that a peer's bytes reach first. Nothing may panic, and nothing may take long.
#![no_main]

use holdfast_evidence::tpm::event_log::EventLog;
use holdfast_evidence::tpm::{Attest, Bank, IdentityMaterial, Public, Signature, TpmItem};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = Public::parse_either(bytes);
    let _ = Attest::parse(bytes);
    let _ = Signature::parse(bytes);
    let _ = IdentityMaterial::parse(bytes);
    let _ = TpmItem::parse(bytes);
    if let Ok(log) = EventLog::parse(bytes) {
        let _ = log.replay(Bank::Sha256);
    }
});

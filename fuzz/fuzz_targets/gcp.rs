//! Everything of kind `gcp` that a peer's bytes reach first. Nothing may panic, and nothing may take long.
#![no_main]

use holdfast_evidence::Evidence as _;
use holdfast_evidence::gcp::{GcpEvidence, Instance, checks};
use holdfast_evidence::x509::Roots;
use holdfast_identity::UnixTime;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(evidence) = GcpEvidence::parse(bytes) {
        let _ = evidence.commitment();
    }
    let _ = Instance::parse(bytes);
    if let Ok(certificate) = checks::leaf(bytes) {
        let _ = Instance::of(&certificate);
        let _ = checks::chain(&certificate, &[bytes], &Roots::new(), UnixTime(1_767_225_600));
    }
});

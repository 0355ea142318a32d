//! Everything of kind `azure` that a peer's bytes reach first. Nothing may panic, and nothing may take long.
#![no_main]

use holdfast_evidence::Evidence as _;
use holdfast_evidence::azure::{AzureEvidence, HclReport, RuntimeData, verify_ak_certificate};
use holdfast_evidence::crypto::PublicKey;
use holdfast_evidence::x509::Roots;
use holdfast_identity::UnixTime;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let now = UnixTime(1_767_225_600);
    if let Ok(evidence) = AzureEvidence::parse(bytes) {
        let _ = (evidence.wants(), evidence.commitment());
        let ak = PublicKey::ec(holdfast_evidence::crypto::Curve::P256, &[1; 32], &[2; 32]);
        if let Some(ak) = ak {
            let _ = verify_ak_certificate(&evidence.item().ak_certificates, &ak, &Roots::new(), now);
        }
    }
    if let Ok(report) = HclReport::parse(bytes) {
        let _ = RuntimeData::parse(report.runtime_data);
    }
    let _ = RuntimeData::parse(bytes);
});

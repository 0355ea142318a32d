//! Everything of kind `tdx` that a peer's bytes, or a collateral service's, reach first. Nothing may panic, and nothing
//! may take long.
#![no_main]

use holdfast_evidence::tdx::{CollateralParts, PckCa, PlatformKind, Quote, TdBoot, TdxEvidence, pck_chain};
use holdfast_evidence::x509::Roots;
use holdfast_evidence::Evidence as _;
use holdfast_identity::UnixTime;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(quote) = Quote::parse(bytes) {
        let _ = pck_chain(&quote, &Roots::new(), UnixTime(0));
    }
    if let Ok(evidence) = TdxEvidence::parse(bytes) {
        let _ = evidence.wants();
    }
    let _ = TdBoot::derive(bytes, &[[0; 48]; 4]);
    let mut parts = CollateralParts::new();
    if parts.add(bytes).is_ok() {
        let fmspcs: Vec<_> = parts.fmspcs().collect();
        for fmspc in fmspcs {
            let _ = parts.collateral(PlatformKind { fmspc, ca: PckCa::Platform });
        }
    }
});

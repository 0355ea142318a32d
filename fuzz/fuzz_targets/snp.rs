//! Everything of kind `snp` that a peer's bytes reach first. Nothing may panic, and nothing may take long.
#![no_main]

use holdfast_evidence::Evidence as _;
use holdfast_evidence::snp::{CertificateTable, SnpEndorsements, SnpEvidence, SnpItem, Vek, bundle, verify_report};
use holdfast_identity::UnixTime;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(evidence) = SnpEvidence::parse(bytes) {
        let _ = evidence.wants().vcek_paths();
    }
    let _ = SnpItem::parse(bytes);
    let _ = CertificateTable::parse(bytes).map(|table| table.certificates());
    let _ = bundle(bytes);
    let _ = Vek::parse(bytes);
    let (report, certificate) = bytes.split_at_checked(1184).unwrap_or((bytes, &[]));
    let _ = verify_report(report, &[certificate.to_vec()], &SnpEndorsements::default(), UnixTime(1_795_219_200));
});

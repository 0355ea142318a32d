//! Everything of kind `nitro` that a peer's bytes reach first. Nothing may panic, and nothing may take long.
#![no_main]

use holdfast_evidence::nitro::{Document, DocumentKind, NitroItem, checks, verify_chain};
use holdfast_evidence::x509::Roots;
use holdfast_identity::UnixTime;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = NitroItem::parse(bytes);
    let kind = DocumentKind::Enclave;
    if let Ok(document) = Document::parse(kind, bytes) {
        let _ = checks::algorithm(&document, kind);
        let _ = checks::debug(&document.pcrs);
        let _ = checks::module_id(&document, kind).map(|module| checks::instance(&document.pcrs, &module));
        // its own root, so that the walk begins
        let _ = verify_chain(&document, &roots(&document), &[], UnixTime(1_767_225_600));
    }
});

fn roots(document: &Document<'_>) -> Roots {
    let mut roots = Roots::new();
    let first = document.cabundle.first().copied().unwrap_or_default();
    if let Ok(anchor) = holdfast_evidence::x509::Anchor::new(first, holdfast_evidence::TrustClass::Simulated) {
        roots.add(anchor);
    }
    roots
}

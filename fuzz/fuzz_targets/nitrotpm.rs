//! Everything of kind `nitrotpm` that a peer's bytes reach first. Nothing may panic, and nothing may take long.
#![no_main]

use holdfast_evidence::nitro::{Document, DocumentKind, checks};
use holdfast_evidence::nitrotpm::{self, NitroTpmItem, quoting_key};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = NitroTpmItem::parse(bytes);
    let kind = DocumentKind::Tpm;
    if let Ok(document) = Document::parse(kind, bytes) {
        let _ = checks::algorithm(&document, kind);
        let _ = checks::module_id(&document, kind);
        let _ = nitrotpm::checks::measured(&document.pcrs);
        let _ = document.public_key.and_then(quoting_key);
    }
    let _ = quoting_key(bytes);
});

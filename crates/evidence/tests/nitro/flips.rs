//! No byte of a document may change: neither of a real one nor of ours, with the chain known or not.

use holdfast_evidence::nitro::{Document, DocumentKind};
use holdfast_identity::UnixTime;

use crate::judge::{Asked, aws, folder, judge};

fn no_byte_may_change(file: &str, kind: DocumentKind, now: UnixTime) {
    let Some(folder) = folder() else { return };
    let roots = aws(&folder);
    let bytes = std::fs::read(folder.join(file)).unwrap();
    let chain = judge(kind, &bytes, Asked::default(), &roots, &[], now).unwrap();
    let verified = [chain];
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 1 << (at % 8);
        let result = judge(kind, &changed, Asked::default(), &roots, &verified, now);
        assert!(result.is_err(), "{file}: byte {at}");
        assert!(Document::parse(kind, &bytes[..at]).is_err(), "{file}: cut at {at}");
    }
    let longer = [bytes.as_slice(), &[0]].concat();
    assert!(Document::parse(kind, &longer).is_err());
}

#[test]
fn no_byte_of_a_document_of_2022_may_change() {
    no_byte_may_change("nitro/veracruz-2022.cose", DocumentKind::Enclave, UnixTime(1_668_034_320));
}

#[test]
fn no_byte_of_a_document_of_a_signed_image_may_change() {
    no_byte_may_change("nitro/evervault-2022-pcr3-pcr8.cose", DocumentKind::Enclave, UnixTime(1_665_651_482));
}

#[test]
fn no_byte_of_a_document_of_2025_may_change() {
    no_byte_may_change("nitro/worldcoin-2025-09-signed-eif-pcr8.cose", DocumentKind::Enclave, UnixTime(1_758_628_609));
}

#[test]
fn no_byte_of_a_document_without_a_nonce_may_change() {
    no_byte_may_change("nitro/dstack-2025-12-a.cose", DocumentKind::Enclave, UnixTime(1_766_668_537));
}

#[test]
fn no_byte_of_a_nitrotpm_document_may_change() {
    no_byte_may_change("nitrotpm/attestation-doc.cose", DocumentKind::Tpm, UnixTime(1_770_113_522));
}

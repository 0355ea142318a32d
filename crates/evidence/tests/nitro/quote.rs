//! Quotes by the key in `public_key`: a real one reads as it should, and a forged one gains nothing.

use ciborium::Value;
use holdfast_evidence::Provenance;
use holdfast_evidence::crypto::HashAlg;
use holdfast_evidence::nitro::{Document, DocumentKind};
use holdfast_evidence::nitrotpm::read_quote;
use holdfast_evidence::tpm::{
    Attest, Attributes, Bank, ClockInfo, Hierarchy, PcrIndex, PcrSelection, PcrSet, Public, Scheme, Signature, Signed,
};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};

use crate::hypervisor::NOW;
use crate::judge::folder;
use crate::stage::{Stage, code};

/// r and s of a short DER signature, as a `TPMT_SIGNATURE`.
fn tpmt(der: &[u8]) -> Vec<u8> {
    let integer = |bytes: &[u8]| {
        let length = usize::from(bytes[1]);
        let number = &bytes[2..2 + length];
        (number[length - 32..].to_vec(), bytes[2 + length..].to_vec())
    };
    let (r, rest) = integer(&der[2..]);
    let (s, _) = integer(&rest);
    Signature::encode_ecdsa(HashAlg::Sha256, &[r, s].concat())
}

#[test]
fn the_quote_of_a_real_instance_agrees_with_its_document_and_stays_unauthenticated() {
    let Some(folder) = folder() else { return };
    let fixture = std::fs::read_to_string(folder.join("nitrotpm/vaportpm-fixture.json")).unwrap();
    let fixture: serde_json::Value = serde_json::from_str(&fixture).unwrap();
    let bytes = |value: &serde_json::Value| hex::decode(value.as_str().unwrap()).unwrap();
    let document = bytes(&fixture["attestation"]["nitro"]["document"]);
    let document = Document::parse(DocumentKind::Tpm, &document).unwrap();
    let quoted = &fixture["attestation"]["tpm"]["ecc_p256"];
    let (attest, signature) = (bytes(&quoted["attest_data"]), tpmt(&bytes(&quoted["signature"])));
    let signed = Signed { attest: &attest, signature: &signature };
    let nonce = bytes(&fixture["nonce"]);
    let quote = read_quote(document.public_key, &signed, &nonce).unwrap();
    assert!(quote.agrees_with(&document.pcrs));
    assert_eq!(quote.selection.pcrs.len(), 24);
    assert_eq!(quote.provenance(), Provenance::Unauthenticated);
    for at in 0..attest.len() {
        let mut changed = attest.clone();
        changed[at] ^= 1;
        assert!(read_quote(document.public_key, &Signed { attest: &changed, ..signed }, &nonce).is_err(), "byte {at}");
    }
    assert_eq!(read_quote(document.public_key, &signed, &nonce[1..]).unwrap_err().code(), "nitrotpm.quote.nonce");
    assert_eq!(read_quote(None, &signed, &nonce).unwrap_err().code(), "nitrotpm.quote.key");
    assert_eq!(read_quote(Some(b"my super secret key"), &signed, &nonce).unwrap_err().code(), "nitrotpm.quote.key");
}

/// The root of an instance makes a key in software, has it signed into a genuine document, and quotes PCRs of its choice.
#[test]
fn a_document_with_a_software_key_and_a_forged_quote_gain_nothing() {
    let rng = SystemRandom::new();
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &rng).unwrap();
    let software = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref(), &rng).unwrap();
    let point = software.public_key().as_ref().to_vec();

    let stage = Stage::new(DocumentKind::Tpm);
    let challenge = stage.draw();
    let binding = stage.binding(&challenge);
    let mut fields = stage.fields(&challenge);
    fields.set("public_key", Value::Bytes(point.clone()));
    let document = stage.hypervisor.sign(&fields);

    // PCRs that the instance does not have, quoted with every form that a TPM gives to a quote
    let selection = PcrSelection { bank: Bank::Sha384, pcrs: PcrIndex::all().collect::<PcrSet>() };
    let digest = HashAlg::Sha256.digest(&[&[0x77; 24 * 48]]);
    let key =
        holdfast_evidence::crypto::PublicKey::ec(holdfast_evidence::crypto::Curve::P256, &point[1..33], &point[33..]);
    let scheme = Scheme::Signing { algorithm: holdfast_evidence::crypto::SignatureAlg::Ecdsa, hash: 0x000b };
    let public = Public::encode(&key.unwrap(), HashAlg::Sha256, Attributes::AK_TEMPLATE, &[], None, scheme);
    let signer = Public::parse(&public).unwrap().name().qualified_in(Hierarchy::Endorsement);
    let clock = ClockInfo { clock: 1, reset_count: 2, restart_count: 3, safe: true };
    let attest = Attest::encode_quote(&signer, &binding, clock, 9, &selection, digest.as_bytes());
    let signature = software.sign(&rng, &attest).unwrap();
    let signature = Signature::encode_ecdsa(HashAlg::Sha256, signature.as_ref());

    // the quote is one by the document's key, and nobody may make more of it
    let parsed = Document::parse(DocumentKind::Tpm, &document).unwrap();
    let signed = Signed { attest: &attest, signature: &signature };
    let quote = read_quote(parsed.public_key, &signed, &binding).unwrap();
    assert_eq!(quote.provenance(), Provenance::Unauthenticated);
    assert!(!quote.agrees_with(&parsed.pcrs));

    // the document is genuine, and its claims are those of the hypervisor alone
    let genuine = parsed.pcrs.get(7).map(<[u8]>::to_vec);
    let admitted = stage.complete(challenge, DocumentKind::Tpm, &document, NOW).unwrap();
    assert_eq!((admitted.provenance, genuine), ("provider", Some(vec![0x27; 48])));

    // a renewal by quote alone has no form: the item takes a document and nothing behind it
    let renewal = stage.draw();
    assert_eq!(code(stage.complete(renewal, DocumentKind::Tpm, &attest, NOW)), "nitrotpm.document.malformed");
    let renewal = stage.draw();
    assert_eq!(code(stage.complete(renewal, DocumentKind::Tpm, &document, NOW)), "nitrotpm.document.nonce");
}

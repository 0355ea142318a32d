//! Every check on a document, by the one change that it must notice.

use ciborium::Value;
use holdfast_evidence::nitro::{DOCUMENT_BYTES_MAX, DocumentKind, checks};

use crate::hypervisor::{Fields, INSTANCE, NOW, encode, envelope, measured, module_id};
use crate::stage::{Stage, code};

const KINDS: [(DocumentKind, &str); 2] = [(DocumentKind::Enclave, "nitro"), (DocumentKind::Tpm, "nitrotpm")];

/// The change is refused with this code, below the name of either kind.
fn refused(expected: &str, change: impl Fn(&mut Fields)) {
    for (kind, name) in KINDS {
        assert_eq!(Stage::new(kind).code(&change), format!("{name}.{expected}"));
    }
}

#[test]
fn a_good_document_is_verified_and_names_its_module() {
    for (kind, _) in KINDS {
        let stage = Stage::new(kind);
        let challenge = stage.draw();
        let (id, document) = (challenge.id(), stage.hypervisor.sign(&stage.fields(&challenge)));
        let admitted = stage.complete(challenge, kind, &document, NOW).unwrap();
        assert_eq!(admitted.module_id, module_id(kind));
        assert_eq!(admitted.region.as_deref(), Some("us-east-1"));
        assert_eq!((admitted.challenge_id, &admitted.node_key), (id, &stage.node_key));
        assert_eq!(admitted.provenance, "provider");
    }
}

#[test]
fn a_tagged_document_is_verified_too() {
    for (kind, _) in KINDS {
        let stage = Stage::new(kind);
        let challenge = stage.draw();
        let tagged = [&[0xd2], stage.hypervisor.sign(&stage.fields(&challenge)).as_slice()].concat();
        assert!(stage.complete(challenge, kind, &tagged, NOW).is_ok());
    }
}

#[test]
fn a_payload_of_indefinite_length_is_verified_too() {
    for (kind, _) in KINDS {
        let stage = Stage::new(kind);
        let challenge = stage.draw();
        let definite = stage.fields(&challenge).encode();
        let indefinite = [&[0xbf], &definite[1..], &[0xff]].concat();
        assert!(stage.complete(challenge, kind, &stage.hypervisor.sign_payload(&indefinite), NOW).is_ok());
    }
}

#[test]
fn absent_fields_may_be_null_or_left_out_and_required_ones_may_not() {
    for (kind, name) in KINDS {
        let stage = Stage::new(kind);
        assert_eq!(stage.code(|fields| fields.remove("public_key")), "verified");
        assert_eq!(stage.code(|fields| fields.set("public_key", Value::Bytes(vec![4; 65]))), "verified");
        for field in ["module_id", "digest", "timestamp", kind.pcrs_key(), "certificate", "cabundle"] {
            let malformed = format!("{name}.document.malformed");
            assert_eq!(stage.code(|fields| fields.remove(field)), malformed, "{field} left out");
            assert_eq!(stage.code(|fields| fields.set(field, Value::Null)), malformed, "{field} null");
        }
        assert_eq!(stage.code(|fields| fields.remove("nonce")), format!("{name}.document.nonce"));
        assert_eq!(stage.code(|fields| fields.set("nonce", Value::Null)), format!("{name}.document.nonce"));
        assert_eq!(stage.code(|fields| fields.remove("user_data")), format!("{name}.document.binding"));
    }
}

#[test]
fn keys_that_stand_twice_are_refused() {
    for (kind, name) in KINDS {
        let stage = Stage::new(kind);
        for at in 0..9 {
            let malformed = format!("{name}.document.malformed");
            let doubled = stage.code(|fields| {
                let entry = fields.0[at].clone();
                fields.0.push(entry);
            });
            assert_eq!(doubled, malformed, "entry {at}");
        }
        let doubled = stage.code(|fields| {
            let pcrs = fields.get(kind.pcrs_key()).as_map_mut().unwrap();
            let entry = pcrs[0].clone();
            pcrs.push(entry);
        });
        assert_eq!(doubled, format!("{name}.document.malformed"));
    }
}

#[test]
fn keys_that_the_specification_does_not_have_are_refused() {
    refused("document.malformed", |fields| fields.set("debug", false));
    refused("document.malformed", |fields| fields.0.push((7.into(), Value::Null)));
}

#[test]
fn sizes_beyond_the_specification_are_refused() {
    for field in ["public_key", "user_data", "nonce", "certificate"] {
        refused("document.malformed", |fields| fields.set(field, Value::Bytes(vec![1; 1025])));
    }
    refused("document.malformed", |fields| fields.set("public_key", Value::Bytes(Vec::new())));
    refused("document.malformed", |fields| fields.set("certificate", Value::Bytes(Vec::new())));
    refused("document.malformed", |fields| fields.set("cabundle", Value::Array(Vec::new())));
    refused("document.malformed", |fields| fields.set("cabundle", Value::Array(vec![Value::Bytes(vec![1]); 9])));
    refused("document.malformed", |fields| fields.set("module_id", "i".repeat(129)));
    for (kind, name) in KINDS {
        let stage = Stage::new(kind);
        let huge = stage.hypervisor.sign_payload(&vec![0; DOCUMENT_BYTES_MAX]);
        assert_eq!(code(stage.complete(stage.draw(), kind, &huge, NOW)), format!("{name}.item.malformed"));
    }
}

#[test]
fn strings_in_pieces_and_long_spellings_are_refused() {
    let stage = Stage::new(DocumentKind::Enclave);
    let good = |challenge: &holdfast_evidence::Challenge| stage.fields(challenge).encode();
    let text = encode(&Value::Text("SHA384".to_owned()));
    for spelt in [&b"\x78\x06SHA384"[..], b"\x7f\x66SHA384\xff", b"\x46SHA384"] {
        let challenge = stage.draw();
        let payload = good(&challenge);
        let at = payload.windows(text.len()).position(|window| window == text).unwrap();
        let payload = [&payload[..at], spelt, &payload[at + text.len()..]].concat();
        let outcome = stage.complete(challenge, DocumentKind::Enclave, &stage.hypervisor.sign_payload(&payload), NOW);
        assert_eq!(code(outcome), "nitro.document.malformed", "{spelt:02x?}");
    }
    let challenge = stage.draw();
    let trailing = [good(&challenge).as_slice(), &[0xf6]].concat();
    let outcome = stage.complete(challenge, DocumentKind::Enclave, &stage.hypervisor.sign_payload(&trailing), NOW);
    assert_eq!(code(outcome), "nitro.document.malformed");
}

#[test]
fn an_empty_set_of_pcrs_is_refused() {
    for (kind, name) in KINDS {
        let empty = Stage::new(kind).code(|fields| fields.set(kind.pcrs_key(), Value::Map(Vec::new())));
        assert_eq!(empty, format!("{name}.document.malformed"));
    }
}

#[test]
fn pcrs_beyond_31_or_of_odd_sizes_are_refused() {
    for (kind, name) in KINDS {
        let stage = Stage::new(kind);
        let set = |number, value: Vec<u8>| stage.code(|fields| fields.set_pcr(kind.pcrs_key(), number, Some(value)));
        assert_eq!(set(32, vec![1; 48]), format!("{name}.document.malformed"));
        assert_eq!(set(u64::MAX, vec![1; 48]), format!("{name}.document.malformed"));
        assert_eq!(set(5, vec![1; 47]), format!("{name}.document.malformed"));
        assert_eq!(set(5, Vec::new()), format!("{name}.document.malformed"));
        // sizes of the specification, but not of SHA-384
        assert_eq!(set(5, vec![1; 32]), format!("{name}.document.digest"));
        assert_eq!(set(5, vec![1; 64]), format!("{name}.document.digest"));
    }
    assert_eq!(
        Stage::new(DocumentKind::Tpm).code(|fields| fields.set_pcr("nitrotpm_pcrs", 24, Some(vec![1; 48]))),
        "nitrotpm.pcr.unknown"
    );
}

#[test]
fn another_digest_is_refused() {
    refused("document.digest", |fields| fields.set("digest", "SHA256"));
    refused("document.digest", |fields| fields.set("digest", "sha384"));
}

#[test]
fn a_module_of_another_name_is_refused() {
    refused("document.module_id", |fields| fields.set("module_id", INSTANCE));
    refused("document.module_id", |fields| fields.set("module_id", ""));
    for (kind, name) in KINDS {
        let other = module_id(if kind == DocumentKind::Tpm { DocumentKind::Enclave } else { DocumentKind::Tpm });
        let refused = Stage::new(kind).code(|fields| fields.set("module_id", other));
        assert_eq!(refused, format!("{name}.document.module_id"));
    }
}

#[test]
fn a_document_that_names_another_module_than_its_certificate_is_refused() {
    let stage = Stage::new(DocumentKind::Enclave);
    let another = stage.with(|fields| fields.set("module_id", format!("{INSTANCE}-enc0123456789abcde0")));
    assert_eq!(another.unwrap_err(), ("nitro.chain.module", true));
}

#[test]
fn another_nonce_or_binding_is_refused() {
    refused("document.nonce", |fields| fields.set("nonce", Value::Bytes(vec![9; 32])));
    refused("document.nonce", |fields| fields.set("nonce", Value::Bytes(Vec::new())));
    refused("document.binding", |fields| fields.set("user_data", Value::Bytes(vec![9; 32])));
    refused("document.binding", |fields| {
        // what was asked, and something behind it
        let longer = [fields.get("user_data").as_bytes().unwrap().as_slice(), &[0]].concat();
        fields.set("user_data", Value::Bytes(longer));
    });
    refused("document.binding", |fields| {
        let shorter = fields.get("user_data").as_bytes().unwrap()[..31].to_vec();
        fields.set("user_data", Value::Bytes(shorter));
    });
}

#[test]
fn a_document_of_another_time_is_refused_although_its_chain_holds() {
    for (kind, name) in KINDS {
        let stage = Stage::new(kind);
        let now = u64::try_from(NOW.seconds()).unwrap();
        let bound = u64::try_from(checks::DOCUMENT_AGE_MAX).unwrap();
        let made = |seconds: u64| stage.with(|fields| fields.set("timestamp", seconds * 1000));
        assert!(made(now - bound).is_ok() && made(now + bound).is_ok());
        for seconds in [now - bound - 1, now + bound + 1, 0] {
            assert_eq!(made(seconds).unwrap_err(), (&*format!("{name}.document.timestamp").leak(), true));
        }
        let far = stage.code(|fields| fields.set("timestamp", u64::MAX));
        assert_eq!(far, format!("{name}.document.timestamp"));
        assert_eq!(stage.code(|fields| fields.set("timestamp", -1)), format!("{name}.document.malformed"));
    }
}

#[test]
fn an_enclave_in_debug_mode_is_refused_whichever_of_its_pcrs_is_zero() {
    let stage = Stage::new(DocumentKind::Enclave);
    for pcr in 0..3 {
        let zero = stage.with(|fields| fields.set_pcr("pcrs", pcr, Some(vec![0; 48])));
        assert_eq!(zero.unwrap_err(), ("nitro.pcr.debug", true), "PCR {pcr}");
        let absent = stage.with(|fields| fields.set_pcr("pcrs", pcr, None));
        assert_eq!(absent.unwrap_err(), ("nitro.pcr.missing", true), "PCR {pcr}");
    }
    // anything else may be unused
    assert_eq!(stage.code(|fields| fields.set_pcr("pcrs", 3, None)), "verified");
}

#[test]
fn pcr_4_of_another_instance_is_refused() {
    let stage = Stage::new(DocumentKind::Enclave);
    let set = |value: Option<Vec<u8>>| stage.with(|fields| fields.set_pcr("pcrs", 4, value)).unwrap_err();
    assert_eq!(set(Some(measured("i-0123456789abcdef1"))), ("nitro.pcr.instance", true));
    assert_eq!(set(Some(vec![0; 48])), ("nitro.pcr.instance", true));
    assert_eq!(set(None), ("nitro.pcr.missing", true));
}

#[test]
fn a_nitrotpm_that_firmware_never_extended_is_refused() {
    let stage = Stage::new(DocumentKind::Tpm);
    let unextended = stage.with(|fields| {
        for pcr in 0..8 {
            fields.set_pcr("nitrotpm_pcrs", pcr, Some(vec![0; 48]));
        }
    });
    assert_eq!(unextended.unwrap_err(), ("nitrotpm.pcr.bank_unextended", true));
    let absent = stage.with(|fields| fields.set_pcr("nitrotpm_pcrs", 7, None));
    assert_eq!(absent.unwrap_err(), ("nitrotpm.pcr.missing", true));
}

#[test]
fn a_der_signature_is_refused() {
    for (kind, name) in KINDS {
        let stage = Stage::new(kind);
        let challenge = stage.draw();
        let payload = stage.fields(&challenge).encode();
        let protected = [0xa1, 0x01, 0x38, 0x22];
        let raw = stage.hypervisor.signature(&protected, &payload);
        let integer = |number: &[u8]| [&[2, 49, 0], number].concat();
        let both = [integer(&raw[..48]), integer(&raw[48..])].concat();
        let der = [&[0x30, u8::try_from(both.len()).unwrap()], both.as_slice()].concat();
        let outcome = stage.complete(challenge, kind, &envelope(&protected, &payload, &der), NOW);
        assert_eq!(code(outcome), format!("{name}.document.signature_form"));
    }
}

#[test]
fn an_algorithm_that_is_not_the_number_of_es384_is_refused_although_the_signature_fits() {
    for (kind, name) in KINDS {
        let stage = Stage::new(kind);
        // ES256; ES384 by its name; 35 without its sign
        for protected in [&b"\xa1\x01\x26"[..], b"\xa1\x01\x65ES384", b"\xa1\x01\x18\x23"] {
            let challenge = stage.draw();
            let payload = stage.fields(&challenge).encode();
            let signature = stage.hypervisor.signature(protected, &payload);
            let outcome = stage.complete(challenge, kind, &envelope(protected, &payload, &signature), NOW);
            assert_eq!(code(outcome), format!("{name}.document.algorithm"));
        }
        for protected in [&b""[..], b"\xa0", b"\xa2\x01\x38\x22\x02\x80"] {
            let challenge = stage.draw();
            let payload = stage.fields(&challenge).encode();
            let signature = stage.hypervisor.signature(protected, &payload);
            let outcome = stage.complete(challenge, kind, &envelope(protected, &payload, &signature), NOW);
            assert_eq!(code(outcome), format!("{name}.document.malformed"));
        }
    }
}

#[test]
fn a_signature_of_another_key_is_refused() {
    for (kind, name) in KINDS {
        let (stage, other) = (Stage::new(kind), Stage::new(kind));
        let challenge = stage.draw();
        let forged = other.hypervisor.sign(&stage.fields(&challenge));
        assert_eq!(code(stage.complete(challenge, kind, &forged, NOW)), format!("{name}.document.signature"));
    }
}

#[test]
fn a_document_of_one_kind_never_passes_for_the_other() {
    for (kind, _) in KINDS {
        let stage = Stage::new(kind);
        let challenge = stage.draw();
        let document = stage.hypervisor.sign(&stage.fields(&challenge));
        let other = if kind == DocumentKind::Tpm { DocumentKind::Enclave } else { DocumentKind::Tpm };
        // the challenge did not even ask for it
        assert_eq!(code(stage.complete(challenge, other, &document, NOW)), "challenge.items");
    }
    // a signed document with both maps is none of either
    let stage = Stage::new(DocumentKind::Enclave);
    let both = stage.code(|fields| {
        let pcrs = fields.get("pcrs").clone();
        fields.set("nitrotpm_pcrs", pcrs);
    });
    assert_eq!(both, "nitro.document.malformed");
    let renamed = stage.code(|fields| {
        let pcrs = fields.get("pcrs").clone();
        fields.remove("pcrs");
        fields.set("nitrotpm_pcrs", pcrs);
    });
    assert_eq!(renamed, "nitro.document.kind");
}

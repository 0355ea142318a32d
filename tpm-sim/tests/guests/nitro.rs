//! Enclaves before rustls-webpki and ring, and before our own verifier.

use std::sync::Arc;

use ciborium::Value;
use holdfast_appraisal::facts;
use holdfast_evidence::nitro::{NitroClaims, NitroEndorsements, NitroEvidence, NitroItem};
use holdfast_evidence::x509::{Anchor, Roots};
use holdfast_evidence::{Evidence as _, EvidenceKind, TrustClass, Verified};
use holdfast_tpm_sim::guest::nitro::{Asked, DocumentSpec, NitroSpec, enclave_document};
use holdfast_tpm_sim::guest::{BY_POLICY, GuestKind, GuestSpec};
use rustls_pki_types::{CertificateDer, UnixTime};

use crate::lab;
use crate::policy::{assert_refused, assert_same_node};
use crate::stage::{Question, attack, attacked, now};

fn endorsements() -> NitroEndorsements {
    let mut roots = Roots::new();
    roots.add(Anchor::new(lab().hypervisor().unwrap().root(), TrustClass::Simulated).unwrap());
    NitroEndorsements { roots: Arc::new(roots), ..NitroEndorsements::default() }
}

fn verify(spec: &NitroSpec) -> Result<Verified<NitroClaims>, &'static str> {
    let question = Question::of(EvidenceKind::Nitro);
    let asked = Asked {
        nonce: Some(question.nonce().to_vec()),
        user_data: Some(question.binding(&[], None).to_vec()),
        public_key: None,
    };
    let document = enclave_document(spec, &lab().hypervisor().unwrap(), &asked).unwrap();
    let item = NitroItem { document: &document }.encode();
    let evidence = NitroEvidence::parse(&item).map_err(|malformed| malformed.code())?;
    let binding = question.answer(evidence.commitment());
    evidence.verify(&endorsements(), &binding, now()).map_err(|refusal| refusal.code())
}

fn facts_of(spec: &NitroSpec) -> facts::Facts {
    facts::nitro(&verify(spec).unwrap().claims().into())
}

/// Every form that an honest document may have.
fn honest() -> Vec<NitroSpec> {
    let forms = [(false, true), (true, true), (false, false), (true, false)];
    forms
        .into_iter()
        .map(|(tagged, indefinite)| {
            let document = DocumentSpec { tagged, indefinite, ..DocumentSpec::default() };
            NitroSpec { document, ..NitroSpec::default() }
        })
        .collect()
}

/// Checks a document with nothing of ours: CBOR by `ciborium`, the chain by rustls-webpki, the signature by ring.
fn judged_by_others(document: &[u8], root: &[u8]) -> Value {
    let parts = match ciborium::from_reader::<Value, _>(document).unwrap() {
        Value::Tag(18, inside) => inside.into_array().unwrap(),
        untagged => untagged.into_array().unwrap(),
    };
    let bytes = |at: usize| parts[at].as_bytes().unwrap().clone();
    let payload: Value = ciborium::from_reader(bytes(2).as_slice()).unwrap();
    let field = |name: &str| {
        let entries = payload.as_map().unwrap();
        entries.iter().find(|(key, _)| key.as_text() == Some(name)).map(|(_, value)| value.clone()).unwrap()
    };
    let leaf = CertificateDer::from(field("certificate").into_bytes().unwrap());
    let bundle: Vec<_> =
        field("cabundle").into_array().unwrap().into_iter().map(|der| der.into_bytes().unwrap()).collect();
    assert_eq!(bundle[0], root);
    let above: Vec<CertificateDer<'_>> =
        bundle[1..].iter().rev().map(|der| CertificateDer::from(der.clone())).collect();
    let root = CertificateDer::from(root);
    let anchors = [webpki::anchor_from_trusted_cert(&root).unwrap()];
    let end = webpki::EndEntityCert::try_from(&leaf).unwrap();
    let time = UnixTime::since_unix_epoch(std::time::Duration::from_secs(u64::try_from(now().seconds()).unwrap()));
    let usage = webpki::KeyUsage::required_if_present(&[0x2b, 6, 1, 5, 5, 7, 3, 1]);
    end.verify_for_usage(webpki::ALL_VERIFICATION_ALGS, &anchors, &above, time, usage, None, None).unwrap();

    let mut signed = Vec::new();
    let structure = ["Signature1".into(), Value::Bytes(bytes(0)), Value::Bytes(Vec::new()), Value::Bytes(bytes(2))];
    ciborium::into_writer(&Value::Array(structure.to_vec()), &mut signed).unwrap();
    let key = end.subject_public_key_info();
    let point = key.as_ref()[key.as_ref().len() - 97..].to_vec();
    let key = ring::signature::UnparsedPublicKey::new(&ring::signature::ECDSA_P384_SHA384_FIXED, point);
    key.verify(&signed, &bytes(3)).unwrap();
    payload
}

#[test]
fn others_accept_every_honest_document_and_read_what_was_asked() {
    let hypervisor = lab().hypervisor().unwrap();
    for spec in honest() {
        let asked = Asked { nonce: Some(vec![1; 32]), user_data: Some(vec![2; 32]), public_key: None };
        let document = enclave_document(&spec, &hypervisor, &asked).unwrap();
        let payload = judged_by_others(&document, hypervisor.root());
        let entries = payload.as_map().unwrap();
        let field = |name: &str| entries.iter().find(|(key, _)| key.as_text() == Some(name)).map(|(_, value)| value);
        assert_eq!(field("module_id").unwrap().as_text(), Some(spec.module_id.as_str()));
        assert_eq!(field("nonce").unwrap().as_bytes(), Some(&vec![1; 32]));
        assert_eq!(field("user_data").unwrap().as_bytes(), Some(&vec![2; 32]));
        assert!(field("public_key").unwrap().is_null(), "as AWS's, not left out");
        assert_eq!(field("pcrs").unwrap().as_map().unwrap().len(), 16);
    }
}

#[test]
fn our_verifier_accepts_every_honest_document_as_a_simulated_one() {
    for spec in honest() {
        let verified = verify(&spec).unwrap_or_else(|code| panic!("{code}: {spec:?}"));
        let claims = verified.claims();
        assert_eq!((claims.module_id.as_str(), claims.class()), (spec.module_id.as_str(), TrustClass::Simulated));
        assert_eq!(claims.region.as_deref(), Some("us-east-1"));
    }
}

#[test]
fn one_leaf_signs_the_documents_of_one_enclave_and_no_other() {
    let (one, other) = (NitroSpec::default(), NitroSpec::default());
    let chain = |spec: &NitroSpec| *verify(spec).unwrap().claims().chain.id();
    assert_eq!(chain(&one), chain(&one));
    assert_ne!(chain(&one), chain(&other));
}

#[test]
fn an_enclave_that_is_launched_again_has_another_name_and_the_same_parent() {
    let mut spec = NitroSpec::default();
    let before = spec.clone();
    spec.relaunch();
    assert_ne!(spec.module_id, before.module_id);
    assert_eq!(spec.instance_id, before.instance_id);
    verify(&spec).unwrap();
}

fn demands(spec: &NitroSpec) -> String {
    format!(
        "nitro.image = \"{}\"\nnitro.application = \"{}\"\nnitro.signer = \"{}\"",
        spec.pcrs[&0], spec.pcrs[&2], spec.pcrs[&8]
    )
}

fn refuse(name: &str) {
    let attack = attack(GuestKind::Nitro, name);
    let mut honest = NitroSpec::default();
    honest.pcrs.insert(8, "88".repeat(48));
    let GuestSpec::Nitro(spec) = attacked(GuestSpec::Nitro(Box::new(honest.clone())), attack) else {
        panic!("no enclave")
    };
    // our role's enclaves are ours, whichever instance they run on
    let demands = format!("nitro.role = \"{}\"\n{}", honest.pcrs[&3], demands(&honest));
    match attack.refused_as {
        Some(BY_POLICY) => {
            assert_refused("nitro", "nitro.module_id", &demands, &facts_of(&honest), &facts_of(&spec));
        }
        Some(code) => assert_eq!(verify(&spec).map(drop), Err(code)),
        None => assert_same_node("nitro", "nitro.module_id", &demands, &facts_of(&honest), &facts_of(&spec)),
    }
}

crate::refused! { GuestKind::Nitro, refuse;
    debug debug_image_named tampered_image same_kernel other_role other_signer other_instance missing_pcr no_pcrs replayed_nonce
    no_nonce replayed_user_data no_user_data longer_user_data shorter_user_data stale from_the_future other_leaf own_root forged_leaf not_a_ca
    long_path leaf_is_ca no_key_usage expired_issuer expired_leaf other_module other_kind other_algorithm other_digest der_signature
    key_twice unknown_key bytes_behind_document re_encoded_document tampered_document
}

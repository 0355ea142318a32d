//! Instances with a NitroTPM: the vendor command in front of a real swtpm, and the document that comes of it, before our own
//! verifier.

use std::sync::Arc;

use ciborium::Value;
use holdfast_appraisal::facts;
use holdfast_evidence::nitrotpm::{NitroTpmClaims, NitroTpmEndorsements, NitroTpmEvidence, NitroTpmItem, read_quote};
use holdfast_evidence::tpm::Signed;
use holdfast_evidence::x509::{Anchor, Roots};
use holdfast_evidence::{Evidence as _, EvidenceKind, Provenance, TrustClass, Verified};
use holdfast_tpm_sim::guest::vtpm::gather;
use holdfast_tpm_sim::guest::vtpm::nitrotpm::NitroTpmSpec;
use holdfast_tpm_sim::guest::{BY_POLICY, GuestKind, GuestSpec};

use crate::lab;
use crate::policy::{assert_refused, assert_same_node};
use crate::stage::{Question, attack, attacked, now};
use crate::tpm::{OWNER, Running, Tpm, sized};

const BUFFER: u32 = 0x0180_0000;
const NSM_REQUEST: u32 = 0x2000_0001;

fn launch(name: &str, spec: &NitroTpmSpec) -> Running {
    Running::launch(&format!("test-nitrotpm-{name}"), &GuestSpec::NitroTpm(Box::new(spec.clone())))
}

/// What AWS's tool does, but for its session: the simulator does not check one.
fn document(tpm: &mut Tpm, user_data: &[u8], nonce: &[u8]) -> Result<Vec<u8>, u32> {
    let password = [0x5a; 64];
    let public = [&BUFFER.to_be_bytes()[..], &[0, 0x0d, 0, 4, 0, 4, 0, 0], &8192_u16.to_be_bytes()].concat();
    tpm.send(0x12a, &[OWNER], Some(&[]), &[sized(&password), sized(&public)].concat())?;
    let bytes = |bytes: &[u8]| Value::Bytes(bytes.to_vec());
    let asked = vec![
        ("user_data".into(), bytes(user_data)),
        ("nonce".into(), bytes(nonce)),
        ("public_key".into(), Value::Null),
    ];
    let mut request = Vec::new();
    ciborium::into_writer(&Value::Map(vec![("Attestation".into(), Value::Map(asked))]), &mut request).unwrap();
    tpm.send(0x137, &[BUFFER, BUFFER], Some(&password), &[&sized(&request)[..], &[0, 0]].concat())?;
    tpm.send(NSM_REQUEST, &[BUFFER, BUFFER], Some(&password), &[])?;
    assert_eq!(tpm.nv_read(BUFFER, &[1; 64], 16), Err(0x98e), "by another password");
    let answer = tpm.nv_read(BUFFER, &password, 8192)?;
    tpm.send(0x122, &[OWNER, BUFFER], Some(&[]), &[])?;
    let answer: Value = ciborium::from_reader(answer.as_slice()).unwrap();
    let field = |value: &Value, name: &str| {
        value.as_map().unwrap().iter().find(|(key, _)| key.as_text() == Some(name)).map(|(_, value)| value.clone())
    };
    let document = field(&answer, "Attestation").and_then(|attestation| field(&attestation, "document"));
    Ok(document.unwrap_or_else(|| panic!("{answer:?}")).into_bytes().unwrap())
}

fn verify(running: &Running) -> Result<Verified<NitroTpmClaims>, &'static str> {
    let question = Question::of(EvidenceKind::NitroTpm);
    let document = document(&mut running.tpm(), &question.binding(&[], None), question.nonce()).unwrap();
    let item = NitroTpmItem { document: &document }.encode();
    let evidence = NitroTpmEvidence::parse(&item).map_err(|malformed| malformed.code())?;
    let binding = question.answer(evidence.commitment());
    let mut roots = Roots::new();
    roots.add(Anchor::new(lab().hypervisor().unwrap().root(), TrustClass::Simulated).unwrap());
    let endorsements = NitroTpmEndorsements { roots: Arc::new(roots), ..NitroTpmEndorsements::default() };
    evidence.verify(&endorsements, &binding, now()).map_err(|refusal| refusal.code())
}

fn facts_of(verified: &Verified<NitroTpmClaims>) -> facts::Facts {
    facts::nitrotpm(&verified.claims().into(), None)
}

#[test]
fn a_document_tells_the_pcrs_of_the_tpm_and_changes_with_them() {
    let spec = NitroTpmSpec::default();
    let running = launch("pcrs", &spec);
    let first = verify(&running).unwrap();
    let pcr = |verified: &Verified<NitroTpmClaims>, number: u8| {
        verified
            .claims()
            .pcrs
            .iter()
            .find(|(pcr, _)| *pcr == number)
            .map(|(_, digest)| digest.as_bytes().to_vec())
            .unwrap()
    };
    assert_eq!(first.claims().pcrs.len(), 24);
    assert_eq!(first.claims().module_id.as_str(), spec.module_id);
    assert_eq!(pcr(&first, 17), [0xff; 48]);
    // another kernel: PCR 4 is another, PCR 7 is not
    let changed = NitroTpmSpec {
        quoting: holdfast_tpm_sim::guest::vtpm::Quoting {
            profile: "changed-kernel".to_owned(),
            ..spec.quoting.clone()
        },
        ..spec
    };
    running.guest.keep(&GuestSpec::NitroTpm(Box::new(changed))).unwrap();
    let second = verify(&running).unwrap();
    assert_ne!(pcr(&first, 4), pcr(&second, 4));
    assert_eq!(pcr(&first, 7), pcr(&second, 7));
}

#[test]
fn the_vendor_command_is_listed_and_nothing_is_left_behind() {
    let running = launch("listed", &NitroTpmSpec::default());
    let mut tpm = running.tpm();
    let parameters: Vec<u8> = [2, NSM_REQUEST, 1].iter().flat_map(|word: &u32| word.to_be_bytes()).collect();
    let listed = tpm.send(0x17a, &[], None, &parameters).unwrap();
    assert_eq!(listed[9..], 0x2400_0001_u32.to_be_bytes());
    let before = tpm.handles(0x0180_0000);
    document(&mut tpm, &[1], &[2]).unwrap();
    assert_eq!(tpm.handles(0x0180_0000), before);
    // an index that nobody defined as a buffer is none
    assert!(tpm.send(NSM_REQUEST, &[0x0180_0005, 0x0180_0005], Some(&[]), &[]).is_err());
}

fn refuse(name: &str) {
    let attack = attack(GuestKind::NitroTpm, name);
    let honest = GuestSpec::NitroTpm(Box::default());
    let GuestSpec::NitroTpm(spec) = &honest else { panic!("no NitroTPM") };
    let running = launch(name, spec);
    let before = verify(&running).unwrap();
    running.guest.keep(&attacked(honest, attack)).unwrap();
    let after = verify(&running);
    let (kind, name) = ("nitrotpm", "nitrotpm.instance_id");
    let demands = |before: &Verified<NitroTpmClaims>| {
        let digests = &before.claims().pcrs;
        let pinned = digests.iter().filter(|(pcr, _)| matches!(pcr, 4 | 7 | 8 | 9));
        let demands: Vec<String> = pinned
            .map(|(pcr, digest)| format!("nitrotpm.pcr.{pcr} = \"{}\"", hex::encode(digest.as_bytes())))
            .collect();
        demands.join("\n")
    };
    match attack.refused_as {
        Some(BY_POLICY) => {
            assert_refused(kind, name, &demands(&before), &facts_of(&before), &facts_of(&after.unwrap()));
        }
        Some(code) => assert_eq!(after.map(drop), Err(code)),
        None => assert_same_node(kind, name, &demands(&before), &facts_of(&before), &facts_of(&after.unwrap())),
    }
}

/// Root on a machine that booted another kernel names a key of its own, which quotes the right kernel's PCRs: it does so
/// flawlessly, and no rule is moved by it.
#[test]
fn a_quote_by_a_key_in_software_is_read_and_proves_nothing() {
    let honest = GuestSpec::NitroTpm(Box::default());
    let GuestSpec::NitroTpm(spec) = &honest else { panic!("no NitroTPM") };
    let running = launch("forged-quote", spec);
    let before = verify(&running).unwrap();
    running.guest.keep(&attacked(honest, attack(GuestKind::NitroTpm, "software-key"))).unwrap();
    let files = gather(lab(), &running.guest, &[2; 32], &[1; 32]).unwrap();
    let file = |name: &str| files.iter().find(|(found, _)| *found == name).map(|(_, contents)| contents.as_slice());
    let (attest, signature) = (file("quote.msg").unwrap(), file("quote.sig").unwrap());
    let after = verify(&running).unwrap();
    let claims = after.claims();
    let quote = read_quote(claims.public_key.as_deref(), &Signed { attest, signature }, &[1; 32]).unwrap();
    assert_eq!(quote.provenance(), Provenance::Unauthenticated);
    assert!(!quote.selection.pcrs.is_empty());
    let shown = facts::nitrotpm(&claims.into(), Some(&quote));
    let fourth = before.claims().pcrs.iter().find(|(pcr, _)| *pcr == 4).unwrap().1;
    let demands = format!("nitrotpm.pcr.4 = \"{}\"", hex::encode(fourth.as_bytes()));
    assert_refused("nitrotpm", "nitrotpm.instance_id", &demands, &facts_of(&before), &shown);
}

crate::refused! { GuestKind::NitroTpm, refuse;
    tampered_image software_key tampered_command_line secure_boot_off other_boot_manager unmeasured missing_pcr no_pcrs replayed_nonce no_nonce
    replayed_user_data no_user_data longer_user_data shorter_user_data stale from_the_future other_leaf own_root forged_leaf not_a_ca long_path
    leaf_is_ca no_key_usage expired_issuer expired_leaf
    other_module enclave_for_instance other_algorithm other_digest der_signature key_twice unknown_key bytes_behind_document re_encoded_document tampered_document
}

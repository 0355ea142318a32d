//! Attestation results: which fact earns which claim, and what a token carries. Each rule flips with its fact.

use holdfast_appraisal::decision::{Approval, Ownership};
use holdfast_appraisal::ear::{
    AttestationResult, BadToken, Claim, Format, ItemResult, Judged, Prepared, SIMULATED, Tier, Token, TrustVector,
    VerifierId, appraised, key_id, unverified,
};
use holdfast_appraisal::facts::{Fact, FactId, Facts};
use holdfast_appraisal::{Policy, Value};
use holdfast_evidence::crypto::{Curve, PublicKey};
use holdfast_evidence::{EvidenceKind, Provenance};
use holdfast_identity::UnixTime;
use proptest::prelude::*;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, UnparsedPublicKey,
};

use crate::decision::require;
use crate::machine::{hex, judge, listed, machine, parse, policy, set, with};

fn results(policy: &Policy, facts: &Facts, ownership: &Ownership) -> Vec<ItemResult> {
    let verdict = judge(policy, facts, ownership);
    appraised(policy, facts, Judged::from(&verdict))
}

fn tpm(rule: &str, facts: &Facts) -> ItemResult {
    let mut results = results(&policy(rule), facts, &listed());
    assert_eq!(results.len(), 1);
    results.remove(0)
}

/// A rule that names all that ran, and Secure Boot.
fn pinning() -> String {
    let (a1, a2) = (hex(0xa1), hex(0xa2));
    require(&format!(
        "tpm.secure_boot.enabled = true\ntpm.boot.applications = {{ exactly = [\"{a1}\", \"{a2}\"] }}\n\
         tpm.boot.loaded_files = {{ exactly = [\"{}\"] }}",
        hex(0xf1)
    ))
}

fn booted() -> Facts {
    with("tpm.boot.loaded_files", &[&hex(0xf1)])
}

fn claims(item: &ItemResult) -> [i8; 5] {
    [Claim::InstanceIdentity, Claim::Configuration, Claim::Executables, Claim::Hardware, Claim::RuntimeOpaque]
        .map(|claim| item.vector.get(claim))
}

#[test]
fn an_admitted_machine_earns_what_the_policy_names_and_its_facts_prove() {
    let item = tpm(&pinning(), &booted());
    assert_eq!((claims(&item), item.status, item.label.as_str()), ([2, 2, 3, 2, 0], Tier::Affirming, "tpm"));
    // No fact proves these, so nobody claims them.
    for claim in [Claim::FileSystem, Claim::StorageOpaque, Claim::SourcedData] {
        assert_eq!(item.vector.get(claim), 0);
    }
}

#[test]
fn a_policy_that_names_nothing_earns_no_claim_about_what_ran() {
    assert_eq!(claims(&tpm("", &booted())), [2, 0, 0, 2, 0]);
    // A minimum or a deny list is no list of what is approved.
    let some = require(&format!("tpm.boot.applications = {{ none_of = [\"{}\"] }}", hex(9)));
    assert_eq!(claims(&tpm(&some, &booted())), [2, 0, 0, 2, 0]);
    // Half of what ran is not all of it.
    let half = require(&format!("tpm.boot.applications = {{ subset_of = [\"{}\", \"{}\"] }}", hex(0xa1), hex(0xa2)));
    assert_eq!(claims(&tpm(&half, &booted()))[2], 0);
    // Where it is proven that nothing else was loaded, it is.
    assert_eq!(claims(&tpm(&half, &with("tpm.boot.loaded_files", &[])))[2], 3);
}

#[test]
fn each_weakness_flips_its_claim() {
    for (fact, value, claim, expected) in [
        ("tpm.secure_boot.enabled", "false", Claim::Configuration, 32),
        ("tpm.secure_boot.dma_protection_disabled", "true", Claim::Configuration, 32),
    ] {
        let item = tpm("", &with(fact, &[value]));
        assert_eq!((item.vector.get(claim), item.status), (expected, Tier::Warning), "{fact}");
    }
}

#[test]
fn what_differs_flips_its_claim_and_the_status_is_contraindicated() {
    let other = hex(0x66);
    for (rule, facts, claim, expected) in [
        (pinning(), with("tpm.boot.applications", &[&other]), Claim::Executables, 33),
        (pinning(), with("tpm.boot.loaded_files", &[&other]), Claim::Executables, 33),
        (require("tpm.firmware_version = { at_least = \"8\" }"), machine(), Claim::Hardware, 32),
        (
            require("tpm.secure_boot.enabled = true"),
            with("tpm.secure_boot.enabled", &["false"]),
            Claim::Configuration,
            32,
        ),
        (String::new(), with("tpm.class", &["vtpm"]), Claim::Hardware, 97),
    ] {
        let item = tpm(&rule, &facts);
        assert_eq!((item.vector.get(claim), item.status), (expected, Tier::Contraindicated), "{rule}");
    }
    let deny = format!(
        "[[deny]]\nname = \"bad\"\nreason = \"revoked\"\nwhen = {{ \"tpm.boot.applications\" = {{ any_of = [\"{}\"] }} }}\n",
        hex(0xa1)
    );
    assert_eq!(claims(&tpm(&deny, &machine()))[2], 96);
}

#[test]
fn who_is_not_recognised_or_turned_down_is_said_so() {
    let identity = |policy: &Policy, ownership: &Ownership| {
        let item = results(policy, &machine(), ownership).remove(0);
        (item.vector.get(Claim::InstanceIdentity), item.status)
    };
    let (inventory, unknown) = (policy(""), Ownership::unknown());
    assert_eq!(identity(&inventory, &listed()), (2, Tier::Affirming));
    assert_eq!(identity(&inventory, &unknown), (97, Tier::Contraindicated));
    let denied = Ownership { approval: Approval::Denied, ..listed() };
    assert_eq!(identity(&inventory, &denied), (96, Tier::Contraindicated));
    let text = crate::machine::policy_text("").replace("\"inventory\"", "\"approval\"");
    let approval = parse(&text).unwrap();
    assert_eq!(identity(&approval, &unknown), (97, Tier::Contraindicated));
    let given = Ownership { approval: Approval::Given, ..Ownership::unknown() };
    assert_eq!(identity(&approval, &given), (2, Tier::Affirming));
    let any = "ownership = \"any-genuine-device\"\nownership_reason = \"a laboratory\"";
    let any = parse(&crate::machine::policy_text("").replace("ownership = \"inventory\"", any)).unwrap();
    assert_eq!(identity(&any, &unknown), (0, Tier::Affirming));
}

#[test]
fn nothing_below_a_simulators_root_is_affirmed_and_a_providers_word_is_no_hardware() {
    let below = |provenance: Provenance| {
        let mut facts = Facts::new();
        booted().iter().for_each(|(id, fact)| facts.insert(id, Fact { provenance, ..fact.clone() }));
        tpm(&pinning(), &facts)
    };
    let simulated = below(Provenance::Simulated);
    assert_eq!(claims(&simulated), [SIMULATED, SIMULATED, SIMULATED, SIMULATED, 0]);
    assert_eq!(simulated.status, Tier::Warning);
    let provider = below(Provenance::Provider);
    assert_eq!((claims(&provider), provider.status), ([2, 2, 3, 0, 0], Tier::Affirming));
}

/// A confidential guest's facts, and a policy that names its measurement.
fn guest(changed: &[(&str, &str)]) -> ItemResult {
    let mut facts = Facts::new();
    let measurement = "ab".repeat(48);
    for (name, value) in [
        ("snp.class", "discrete"),
        ("snp.report_id", hex(7).as_str()),
        ("snp.measurement", measurement.as_str()),
        ("snp.policy.debug", "false"),
        ("snp.policy.migration_agent", "false"),
        ("snp.firmware.provisional", "false"),
        ("snp.tcb.reported.snp", "20"),
    ]
    .into_iter()
    .chain(changed.iter().copied())
    {
        set(&mut facts, name, &[value.to_owned()]);
    }
    let rule = format!(
        "require = {{ \"snp.measurement\" = \"{measurement}\", \"snp.tcb.reported.snp\" = {{ at_least = 20 }} }}"
    );
    let text = format!(
        "api_version = \"holdfast/1\"\nkind = \"policy\"\nname = \"test\"\n[issue]\n\
         node_id = \"/holdfast/node/snp/{{snp.report_id}}\"\n[[rule]]\nname = \"guests\"\nevidence = [\"snp\"]\n\
         ownership = \"approval\"\ntrust_classes = [\"discrete\"]\n{rule}\n"
    );
    let policy = parse(&text).unwrap_or_else(|findings| panic!("{findings:#?}"));
    let given = Ownership { approval: Approval::Given, ..Ownership::unknown() };
    results(&policy, &facts, &given).remove(0)
}

#[test]
fn each_bit_of_a_guest_flips_its_claim() {
    let good = guest(&[]);
    assert_eq!((claims(&good), good.status), ([2, 2, 3, 2, 2], Tier::Affirming));
    let measurement = "cd".repeat(48);
    for (fact, value, expected) in [
        ("snp.policy.debug", "true", [2, 96, 3, 2, 96]),
        ("snp.policy.migration_agent", "true", [2, 32, 3, 2, 2]),
        ("snp.firmware.provisional", "true", [2, 2, 3, 32, 2]),
        ("snp.tcb.reported.snp", "19", [0, 0, 0, 32, 2]),
        ("snp.measurement", measurement.as_str(), [0, 0, 33, 2, 2]),
    ] {
        assert_eq!(claims(&guest(&[(fact, value)])), expected, "{fact}");
    }
}

#[test]
fn evidence_that_did_not_verify_earns_nothing() {
    let item = unverified(EvidenceKind::Snp, false);
    assert_eq!((claims(&item), item.status), ([99, 99, 99, 99, 0], Tier::Contraindicated));
    let item = unverified(EvidenceKind::Snp, true);
    assert_eq!((claims(&item), item.status), ([1, 1, 1, 1, 0], Tier::Contraindicated));
}

#[test]
fn results_read_back_as_decisions_keep_them_and_never_better() {
    let item = tpm(&pinning(), &booted());
    assert_eq!(ItemResult::from_json(&item.to_json()), Some(item.clone()));
    let mut forged = unverified(EvidenceKind::Tpm, false).to_json();
    forged["status"] = "affirming".into();
    assert_eq!(ItemResult::from_json(&forged).unwrap().status, Tier::Contraindicated);
    let banned = item.contraindicated("banned");
    assert_eq!((banned.vector.get(Claim::InstanceIdentity), banned.status), (96, Tier::Contraindicated));
}

fn result() -> AttestationResult {
    AttestationResult {
        issuer: "spiffe://example.org".to_owned(),
        subject: Some("spiffe://example.org/holdfast/node/tpm/e1".to_owned()),
        issued_at: UnixTime(1_780_272_000),
        expires: Some(UnixTime(1_780_279_200)),
        nonce: Some((0..8).collect()),
        verifier: VerifierId { developer: "holdfast".to_owned(), build: "test".to_owned() },
        policy_ids: vec![format!("sha256:{}", hex(5))],
        items: vec![tpm(&pinning(), &booted()), unverified(EvidenceKind::Snp, true)],
        floor: Tier::None,
    }
}

struct Signer(EcdsaKeyPair);

impl Signer {
    fn new() -> Self {
        let random = SystemRandom::new();
        let key = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
        Self(EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, key.as_ref(), &random).unwrap())
    }

    fn public(&self) -> PublicKey {
        let point = self.0.public_key().as_ref();
        PublicKey::ec(Curve::P256, &point[1..33], &point[33..]).unwrap()
    }

    fn token(&self, format: Format) -> Vec<u8> {
        let prepared = Prepared::new(&result(), format, &key_id(&self.public().spki())).unwrap();
        let signature = self.0.sign(&SystemRandom::new(), prepared.to_be_signed()).unwrap();
        prepared.with(signature.as_ref()).unwrap()
    }
}

#[test]
fn tokens_of_both_forms_say_the_same_and_verify_with_their_key_alone() {
    let (signer, stranger) = (Signer::new(), Signer::new());
    for format in [Format::Cwt, Format::Jwt] {
        let token = Token::read(&signer.token(format)).unwrap();
        assert_eq!(token.format, format);
        assert_eq!(token.result.to_json(), result().to_json());
        assert_eq!(token.result.status(), Tier::Contraindicated);
        assert_eq!(token.key_id, key_id(&signer.public().spki()));
        assert_eq!(token.verify(&signer.public()), Ok(()));
        assert_eq!(token.verify(&stranger.public()), Err(BadToken::Signature));
    }
}

#[test]
fn every_byte_of_a_token_counts() {
    let signer = Signer::new();
    for format in [Format::Cwt, Format::Jwt] {
        let token = signer.token(format);
        for at in 0..token.len() {
            let mut changed = token.clone();
            changed[at] ^= 1;
            let accepted = Token::read(&changed).is_ok_and(|token| token.verify(&signer.public()).is_ok());
            // The tag in front is not signed: without it, it is no token.
            assert!(!accepted, "{format:?}: byte {at}");
        }
        for end in 0..token.len() {
            assert!(Token::read(&token[..end]).map_or(true, |token| token.verify(&signer.public()).is_err()));
        }
    }
    assert_eq!(Token::read(&vec![0xd2; (64 << 10) + 1]).unwrap_err(), BadToken::TooLong((64 << 10) + 1));
}

/// Reads a CWT with another reader and verifies it by hand: RFC 9052, Sig_structure.
#[test]
fn a_cwt_is_what_rfc_9052_and_the_draft_say() {
    use ciborium::value::Value as Cbor;
    let signer = Signer::new();
    let bytes = signer.token(Format::Cwt);
    let Cbor::Tag(18, inner) = ciborium::from_reader::<Cbor, _>(bytes.as_slice()).unwrap() else { panic!("no tag 18") };
    let parts = inner.into_array().unwrap();
    let [Cbor::Bytes(protected), Cbor::Map(unprotected), Cbor::Bytes(payload), Cbor::Bytes(signature)] =
        parts.as_slice()
    else {
        panic!("not four parts");
    };
    assert!(unprotected.is_empty());
    let header: Cbor = ciborium::from_reader(protected.as_slice()).unwrap();
    assert_eq!(header.as_map().unwrap()[0], (1.into(), (-7).into()));
    let structure = Cbor::Array(vec![
        Cbor::Text("Signature1".to_owned()),
        Cbor::Bytes(protected.clone()),
        Cbor::Bytes(Vec::new()),
        Cbor::Bytes(payload.clone()),
    ]);
    let mut signed = Vec::new();
    ciborium::into_writer(&structure, &mut signed).unwrap();
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, signer.0.public_key().as_ref())
        .verify(&signed, signature)
        .unwrap();
    let claims: Cbor = ciborium::from_reader(payload.as_slice()).unwrap();
    let get = |key: i64| claims.as_map().unwrap().iter().find(|(found, _)| *found == key.into()).unwrap().1.clone();
    assert_eq!(get(265), Cbor::Text("tag:ietf.org,2026:rats/ear#04".to_owned()));
    assert_eq!((get(6), get(4), get(1000)), (1_780_272_000.into(), 1_780_279_200.into(), 96.into()));
    assert_eq!(get(10), Cbor::Bytes((0..8).collect()));
    let submods = get(266).into_map().unwrap();
    let (label, submod) = &submods[1];
    assert_eq!(label.as_text(), Some("tpm"));
    let submod = submod.as_map().unwrap();
    assert_eq!(submod[0], (1000.into(), 2.into()));
    let vector: Vec<(Cbor, Cbor)> =
        vec![(0.into(), 2.into()), (1.into(), 2.into()), (2.into(), 3.into()), (4.into(), 2.into())];
    assert_eq!(submod[1], (1001.into(), Cbor::Map(vector)));
}

#[test]
fn another_algorithm_or_profile_is_refused() {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    let part = |value: &serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let token = |header: serde_json::Value, claims: &serde_json::Value| {
        Token::read(format!("{}.{}.", part(&header), part(claims)).as_bytes()).unwrap_err()
    };
    let claims = result().to_json();
    assert_eq!(token(serde_json::json!({"alg": "none"}), &claims), BadToken::Algorithm);
    assert_eq!(token(serde_json::json!({"alg": "HS256"}), &claims), BadToken::Algorithm);
    assert_eq!(token(serde_json::json!({"alg": "ES256", "crit": ["x"]}), &claims), BadToken::Form);
    let mut other = claims.clone();
    other["eat_profile"] = "tag:github.com,2023:veraison/ear".into();
    assert_eq!(token(serde_json::json!({"alg": "ES256"}), &other), BadToken::Form);
}

#[test]
fn a_whole_that_is_said_to_be_worse_than_its_parts_is() {
    let good = AttestationResult { items: vec![tpm(&pinning(), &booted())], ..result() };
    assert_eq!(good.status(), Tier::Affirming);
    assert_eq!(AttestationResult { floor: Tier::Contraindicated, ..good }.status(), Tier::Contraindicated);
}

#[test]
fn a_vector_without_claims_is_still_one() {
    let empty: TrustVector = [(Claim::Hardware, 0)].into_iter().collect();
    assert_eq!(empty.worst(), Tier::None);
    assert_eq!(empty.to_json(), serde_json::json!({ "instance-identity": 0 }));
    assert_eq!(FactId::class_of(EvidenceKind::Tpm).to_string(), "tpm.class");
    assert_eq!(Value::Bool(true).to_string(), "true");
}

proptest! {
    #[test]
    fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), tagged in any::<bool>()) {
        let bytes = if tagged { [vec![0xd2], bytes].concat() } else { bytes };
        let _ = Token::read(&bytes);
    }
}

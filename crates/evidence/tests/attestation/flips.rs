//! Every byte of every piece of evidence counts, and no bytes make the readers panic.

use holdfast_evidence::tpm::{Ask, Attest, IdentityMaterial, KnownTpm, PcrSelection, Public, Signature, TpmItem};
use proptest::prelude::*;

use crate::pki::NOW;
use crate::stage::Stage;

/// Flips one bit of every byte in turn, and cuts the bytes at every place.
fn spoilt(bytes: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    let flips = (0..bytes.len()).map(|at| {
        let mut spoilt = bytes.to_vec();
        spoilt[at] ^= 1 << (at % 8);
        spoilt
    });
    flips.chain((0..bytes.len()).step_by(7).map(|at| bytes[..at].to_vec()))
}

#[test]
fn no_byte_of_the_evidence_item_may_change() {
    let stage = Stage::new();
    let drawn = stage.enrol();
    let (item, spki) = (stage.answer(&drawn).encode(), stage.tpm.node_key.spki());
    assert!(stage.complete_bytes(&drawn.seal, &item, &spki, NOW).is_ok());
    for (n, spoilt) in spoilt(&item).enumerate() {
        assert!(stage.complete_bytes(&drawn.seal, &spoilt, &spki, NOW).is_err(), "change {n} of the item");
    }
    assert!(stage.complete_bytes(&drawn.seal, &[item, vec![0]].concat(), &spki, NOW).is_err());
}

#[test]
fn no_byte_of_the_sealed_challenge_or_the_node_key_may_change() {
    let stage = Stage::new();
    let drawn = stage.enrol();
    let (item, spki) = (stage.answer(&drawn).encode(), stage.tpm.node_key.spki());
    for (n, spoilt) in spoilt(&drawn.seal).enumerate() {
        assert!(stage.complete_bytes(&spoilt, &item, &spki, NOW).is_err(), "change {n} of the seal");
    }
    for (n, spoilt) in spoilt(&spki).enumerate() {
        assert!(stage.complete_bytes(&drawn.seal, &item, &spoilt, NOW).is_err(), "change {n} of the node key");
    }
}

#[test]
fn no_byte_of_the_nonce_or_the_ask_may_change() {
    let stage = Stage::new();
    let drawn = stage.enrol();
    let spki = stage.tpm.node_key.spki();
    for at in 0..32 {
        let mut nonce = drawn.nonce;
        nonce[at] ^= 1;
        let item = stage.tpm.answer(&drawn.ask, &nonce, &stage.trust_domain).encode();
        assert!(stage.complete_bytes(&drawn.seal, &item, &spki, NOW).is_err(), "nonce byte {at}");
    }
}

#[test]
fn no_byte_of_the_identity_material_may_change_and_lead_to_an_admission() {
    use holdfast_evidence::Purpose;
    use holdfast_evidence::tpm::{Endorsers, Invitation};
    let stage = Stage::new();
    let material = stage.tpm.material().encode();
    let endorsers = Endorsers {
        roots: &stage.roots,
        expired_issuers: Default::default(),
        platforms: &stage.platforms,
        devices: &stage.devices,
    };
    let spki = stage.tpm.node_key.spki();
    for (n, spoilt) in spoilt(&material).enumerate() {
        let Ok(spoilt) = IdentityMaterial::parse(&spoilt) else { continue };
        let rng = ring::rand::SystemRandom::new();
        let Ok(invitation) = Invitation::new(&spoilt, &stage.wanted, endorsers, NOW, &rng) else { continue };
        // A changed AK can be invited; its credential then activates for that Name only, which no TPM holds.
        let drawn = stage.draw(invitation, Purpose::Enrol);
        let name = stage.tpm.ak.public.name().to_vec();
        assert_eq!(stage.tpm.eks[0].activate(&drawn.ask.credentials[0], &name), None, "change {n}");
        let mut answer = stage.tpm.answer(&stage.enrol().ask, &drawn.nonce, &stage.trust_domain);
        answer.secrets = vec![vec![0; 32]];
        assert!(stage.complete_bytes(&drawn.seal, &answer.encode(), &spki, NOW).is_err(), "change {n}");
    }
}

#[test]
fn what_is_encoded_is_read_back() {
    let stage = Stage::new();
    let material = stage.tpm.material();
    assert_eq!(IdentityMaterial::parse(&material.encode()), Ok(material));
    let drawn = stage.enrol();
    assert_eq!(Ask::parse(&drawn.ask.encode()), Ok(drawn.ask.clone()));
    let answer = stage.answer(&drawn);
    assert_eq!(TpmItem::parse(&answer.encode()), Ok(answer.item()));
    assert_eq!(KnownTpm::parse(&stage.known().encode()), Ok(stage.known()));
}

#[test]
fn what_is_larger_or_more_than_allowed_is_refused_before_it_is_kept() {
    use crate::virtual_tpm::Log;
    use holdfast_evidence::tpm::OfferedEk;
    let stage = Stage::new();
    let ek = stage.tpm.eks[0].offered();
    let with = |endorsement| IdentityMaterial { endorsement, ..stage.tpm.material() }.encode();
    for (what, oversized) in [
        ("keys", with(vec![ek.clone(); 5])),
        ("certificate", with(vec![OfferedEk { certificate: vec![0; 9000], ..ek.clone() }])),
        ("chain", with(vec![OfferedEk { chain: vec![Vec::new(); 9], ..ek.clone() }])),
        ("chain certificate", with(vec![OfferedEk { chain: vec![vec![0; 9000]], ..ek.clone() }])),
        ("public", with(vec![OfferedEk { public: vec![0; 1000], ..ek }])),
    ] {
        assert_eq!(IdentityMaterial::parse(&oversized).unwrap_err().code(), "tpm.material.malformed", "{what}");
    }
    let answer = stage.answer(&stage.enrol());
    let mut spoilt: Vec<(&str, crate::virtual_tpm::Answer)> = vec![("log", answer.clone()); 6];
    spoilt[0].1.log = Log::Bytes(vec![0; (1 << 20) + 1]);
    spoilt[1] = ("secrets", answer.clone());
    spoilt[1].1.secrets = vec![vec![0; 32]; 5];
    spoilt[2] = ("secret", answer.clone());
    spoilt[2].1.secrets = vec![vec![0; 65]];
    spoilt[3] = ("attest", answer.clone());
    spoilt[3].1.quote = vec![0; 600];
    spoilt[4] = ("claims twice", answer.clone());
    spoilt[4].1.claims = vec![(1, vec![0; 32]), (1, vec![0; 32])];
    spoilt[5] = ("claims out of order", answer);
    spoilt[5].1.claims = vec![(2, vec![0; 32]), (1, vec![0; 32])];
    for (what, answer) in spoilt {
        assert_eq!(TpmItem::parse(&answer.encode()).unwrap_err().code(), "tpm.item.malformed", "{what}");
    }
}

#[test]
fn a_large_challenge_fits_its_limit() {
    use crate::virtual_tpm::EndorsementKey;
    let mut stage = Stage::new();
    let more = (0..3).map(|_| EndorsementKey::new(&stage.ca));
    stage.tpm.eks.extend(more);
    assert!(stage.enrol().seal.len() < holdfast_evidence::challenge::SEAL_BYTES_MAX / 2);
    assert!(stage.enrol_with(|_| {}).is_ok());
}

proptest! {
    #[test]
    fn no_bytes_panic_a_reader(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = IdentityMaterial::parse(&bytes);
        let _ = Ask::parse(&bytes);
        let _ = TpmItem::parse(&bytes);
        let _ = KnownTpm::parse(&bytes);
        let _ = Attest::parse(&bytes);
        let _ = Signature::parse(&bytes);
        let _ = Public::parse_either(&bytes);
        let _ = PcrSelection::parse(&bytes);
    }

    #[test]
    fn no_mutation_panics_a_reader(at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<prop::sample::Index>()) {
        let selection = crate::stage::select(&[]);
        let signer = holdfast_evidence::tpm::Name::of(holdfast_evidence::crypto::HashAlg::Sha256, &[b"x"]);
        let clock = holdfast_evidence::tpm::ClockInfo { clock: 1, reset_count: 2, restart_count: 3, safe: true };
        let mut attest = Attest::encode_quote(&signer, &[1; 32], clock, 4, &selection, &[5; 32]);
        let place = at.index(attest.len());
        attest[place] = byte;
        attest.truncate(cut.index(attest.len()) + 1);
        if let Ok(parsed) = Attest::parse(&attest) {
            prop_assert_eq!(parsed.bytes, &attest[..]);
        }
    }
}

//! The same checks again from what a record kept.

use holdfast_evidence::tpm::{TpmClaims, TpmEvidence};
use holdfast_evidence::{Challenge, ClaimedKey, Evidence as _, RecordedChallenge, Replayed};

use crate::pki::NOW;
use crate::stage::{Drawn, Stage};

/// What the server keeps of the challenge when it is answered.
fn kept(stage: &Stage, drawn: &Drawn) -> Vec<u8> {
    Challenge::open(&drawn.seal, &stage.ring, &stage.trust_domain, NOW).unwrap().to_record()
}

fn replay(stage: &Stage, challenge: &[u8], item: &[u8], spki: &[u8]) -> Result<Replayed<TpmClaims>, &'static str> {
    let challenge = RecordedChallenge::parse(challenge).map_err(|malformed| malformed.code())?;
    let evidence = TpmEvidence::parse(item).map_err(|malformed| malformed.code())?;
    let key = ClaimedKey::from_spki(spki).map_err(|malformed| malformed.code())?;
    let binding = challenge.answer(key, &[evidence.commitment()]).map_err(|refused| refused.code())?;
    binding.replay(&evidence, &stage.endorsements, NOW.plus(1)).map_err(|unverified| unverified.code())
}

#[test]
fn what_was_verified_verifies_again_a_year_later_without_the_servers_keys() {
    let stage = Stage::new();
    let drawn = stage.enrol();
    let (item, spki) = (stage.answer(&drawn).encode(), stage.tpm.node_key.spki());
    let then = stage.complete_bytes(&drawn.seal, &item, &spki, NOW.plus(1)).unwrap();
    let again = replay(&stage, &kept(&stage, &drawn), &item, &spki).unwrap();
    assert_eq!(again.challenge_id(), then.challenge_id());
    assert_eq!(format!("{:?}", again.claims()), format!("{:?}", then.claims()));
}

#[test]
fn what_was_refused_is_refused_again_for_the_same_reason() {
    let stage = Stage::new();
    let drawn = stage.enrol();
    let mut answer = stage.answer(&drawn);
    answer.quote_signature = stage.tpm.ak.sign(b"something else");
    let (item, spki) = (answer.encode(), stage.tpm.node_key.spki());
    let then = stage.complete_bytes(&drawn.seal, &item, &spki, NOW.plus(1)).unwrap_err();
    assert_eq!(replay(&stage, &kept(&stage, &drawn), &item, &spki).unwrap_err(), then);
}

#[test]
fn no_byte_of_a_recorded_challenge_that_the_machine_signed_for_may_change() {
    let stage = Stage::new();
    let drawn = stage.enrol();
    let (item, spki) = (stage.answer(&drawn).encode(), stage.tpm.node_key.spki());
    let challenge = kept(&stage, &drawn);
    let ours = stage.trust_domain.as_str().len();
    // Version, id (16), nonce (32), trust domain (2 and its bytes), expiry (8), purpose: the id alone is only ours.
    for at in (0..1).chain(17..17 + 32 + 2 + ours) {
        let mut changed = challenge.clone();
        changed[at] ^= 1;
        assert!(replay(&stage, &changed, &item, &spki).is_err(), "byte {at}");
    }
    for cut in 0..challenge.len() {
        assert!(RecordedChallenge::parse(&challenge[..cut]).is_err());
    }
    assert!(RecordedChallenge::parse(&[challenge, vec![0]].concat()).is_err());
}

//! Who a guest is: its registered launch, else its node key. Never its host, never its image.

use holdfast_appraisal::decision::{InventoryAnswer, Listing};
use holdfast_appraisal::facts::{FactId, Ownable, TdxFact, owner_digest, owner_marks, tdx};
use holdfast_appraisal::{Ownership, Value};
use holdfast_evidence::Verified;
use holdfast_evidence::crypto::sha256;
use holdfast_evidence::tdx::TdxClaims;

use crate::attested;
use crate::td::{Td, at};

fn instance(verified: &Verified<TdxClaims>, ownership: &Ownership) -> Value {
    tdx(verified.claims(), ownership).get(FactId::Tdx(TdxFact::Instance)).unwrap().values[0].clone()
}

fn digest(bytes: [u8; 32]) -> Value {
    Value::parse(holdfast_appraisal::ValueType::Digest, &hex::encode(bytes)).unwrap()
}

#[test]
fn two_guests_of_one_image_on_one_chip_are_two_nodes() {
    let (first, second) = (attested(Td::v4(), None), attested(Td::v4(), None));
    let nobody = Ownership::unknown();
    assert_eq!(first.claims().quote.platform(), second.claims().quote.platform());
    assert_eq!(first.claims().launch(), second.claims().launch());
    assert_ne!(instance(&first, &nobody), instance(&second, &nobody));
    assert_eq!(instance(&first, &nobody), digest(sha256(&[first.claims().node_key.spki()])));
}

#[test]
fn a_registered_launch_names_its_guest_and_no_other_launch_does() {
    let announced = attested(Td::v4(), None);
    let launch = announced.claims().launch().digest();
    let answer = |listing| InventoryAnswer { digest: launch, listing };
    let registered = Ownership { inventory: vec![answer(Listing::Listed)], ..Ownership::unknown() };
    assert_eq!(instance(&announced, &registered), digest(launch));
    let turned_down = Ownership { inventory: vec![answer(Listing::NotListed)], ..Ownership::unknown() };
    assert_ne!(instance(&announced, &turned_down), digest(launch));
    // an MRCONFIGID of its own is another launch
    let other = attested(Td::v4().with(|td| td.body[at::MRCONFIGID] ^= 1), None);
    assert_ne!(instance(&other, &registered), digest(launch));
}

#[test]
fn what_can_be_listed_beforehand_is_the_launch_and_the_host() {
    let verified = attested(Td::v4(), None);
    let facts = tdx(verified.claims(), &Ownership::unknown());
    let marks: Vec<_> = owner_marks(&facts).map(|mark| (mark.fact, mark.ownable, mark.digest)).collect();
    let piid = FactId::Tdx(TdxFact::Piid);
    let expected = [
        (FactId::Tdx(TdxFact::Launch), Ownable::Launch, verified.claims().launch().digest()),
        (piid, Ownable::Inventory, owner_digest(piid, &Value::text(&"22".repeat(16)))),
    ];
    assert_eq!(marks, expected);
}

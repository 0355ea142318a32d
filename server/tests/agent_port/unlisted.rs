//! Machines that are genuine and nobody's: how far they may fill the record; and whose word counts for how much today.

use holdfast_server::clock;
use holdfast_server::store::{NodeAction, NodeTarget, Sha256, Standing};

use crate::house::{BY, House, import, settings, word};
use crate::virtual_tpm::{Spoil, VirtualTpm};

/// Attempts of one such machine that are written in a day.
const WRITTEN: usize = 32;

#[tokio::test]
async fn a_machine_that_nobody_listed_fills_the_record_so_far_and_is_admitted_once_it_is_listed() {
    let house = House::open().await;
    let mut tpm = VirtualTpm::that_comes_again(&house.vendor);
    for _ in 0..WRITTEN + 3 {
        let refused = house.stranger().await.attest(&mut tpm, &house.boot).await.unwrap_err();
        assert_eq!(word(&refused), "refused", "it learns no more than before");
    }
    let head = house.store.head().await.unwrap();
    assert_eq!(house.attempts().await.len(), WRITTEN);
    // Others have not lost anything by it, and neither has it once it is ours.
    house.stranger().await.attest(&mut VirtualTpm::new(&house.vendor), &house.boot).await.unwrap_err();
    assert_eq!(house.attempts().await.len(), WRITTEN + 1);
    house.allow(&tpm).await;
    let admitted = house.enrol(&mut tpm).await;
    assert_eq!(house.attempts().await[0].id.to_string(), admitted.attempt_id);
    assert!(house.store.head().await.unwrap().size > head.size);
}

#[tokio::test]
async fn a_machine_of_ours_is_written_down_however_often_it_is_refused() {
    let house = House::open().await;
    let mut tpm = VirtualTpm::that_comes_again(&house.vendor);
    house.allow(&tpm).await;
    house.apply("[rule.require]\ntpm.secure_boot.enabled = false").await;
    for _ in 0..WRITTEN + 3 {
        house.stranger().await.attest(&mut tpm, &house.boot).await.unwrap_err();
    }
    assert_eq!(house.attempts().await.len(), WRITTEN + 3);
}

#[tokio::test]
async fn a_node_that_sends_junk_on_its_own_connection_fills_the_record_so_far_and_stands_on_what_it_showed() {
    let house = House::open().await;
    let mut tpm = house.machine().await;
    let (own, admitted) = house.stand(&mut tpm).await;
    let (before, stood) = (house.attempts().await.len(), house.node(&admitted.spiffe_id).await);
    let most = settings().our_attempts as usize;
    tpm.spoil = Spoil::QuoteSignature;
    for _ in 0..most + 3 {
        assert_eq!(word(&own.renew(&mut tpm, &house.boot).await.unwrap_err()), "refused");
    }
    tpm.spoil = Spoil::Nothing;
    assert_eq!(house.attempts().await.len(), before + most);
    let stands = house.node(&admitted.spiffe_id).await;
    assert_eq!((stands.standing, stands.last_attempt), (Standing::Admitted, stood.last_attempt));
    // What ends its standing is written all the same, and so is its coming back.
    house.apply("[rule.require]\ntpm.secure_boot.enabled = false").await;
    assert_eq!(word(&own.renew(&mut tpm, &house.boot).await.unwrap_err()), "refused");
    let ended = house.attempts().await.remove(0);
    assert_eq!((house.attempts().await.len(), ended.code.as_str()), (before + most + 1, "policy.no_rule_matched"));
    house.apply("").await;
    assert_eq!(house.enrol(&mut tpm).await.spiffe_id, admitted.spiffe_id);
    assert_eq!(house.attempts().await.len(), before + most + 2);
}

#[tokio::test]
async fn a_machine_that_is_banned_is_nobodys_whoever_listed_it() {
    let house = House::open().await;
    let mut tpm = VirtualTpm::that_comes_again(&house.vendor);
    house.allow(&tpm).await;
    let target = NodeTarget::Mark(Sha256(tpm.ek_digests()[0]));
    let ban = NodeAction::Ban { reason: "sold".to_owned() };
    house.store.act(target, ban, BY, clock::now()).await.unwrap().unwrap();
    for _ in 0..WRITTEN + 3 {
        let refused = house.stranger().await.attest(&mut tpm, &house.boot).await.unwrap_err();
        assert_eq!(word(&refused), "refused");
    }
    assert_eq!(house.attempts().await.len(), WRITTEN);
}

#[tokio::test]
async fn a_machine_of_ours_that_is_frozen_fills_the_record_so_far_and_comes_back_when_it_is_thawed() {
    let house = House::open().await;
    let mut tpm = VirtualTpm::that_comes_again(&house.vendor);
    house.allow(&tpm).await;
    let admitted = house.enrol(&mut tpm).await;
    let before = house.attempts().await.len();
    house.act(&admitted.spiffe_id, NodeAction::Freeze { reason: "two of them".to_owned() }).await;
    for _ in 0..WRITTEN + 3 {
        let refused = house.stranger().await.attest(&mut tpm, &house.boot).await.unwrap_err();
        assert_eq!(word(&refused), "refused", "it learns no more than before");
    }
    let written = house.attempts().await;
    assert_eq!((written.len(), written[0].code.as_str()), (before + WRITTEN, "node.frozen"));
    // Neither strangers nor others of ours have lost anything by it.
    house.stranger().await.attest(&mut VirtualTpm::new(&house.vendor), &house.boot).await.unwrap_err();
    assert_eq!(house.attempts().await.len(), before + WRITTEN + 1);
    house.act(&admitted.spiffe_id, NodeAction::Reset).await;
    assert_eq!(house.enrol(&mut tpm).await.attempt_id, house.attempts().await[0].id.to_string());
}

#[tokio::test]
async fn a_frozen_node_that_renews_on_its_own_connection_fills_the_record_no_further() {
    let house = House::open().await;
    let mut tpm = house.machine().await;
    let (own, admitted) = house.stand(&mut tpm).await;
    let before = house.attempts().await.len();
    house.act(&admitted.spiffe_id, NodeAction::Freeze { reason: "two of them".to_owned() }).await;
    let mut refused = 0;
    for _ in 0..WRITTEN + 3 {
        refused += usize::from(own.renew(&mut tpm, &house.boot).await.is_err());
    }
    assert_eq!(refused, WRITTEN + 3);
    assert!(house.attempts().await.len() <= before + WRITTEN);
}

#[tokio::test]
async fn a_root_that_is_imported_anew_with_a_lower_class_counts_for_no_more_at_the_next_quote() {
    let house = House::open().await;
    let mut tpm = house.machine().await;
    let (own, admitted) = house.stand(&mut tpm).await;
    import(house.store.as_ref(), house.vendor.root(), "cloud").await;
    assert_eq!(word(&own.renew(&mut tpm, &house.boot).await.unwrap_err()), "refused");
    assert_eq!(house.attempts().await[0].code, "policy.no_rule_matched");
    assert_eq!(house.node(&admitted.spiffe_id).await.standing, Standing::Refused);
    import(house.store.as_ref(), house.vendor.root(), "discrete").await;
    assert_eq!(house.stranger().await.attest(&mut tpm, &house.boot).await.unwrap().spiffe_id, admitted.spiffe_id);
}

//! Budgets: over them nobody is refused, only told to come later.

use holdfast_protocol::agent as wire;
use holdfast_server::budget::Rate;
use holdfast_server::desk::DeskSettings;
use holdfast_server::listen::ListenLimits;
use holdfast_server::store::Parent;
use tonic::Code;

use crate::house::{House, settings, word};
use crate::standing::{csr, sign};
use crate::tokens;

#[tokio::test]
async fn a_source_over_its_budget_is_told_when_to_come_back() {
    let tight = DeskSettings { per_source: Rate { per_second: 0.1, burst: 3.0 }, ..settings() };
    let house = House::open_with(tight, ListenLimits::default()).await;
    let mut tpm = house.machine().await;
    let admitted = house.enrol(&mut tpm).await;
    let stranger = house.stranger().await;
    let over = loop {
        match stranger.begin(&tpm).await {
            Ok(_) => {}
            Err(status) => break status,
        }
    };
    assert_eq!(over.code(), Code::ResourceExhausted);
    let seconds: u64 = over.metadata().get("retry-after").unwrap().to_str().unwrap().parse().unwrap();
    assert!((1..=40).contains(&seconds), "{seconds}");
    let own = house.own(&tpm, &admitted).await;
    assert!(own.renew(&mut tpm, &house.boot).await.is_ok(), "a node behind the same address is not shut out");
}

#[tokio::test]
async fn wrong_secrets_use_up_nobodys_budget_but_their_sources() {
    let house = House::open().await;
    let mut tpm = house.machine().await;
    let stranger = house.stranger().await;
    // Anybody may send this machine's public certificate, as often as he likes.
    for _ in 0..700 {
        let begun = stranger.begin(&tpm).await.unwrap();
        assert!(stranger.complete(&begun.answer.seal, tpm.node_spki(), &[1, 0]).await.is_err());
    }
    assert!(stranger.attest(&mut tpm, &house.boot).await.is_ok());
}

/// More than every node may have signed whatever its entries.
const ENTRIES: usize = 2_000;

fn on(admitted: &wire::Admitted) -> Parent {
    Parent::Id(admitted.spiffe_id.parse().unwrap())
}

#[tokio::test]
async fn a_node_that_asks_again_and_again_is_told_to_come_back_and_fills_no_record() {
    let house = House::open().await;
    let (mut tpm, mut other) = (house.machine().await, house.machine().await);
    let (own, admitted) = house.stand(&mut tpm).await;
    let (neighbour, neighbours) = house.stand(&mut other).await;
    let entry = house.entry(on(&admitted), "/web").await;
    let others = house.entry(on(&neighbours), "/db").await;
    let csr = csr().1;
    let batch = vec![(entry.id(), csr.clone()); 64];
    let mut signed = 0;
    let over = loop {
        let before = house.store.head().await.unwrap().size;
        match sign(&own, &batch).await {
            Ok(results) => signed += results.len(),
            Err(status) => {
                assert_eq!(house.store.head().await.unwrap().size, before, "what is not signed is not recorded");
                break status;
            }
        }
        assert!(signed < 10_000, "there is an end to it");
    };
    assert_eq!((over.code(), word(&over)), (Code::ResourceExhausted, "busy"));
    let seconds: u64 = over.metadata().get("retry-after").unwrap().to_str().unwrap().parse().unwrap();
    assert!((1..=60).contains(&seconds), "{seconds}");
    assert!(signed >= 1024, "{signed}");
    assert!(sign(&neighbour, &[(others.id(), csr)]).await.is_ok(), "another node has its own budget");
    assert!(tokens::sign(&own, &[(entry.id(), &["db"])]).await.is_ok(), "and so have tokens");
}

#[tokio::test]
async fn a_node_with_many_entries_gets_all_their_svids_at_once() {
    let house = House::open().await;
    let mut tpm = house.machine().await;
    let (own, admitted) = house.stand(&mut tpm).await;
    let paths: Vec<String> = (0..ENTRIES).map(|n| format!("/w{n}")).collect();
    let mut entries = Vec::new();
    for paths in paths.chunks(500) {
        let made = paths.iter().map(|path| house.entry(on(&admitted), path));
        entries.extend(futures_util::future::join_all(made).await);
    }
    let csr = csr().1;
    for _ in 0..2 {
        for batch in entries.chunks(64) {
            let batch: Vec<_> = batch.iter().map(|entry| (entry.id(), csr.clone())).collect();
            sign(&own, &batch).await.unwrap();
        }
    }
}

#[tokio::test]
async fn what_is_refused_for_another_reason_uses_up_no_budget() {
    let house = House::open().await;
    let mut tpm = house.machine().await;
    let (own, admitted) = house.stand(&mut tpm).await;
    let entry = house.entry(on(&admitted), "/web").await;
    let unknown = vec![("none", Vec::new()); 64];
    for _ in 0..40 {
        sign(&own, &unknown).await.unwrap();
    }
    assert!(sign(&own, &vec![(entry.id(), csr().1); 64]).await.is_ok());
}

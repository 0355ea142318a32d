//! Budgets: over them nobody is refused, only told to come later.

use holdfast_server::budget::Rate;
use holdfast_server::desk::DeskSettings;
use holdfast_server::listen::ListenLimits;
use tonic::Code;

use crate::house::{House, settings};

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

//! Two machines that speak as one node, and honest ones that only look like it.

use std::time::Duration;

use holdfast_protocol::agent as wire;
use holdfast_server::clock;
use holdfast_server::listen::ListenLimits;
use holdfast_server::store::NodeState;

use crate::house::{House, settings, word};

fn quick() -> ListenLimits {
    ListenLimits {
        keepalive_interval: Duration::from_millis(500),
        keepalive_timeout: Duration::from_millis(500),
        ..ListenLimits::default()
    }
}

#[tokio::test]
async fn a_node_that_comes_back_after_its_connection_closed_is_itself() {
    let house = House::open_with(settings(), quick()).await;
    let mut tpm = house.machine().await;
    let (mut own, admitted) = house.stand(&mut tpm).await;
    for _ in 0..3 {
        drop(own);
        own = house.own(&tpm, &admitted).await;
        own.renew(&mut tpm, &house.boot).await.unwrap();
    }
    tokio::time::sleep(Duration::from_secs(7)).await;
    assert_eq!(house.node(&admitted.spiffe_id).await.state(clock::now()), NodeState::Admitted);
    assert!(own.node().sync(wire::SyncRequest::default()).await.is_ok());
}

#[tokio::test]
async fn a_copy_that_quotes_beside_the_living_original_freezes_the_node() {
    let house = House::open_with(settings(), quick()).await;
    let mut tpm = house.machine().await;
    let (own, admitted) = house.stand(&mut tpm).await;
    let mut stream = own.node().sync(wire::SyncRequest::default()).await.unwrap().into_inner();
    stream.message().await.unwrap();
    let mut copy = tpm.copy();
    let elsewhere = house.own(&copy, &admitted).await;
    elsewhere.renew(&mut copy, &house.boot).await.unwrap();
    // The original says nothing more, but its connection answers pings.
    let frozen = async {
        while house.node(&admitted.spiffe_id).await.freeze.is_none() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(15), frozen).await.unwrap();
    assert_eq!(word(&elsewhere.renew(&mut copy, &house.boot).await.unwrap_err()), "refused");
}

#[tokio::test]
async fn an_original_that_quotes_after_its_copy_freezes_the_node_at_once() {
    let house = House::open().await;
    let mut tpm = house.machine().await;
    let (own, admitted) = house.stand(&mut tpm).await;
    let mut copy = tpm.copy();
    let elsewhere = house.own(&copy, &admitted).await;
    elsewhere.renew(&mut copy, &house.boot).await.unwrap();
    tokio::time::sleep(Duration::from_millis(1100)).await;
    tpm.clock = copy.clock;
    assert_eq!(word(&own.renew(&mut tpm, &house.boot).await.unwrap_err()), "refused");
    assert!(house.node(&admitted.spiffe_id).await.freeze.is_some());
    copy.clock = tpm.clock;
    assert_eq!(word(&elsewhere.renew(&mut copy, &house.boot).await.unwrap_err()), "refused");
    assert_eq!(word(&elsewhere.node().sync(wire::SyncRequest::default()).await.unwrap_err()), "attest");
}

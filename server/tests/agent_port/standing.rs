//! What a standing node gets: its entries as they change, and SVIDs for its workloads.

use std::time::Duration;

use holdfast_protocol::agent as wire;
use holdfast_server::clock;
use holdfast_server::store::{NodeAction, Parent};
use rcgen::{CertificateParams, KeyPair, PublicKeyData as _};
use tonic::Streaming;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::client::Client;
use crate::house::{BY, House, POLICY, id, word};

/// The next message that says more than which revocation lists there are; panics if there is none within ten seconds.
async fn next(stream: &mut Streaming<wire::SyncResponse>) -> Result<wire::SyncResponse, tonic::Status> {
    loop {
        let message = tokio::time::timeout(Duration::from_secs(10), stream.message()).await.expect("a message");
        let message = message?.expect("not the end");
        if message.revocation_lists.is_empty() && message.removed_revocation_lists.is_empty() {
            return Ok(message);
        }
    }
}

/// How the stream ends, whatever lists and entries come before.
async fn end(stream: &mut Streaming<wire::SyncResponse>) -> tonic::Status {
    loop {
        if let Err(status) = next(stream).await {
            return status;
        }
    }
}

async fn silent(stream: &mut Streaming<wire::SyncResponse>) -> bool {
    tokio::time::timeout(Duration::from_millis(200), stream.message()).await.is_err()
}

async fn sync(client: &Client, holds: Option<wire::Revision>) -> Streaming<wire::SyncResponse> {
    client.node().sync(wire::SyncRequest { holds, holds_lists: Vec::new() }).await.unwrap().into_inner()
}

pub(crate) fn csr() -> (KeyPair, Vec<u8>) {
    let key = KeyPair::generate().unwrap();
    let csr = CertificateParams::default().serialize_request(&key).unwrap().der().to_vec();
    (key, csr)
}

pub(crate) async fn sign(
    client: &Client,
    requests: &[(&str, Vec<u8>)],
) -> Result<Vec<wire::SvidResult>, tonic::Status> {
    let requests =
        requests.iter().map(|(id, csr)| wire::SvidRequest { entry_id: (*id).to_owned(), csr: csr.clone() }).collect();
    Ok(client.node().sign_x509_svids(wire::SignX509SvidsRequest { requests }).await?.into_inner().results)
}

fn refused(result: &wire::SvidResult) -> &str {
    match result.outcome.as_ref().unwrap() {
        wire::svid_result::Outcome::Refused(word) => word,
        wire::svid_result::Outcome::Svid(_) => "signed",
    }
}

#[tokio::test]
async fn a_standing_node_gets_its_entries_and_every_change_of_them() {
    let house = House::open().await;
    let mut tpm = house.machine().await;
    let (own, admitted) = house.stand(&mut tpm).await;
    let node = Parent::Id(admitted.spiffe_id.parse().unwrap());
    let first = house.entry(node.clone(), "/a").await;
    house.entry(Parent::Id(id("/holdfast/node/tpm/other")), "/not-mine").await;
    let mut stream = sync(&own, None).await;
    let state = next(&mut stream).await.unwrap();
    assert!(state.full && !state.more && state.bundle.is_some());
    assert_eq!(
        state.entries.iter().map(|entry| entry.spiffe_id.as_str()).collect::<Vec<_>>(),
        ["spiffe://example.org/a"]
    );

    let by_selector = Parent::Selectors(["tpm:secure_boot:true".parse().unwrap()].into());
    let second = house.entry(by_selector, "/b").await;
    let change = next(&mut stream).await.unwrap();
    assert!(!change.full && change.bundle.is_none());
    assert_eq!(change.entries[0].id, second.id());
    assert!(change.revision.as_ref().unwrap().n > state.revision.as_ref().unwrap().n);

    house.store.delete_entry(first.id().to_owned(), BY, clock::now()).await.unwrap().unwrap();
    let change = next(&mut stream).await.unwrap();
    assert_eq!(change.removed_entry_ids, [first.id()]);
    house.entry(Parent::Id(id("/holdfast/node/tpm/other")), "/not-mine-either").await;
    assert!(silent(&mut stream).await);

    drop(stream);
    let mut resumed = sync(&own, change.revision.clone()).await;
    let nothing_new = next(&mut resumed).await.unwrap();
    assert!(!nothing_new.full && nothing_new.entries.is_empty());
    for unknown in [
        wire::Revision { epoch: vec![9; 16], n: 1 },
        wire::Revision { n: u64::MAX, ..change.revision.clone().unwrap() },
    ] {
        let state = next(&mut sync(&own, Some(unknown)).await).await.unwrap();
        assert!(state.full && state.entries.len() == 1);
    }
}

#[tokio::test]
async fn a_workload_svid_is_signed_by_the_entries_of_this_moment() {
    let house = House::open().await;
    let mut tpm = house.machine().await;
    let (own, admitted) = house.stand(&mut tpm).await;
    let entry = house.entry(Parent::Id(admitted.spiffe_id.parse().unwrap()), "/web").await;
    let foreign = house.entry(Parent::Id(id("/holdfast/node/tpm/other")), "/theirs").await;
    let (key, good) = csr();
    let mut bad = good.clone();
    *bad.last_mut().unwrap() ^= 1;
    let results = sign(
        &own,
        &[(entry.id(), good.clone()), (foreign.id(), good.clone()), ("none", good.clone()), (entry.id(), bad)],
    )
    .await
    .unwrap();
    assert_eq!(results[1..].iter().map(refused).collect::<Vec<_>>(), ["entry_unknown", "entry_unknown", "key_refused"]);
    let Some(wire::svid_result::Outcome::Svid(svid)) = &results[0].outcome else { panic!("{results:?}") };
    let (_, leaf) = X509Certificate::from_der(&svid.certificate_chain[0]).unwrap();
    assert_eq!(leaf.public_key().raw, key.subject_public_key_info());
    assert_eq!((svid.spiffe_id.as_str(), svid.entry_id.as_str()), ("spiffe://example.org/web", entry.id()));
    assert!(svid.not_after <= admitted.evidence_expires_at);

    house.store.delete_entry(entry.id().to_owned(), BY, clock::now()).await.unwrap().unwrap();
    assert_eq!(refused(&sign(&own, &[(entry.id(), good)]).await.unwrap()[0]), "entry_unknown");
}

#[tokio::test]
async fn a_ban_closes_the_stream_and_nothing_more_is_signed() {
    let house = House::open().await;
    let mut tpm = house.machine().await;
    let (own, admitted) = house.stand(&mut tpm).await;
    let entry = house.entry(Parent::Id(admitted.spiffe_id.parse().unwrap()), "/web").await;
    let mut stream = sync(&own, None).await;
    next(&mut stream).await.unwrap();
    house.act(&admitted.spiffe_id, NodeAction::Ban { reason: "stolen".to_owned() }).await;
    assert_eq!(word(&end(&mut stream).await), "refused");
    assert_eq!(word(&sign(&own, &[(entry.id(), csr().1)]).await.unwrap_err()), "attest");
    assert_eq!(word(&own.renew(&mut tpm, &house.boot).await.unwrap_err()), "refused");
}

#[tokio::test]
async fn a_policy_change_ends_the_stream_and_a_quote_under_the_new_policy_restores_it() {
    let house = House::open().await;
    let mut tpm = house.machine().await;
    let (own, _) = house.stand(&mut tpm).await;
    let mut stream = sync(&own, None).await;
    next(&mut stream).await.unwrap();
    house.apply(&format!("{POLICY}tpm.class = {{ any_of = [\"discrete\"] }}\n")).await;
    assert_eq!(word(&end(&mut stream).await), "attest");
    own.renew(&mut tpm, &house.boot).await.unwrap();
    assert!(next(&mut sync(&own, None).await).await.is_ok());
    house.apply("[rule.require]\ntpm.secure_boot.enabled = { equals = false }\n").await;
    assert_eq!(word(&own.renew(&mut tpm, &house.boot).await.unwrap_err()), "refused");
}

#[tokio::test]
async fn a_refusal_by_the_next_quote_ends_the_stream() {
    let house = House::open().await;
    let mut tpm = house.machine().await;
    let (own, admitted) = house.stand(&mut tpm).await;
    let mut stream = sync(&own, None).await;
    next(&mut stream).await.unwrap();
    let refused = own.renew(&mut tpm, &crate::virtual_tpm::Boot::of("secure-boot-off")).await.unwrap_err();
    assert_eq!(word(&refused), "refused");
    assert_eq!(word(&end(&mut stream).await), "refused");
    assert!(house.node(&admitted.spiffe_id).await.state(clock::now()) == holdfast_server::store::NodeState::Refused);
}

#[tokio::test]
async fn a_thousand_entries_arrive_in_portions() {
    let house = House::open().await;
    let mut tpm = house.machine().await;
    let (own, admitted) = house.stand(&mut tpm).await;
    let parent = Parent::Id(admitted.spiffe_id.parse().unwrap());
    let made: Vec<_> =
        (0..1001).map(|n| house.entry(parent.clone(), Box::leak(format!("/w{n}").into_boxed_str()))).collect();
    futures_util::future::join_all(made).await;
    let mut stream = sync(&own, None).await;
    let mut sizes = Vec::new();
    loop {
        let message = next(&mut stream).await.unwrap();
        assert_eq!(message.full, sizes.is_empty());
        sizes.push(message.entries.len());
        if !message.more {
            break;
        }
    }
    assert_eq!(sizes, [500, 500, 1]);
}

//! JWT-SVIDs for the workloads of a standing node: judged, recorded and signed.

use holdfast_evidence::crypto::PublicKey;
use holdfast_protocol::agent as wire;
use holdfast_server::clock;
use holdfast_server::store::{NodeAction, Parent};
use holdfast_svid::Leeway;
use holdfast_svid::jwk::Jwk;
use holdfast_svid::jwt::{JwtKeys, Unverified};
use wire::jwt_svid_result::Outcome;

use crate::client::Client;
use crate::house::{BY, House, id, word};

pub(crate) async fn sign(client: &Client, requests: &[(&str, &[&str])]) -> Result<Vec<Outcome>, tonic::Status> {
    let requests = requests
        .iter()
        .map(|(entry_id, audience)| wire::JwtSvidRequest {
            entry_id: (*entry_id).to_owned(),
            audience: audience.iter().map(ToString::to_string).collect(),
        })
        .collect();
    let answer = client.node().sign_jwt_svids(wire::SignJwtSvidsRequest { requests }).await?.into_inner();
    Ok(answer.results.into_iter().map(|result| result.outcome.unwrap()).collect())
}

fn refused(outcome: &Outcome) -> &str {
    match outcome {
        Outcome::Refused(word) => word,
        Outcome::Svid(_) => "signed",
    }
}

/// The keys as a node is told of them.
async fn keys(client: &Client) -> JwtKeys {
    let mut stream =
        client.node().sync(wire::SyncRequest { holds: None, holds_lists: Vec::new() }).await.unwrap().into_inner();
    let bundle = loop {
        if let Some(bundle) = stream.message().await.unwrap().unwrap().bundle {
            break bundle;
        }
    };
    let keys = bundle.jwt_authorities.into_iter().map(|authority| Jwk {
        key: PublicKey::from_spki(&authority.spki).unwrap(),
        key_id: Some(authority.authority_id),
        usage: None,
        algorithm: None,
    });
    JwtKeys::new("example.org".parse().unwrap(), keys).unwrap()
}

#[tokio::test]
async fn a_token_is_signed_by_the_entries_of_this_moment_and_verifies_by_the_pushed_bundle() {
    let house = House::open().await;
    let mut tpm = house.machine().await;
    let (own, admitted) = house.stand(&mut tpm).await;
    let entry = house.entry(Parent::Id(admitted.spiffe_id.parse().unwrap()), "/web").await;
    let foreign = house.entry(Parent::Id(id("/holdfast/node/tpm/other")), "/theirs").await;
    let before = house.store.head().await.unwrap().size;
    let long = "a".repeat(1025);
    let asked: [(&str, &[&str]); 6] = [
        (entry.id(), &["db", "cache"]),
        (foreign.id(), &["db"]),
        ("none", &["db"]),
        (entry.id(), &[]),
        (entry.id(), &[""]),
        (entry.id(), &[&long]),
    ];
    let outcomes = sign(&own, &asked).await.unwrap();
    let words: Vec<&str> = outcomes.iter().map(refused).collect();
    let audience = "audience_refused";
    assert_eq!(words, ["signed", "entry_unknown", "entry_unknown", audience, audience, audience]);
    assert_eq!(house.store.head().await.unwrap().size, before + 1, "what is refused is not recorded");
    let Outcome::Svid(svid) = &outcomes[0] else { panic!("{outcomes:?}") };
    let token = Unverified::parse(&svid.token).unwrap();
    let verified = token.verify(&keys(&own).await, &["cache"], clock::now(), Leeway::NONE).unwrap();
    assert_eq!(verified.subject().as_str(), "spiffe://example.org/web");
    assert_eq!(verified.expires().seconds(), svid.expires_at);
    assert_eq!(svid.expires_at - svid.issued_at, 300);
    assert!(svid.expires_at <= admitted.evidence_expires_at);

    house.store.delete_entry(entry.id().to_owned(), BY, clock::now()).await.unwrap().unwrap();
    assert_eq!(refused(&sign(&own, &[(entry.id(), &["db"])]).await.unwrap()[0]), "entry_unknown");
}

#[tokio::test]
async fn nobody_but_a_standing_node_gets_a_token_and_not_more_than_sixty_four() {
    let house = House::open().await;
    let mut tpm = house.machine().await;
    let (own, admitted) = house.stand(&mut tpm).await;
    let entry = house.entry(Parent::Id(admitted.spiffe_id.parse().unwrap()), "/web").await;
    let many: Vec<(&str, &[&str])> = vec![(entry.id(), &["db"]); 65];
    assert_eq!(word(&sign(&own, &many).await.unwrap_err()), "malformed");
    assert_eq!(word(&sign(&own, &[]).await.unwrap_err()), "malformed");
    assert_eq!(sign(&own, &many[..64]).await.unwrap().len(), 64);
    house.act(&admitted.spiffe_id, NodeAction::Ban { reason: "stolen".to_owned() }).await;
    // Until the connection is told, the store knows already.
    let told = loop {
        match sign(&own, &many[..1]).await {
            Ok(outcomes) => assert_eq!(refused(&outcomes[0]), "entry_unknown"),
            Err(status) => break status,
        }
    };
    assert_eq!(word(&told), "attest");
}

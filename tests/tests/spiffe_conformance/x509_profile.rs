//! SPIFFE Workload API, X.509 profile, on the real agent: rows 56 to 66 and 73 as far as they concern it.

use holdfast_protocol::workload::X509svidResponse;
use tonic::Code;

use crate::court::Court;
use crate::place::{PATIENCE, Place, wait};
use crate::stranger::Stranger;
use crate::workload::{certificates, with_header};

const A: &str = "spiffe://example.org/a";
const B: &str = "spiffe://example.org/b";

/// Waits for a message, as long as anything may take.
async fn next<T>(message: impl Future<Output = T>) -> T {
    tokio::time::timeout(std::time::Duration::from_secs(PATIENCE), message).await.expect("no message")
}

#[tokio::test(flavor = "multi_thread")]
async fn spiffe_056_an_entry_that_comes_and_goes_is_a_new_whole_on_the_open_stream() {
    let place = Place::shared().await;
    let _turn = place.turn().await;
    let first = place.enter(A, &[]);
    place.fetch(&[A]).await;
    let mut stream = place.stream().await.unwrap();
    let ids = |answer: &X509svidResponse| answer.svids.iter().map(|svid| svid.spiffe_id.clone()).collect::<Vec<_>>();
    assert_eq!(ids(&next(stream.message()).await.unwrap().unwrap()), [A]);
    place.enter(B, &[]);
    // Revocation lists are news of their own, in between.
    let mut until_shown = async |expected: &[&str]| {
        loop {
            let mut shown = ids(&next(stream.message()).await.unwrap().unwrap());
            shown.sort_unstable();
            if shown == expected {
                return;
            }
        }
    };
    until_shown(&[A, B]).await;
    place.server.operator(&["entry", "delete", &first]).unwrap();
    until_shown(&[B]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn spiffe_057_the_first_answer_comes_within_half_a_second() {
    let place = Place::shared().await;
    let _turn = place.turn().await;
    place.enter(A, &[]);
    place.fetch(&[A]).await;
    let begun = std::time::Instant::now();
    for _ in 0..10 {
        next(place.stream().await.unwrap().message()).await.unwrap().unwrap();
    }
    assert!(begun.elapsed() / 10 < std::time::Duration::from_millis(500), "{:?}", begun.elapsed() / 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn spiffe_058_a_bundle_that_is_gone_is_absent_from_the_next_message() {
    let (place, stranger) = (Place::shared().await, Stranger::new("gone.test"));
    let _turn = place.turn().await;
    let court = Court::believing(&place, A, &[&stranger]).await;
    court.publish(stranger.name, &[stranger.authority.jwk("x509-svid", "a")]);
    court.until_authority(stranger.name, &stranger.authority.der).await;
    let mut svids = place.stream().await.unwrap();
    let mut client = place.client().await;
    let mut bundles = client.fetch_x509_bundles(with_header(Default::default())).await.unwrap().into_inner();
    let held = next(svids.message()).await.unwrap().unwrap();
    assert_eq!(held.federated_bundles.keys().collect::<Vec<_>>(), ["spiffe://gone.test"]);
    assert_eq!(next(bundles.message()).await.unwrap().unwrap().bundles.len(), 2);
    place.server.operator(&["bundle", "delete", "--id", stranger.name, "--mode", "dissociate"]).unwrap();
    // Revocation lists are news of their own, in between.
    while !next(svids.message()).await.unwrap().unwrap().federated_bundles.is_empty() {}
    while next(bundles.message()).await.unwrap().unwrap().bundles.len() != 1 {}
}

#[tokio::test(flavor = "multi_thread")]
async fn spiffe_060_a_served_chain_leads_from_the_leaf_to_the_served_bundle() {
    let place = Place::shared().await;
    let _turn = place.turn().await;
    place.enter(A, &[]);
    let answer = place.fetch(&[A]).await;
    let chain = certificates(&answer.svids[0].x509_svid);
    let bundle = certificates(&answer.svids[0].bundle);
    let (leaf, rest) = chain.split_first().unwrap();
    assert_eq!(crate::issued::uris(leaf), [A]);
    assert!(!rest.is_empty());
    let mut below = leaf;
    for above in rest.iter().chain(&bundle[..1]) {
        let (_, parsed) = x509_parser::parse_x509_certificate(below).unwrap();
        let (_, signer) = x509_parser::parse_x509_certificate(above).unwrap();
        parsed.verify_signature(Some(signer.public_key())).unwrap();
        below = above;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn spiffe_061_a_served_key_is_plain_pkcs8_and_fits_the_leaf() {
    use rcgen::PublicKeyData;
    let place = Place::shared().await;
    let _turn = place.turn().await;
    place.enter(A, &[]);
    let answer = place.fetch(&[A]).await;
    let key = rcgen::KeyPair::try_from(answer.svids[0].x509_svid_key.as_slice()).unwrap();
    let chain = certificates(&answer.svids[0].x509_svid);
    let (_, leaf) = x509_parser::parse_x509_certificate(&chain[0]).unwrap();
    assert_eq!(leaf.public_key().raw, key.subject_public_key_info());
}

#[tokio::test(flavor = "multi_thread")]
async fn spiffe_063_the_last_identity_that_goes_ends_the_stream_with_a_denial() {
    let place = Place::shared().await;
    let _turn = place.turn().await;
    let entry = place.enter(A, &[]);
    place.fetch(&[A]).await;
    let mut stream = place.stream().await.unwrap();
    assert_eq!(next(stream.message()).await.unwrap().unwrap().svids.len(), 1);
    place.server.operator(&["entry", "delete", &entry]).unwrap();
    // Revocation lists are news of their own, before it.
    let end = loop {
        if let Err(end) = next(stream.message()).await {
            break end;
        }
    };
    assert_eq!(end.code(), Code::PermissionDenied);
}

#[tokio::test(flavor = "multi_thread")]
async fn spiffe_064_all_fields_are_set_and_of_equal_hints_the_older_entry_stays() {
    let place = Place::shared().await;
    let _turn = place.turn().await;
    place.enter(A, &["--hint", "internal"]);
    // Entries of one second have no older one.
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    place.enter(B, &["--hint", "internal"]);
    let c = "spiffe://example.org/c";
    place.enter(c, &["--hint", "external"]);
    let answer = place.fetch(&[A, c]).await;
    assert_eq!(answer.svids.iter().map(|svid| svid.hint.as_str()).collect::<Vec<_>>(), ["internal", "external"]);
    for svid in &answer.svids {
        assert!(!svid.spiffe_id.is_empty() && !svid.x509_svid.is_empty());
        assert!(!svid.x509_svid_key.is_empty() && !svid.bundle.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn spiffe_065_twenty_connections_see_one_order() {
    let place = Place::shared().await;
    let _turn = place.turn().await;
    let ids: Vec<String> = (0..5).map(|n| format!("spiffe://example.org/{}", (n * 3) % 5)).collect();
    for id in &ids {
        place.enter(id, &[]);
    }
    let first = wait("all five", || {
        let answer =
            tokio::runtime::Handle::current().block_on(async { place.stream().await.ok()?.message().await.ok()? })?;
        (answer.svids.len() == ids.len()).then_some(answer)
    });
    let order: Vec<&str> = first.svids.iter().map(|svid| svid.spiffe_id.as_str()).collect();
    for _ in 0..20 {
        let answer = place.stream().await.unwrap().message().await.unwrap().unwrap();
        assert_eq!(answer.svids.iter().map(|svid| svid.spiffe_id.as_str()).collect::<Vec<_>>(), order);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn spiffe_066_served_bundles_have_what_the_server_shows_as_its_bundle() {
    let place = Place::shared().await;
    let _turn = place.turn().await;
    place.enter(A, &[]);
    place.fetch(&[A]).await;
    let mut stream =
        place.client().await.fetch_x509_bundles(with_header(Default::default())).await.unwrap().into_inner();
    let answer = next(stream.message()).await.unwrap().unwrap();
    let shown = pem::parse_many(place.server.operator(&["bundle", "show"]).unwrap()).unwrap();
    let shown: Vec<Vec<u8>> = shown.into_iter().map(pem::Pem::into_contents).collect();
    assert_eq!(certificates(&answer.bundles["spiffe://example.org"]), shown);
}

#[tokio::test(flavor = "multi_thread")]
async fn spiffe_073_an_svid_is_replaced_on_the_open_stream_before_its_end() {
    let place = Place::shared().await;
    let _turn = place.turn().await;
    place.enter(A, &["--x509-svid-ttl", "12"]);
    place.fetch(&[A]).await;
    let mut stream = place.stream().await.unwrap();
    let (mut ends, mut last) = (Vec::new(), Vec::new());
    while ends.len() < 3 {
        let svid = next(stream.message()).await.unwrap().unwrap().svids.remove(0);
        // Revocation lists are news of their own, in between.
        if svid.x509_svid == last {
            continue;
        }
        let chain = certificates(&svid.x509_svid);
        let (_, leaf) = x509_parser::parse_x509_certificate(&chain[0]).unwrap();
        let (from, to) = (leaf.validity().not_before.timestamp(), leaf.validity().not_after.timestamp());
        // The next one was made before the last one's end, with a key of its own: it starts 60 seconds back.
        assert!(ends.last().is_none_or(|(end, key)| from + 60 < *end && *key != svid.x509_svid_key), "{from}");
        last = svid.x509_svid;
        ends.push((to, svid.x509_svid_key));
    }
    assert!(ends.is_sorted_by_key(|(end, _)| *end));
}

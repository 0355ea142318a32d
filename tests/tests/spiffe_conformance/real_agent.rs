//! Rows 44 to 66 and 73 on an enrolled agent, over its socket: what the neighbouring files show of its parts.

use std::os::unix::fs::PermissionsExt;

use holdfast_tests::Agent;
use tonic::Code;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

use crate::endpoint::call_all;
use crate::place::{PATIENCE, Place, channel, wait};
use crate::workload::{certificates, with_header};

const A: &str = "spiffe://example.org/a";
const B: &str = "spiffe://example.org/b";

/// Waits for a message, as long as anything may take.
async fn next<T>(message: impl Future<Output = T>) -> T {
    tokio::time::timeout(std::time::Duration::from_secs(PATIENCE), message).await.expect("no message")
}

#[tokio::test(flavor = "multi_thread")]
async fn spiffe_044_an_agent_listens_on_no_tcp_port() {
    let place = Place::shared().await;
    let mode = std::fs::metadata(place.agent.socket()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o777, "any workload may ask");
    let own = sockets(place.agent.pid().unwrap());
    for table in ["tcp", "tcp6"] {
        let text =
            std::fs::read_to_string(format!("/proc/{}/net/{table}", place.agent.pid().unwrap())).unwrap_or_default();
        for line in text.lines().skip(1) {
            let fields: Vec<_> = line.split_ascii_whitespace().collect();
            assert!(fields[3] != "0A" || !own.contains(&fields[9].to_owned()), "listens on {}", fields[1]);
        }
    }
}

/// Numbers of the sockets that a process has open.
fn sockets(process: u32) -> Vec<String> {
    std::fs::read_dir(format!("/proc/{process}/fd"))
        .unwrap()
        .filter_map(|fd| std::fs::read_link(fd.unwrap().path()).ok())
        .filter_map(|link| link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']').map(str::to_owned))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn spiffe_045_an_agent_wants_the_header_of_every_rpc() {
    let place = Place::shared().await;
    let _turn = place.turn().await;
    place.enter(A, &[]);
    place.fetch(&[A]).await;
    for values in [&[][..], &["True"], &["false"], &["true", "true"]] {
        for (method, code) in call_all(&mut place.client().await, values).await {
            assert_eq!(code, Code::InvalidArgument, "{method} with {values:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn spiffe_051_an_agent_denies_whom_no_entry_is_for_and_is_unavailable_without_its_server() {
    let place = Place::shared().await;
    let turn = place.turn().await;
    let refused = place.stream().await.unwrap_err();
    assert_eq!((refused.code(), refused.message()), (Code::PermissionDenied, "no identity issued"));
    drop(turn);
    // Another agent, whose server is nowhere: it does not know yet whether there is an identity.
    let nobody = format!("127.0.0.1:{}", holdfast_tests::free_port().unwrap());
    let (device, top) = ("[tsm]\npath = \"sim:/nowhere\"\n", "evidence = [\"snp\"]\n");
    let mut alone = Agent::configure_with(&place.programs, &place.work, &place.server, "alone", top, device).unwrap();
    let file = alone.folder().join("agent.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replacen(&place.server.address(), &nobody, 1)).unwrap();
    alone.start_again(&place.work.path().join("alone.log")).unwrap();
    let log = || std::fs::read_to_string(place.work.path().join("alone.log")).unwrap_or_default();
    wait(&format!("its socket: {}", log()), || alone.socket().exists().then_some(()));
    let mut client = holdfast_agent::workload_client_stubs::spiffe_workload_api_client::SpiffeWorkloadApiClient::new(
        channel(&alone.socket()).await,
    );
    let refused = client.fetch_x509svid(with_header(Default::default())).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable, "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn spiffe_053_an_agents_reflection_lists_the_workload_api() {
    let place = Place::shared().await;
    let asked = MessageRequest::ListServices(String::new());
    let request = ServerReflectionRequest { host: String::new(), message_request: Some(asked) };
    let mut client = ServerReflectionClient::new(channel(&place.agent.socket()).await);
    let answer = client.server_reflection_info(futures_util::stream::iter([request])).await.unwrap();
    let answer = answer.into_inner().message().await.unwrap().unwrap().message_response.unwrap();
    let MessageResponse::ListServicesResponse(list) = answer else { panic!("no list") };
    assert!(list.service.iter().any(|service| service.name == "SpiffeWorkloadAPI"), "{list:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn spiffe_056_an_entry_that_comes_and_goes_is_a_new_whole_on_the_open_stream() {
    let place = Place::shared().await;
    let _turn = place.turn().await;
    let first = place.enter(A, &[]);
    place.fetch(&[A]).await;
    let mut stream = place.stream().await.unwrap();
    let ids = |answer: &holdfast_protocol::workload::X509svidResponse| {
        answer.svids.iter().map(|svid| svid.spiffe_id.clone()).collect::<Vec<_>>()
    };
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
async fn spiffe_064_of_two_entries_with_one_hint_the_older_one_is_served() {
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
    let mut ends = Vec::new();
    for _ in 0..3 {
        let svid = next(stream.message()).await.unwrap().unwrap().svids.remove(0);
        let chain = certificates(&svid.x509_svid);
        let (_, leaf) = x509_parser::parse_x509_certificate(&chain[0]).unwrap();
        let (from, to) = (leaf.validity().not_before.timestamp(), leaf.validity().not_after.timestamp());
        // The next one was made before the last one's end: it starts 60 seconds back.
        assert!(ends.last().is_none_or(|end| from + 60 < *end), "{ends:?}, {from}");
        ends.push(to);
    }
    assert!(ends.is_sorted());
}

//! SPIFFE IDs: rows 1 to 10, at every door of the server where somebody names one.

use holdfast_tests::{Output, Programs, Server, WorkDir};

use crate::place::{Place, create, server};

const PARENT: &str = "spiffe://td/holdfast/node/tpm/00";

/// A server of `td` takes none of `ids`, as an entry's own ID or as its parent; each with its code.
fn refused(ids: &[(&str, &str)]) {
    let work = WorkDir::new().unwrap();
    let server = server(&Programs::beside_this_one().unwrap(), &work, "td");
    for (id, code) in ids {
        for (door, said) in
            [("spiffe ID", create(&server, id, PARENT)), ("parent", create(&server, "spiffe://td/a", id))]
        {
            assert_eq!(said.code, 2, "{id:?} as {door}: {said:?}");
            assert!(said.stderr.contains(code), "{id:?} as {door}: {said:?}");
        }
    }
    // The doors are open to others, and nothing of the above came in.
    assert_eq!(create(&server, "spiffe://td/a", PARENT).code, 0);
    assert_eq!(server.operator(&["entry", "count"]).unwrap().trim(), "1");
}

/// What `holdfast-server init` says of a trust domain.
fn founded(domain: &str) -> Result<Server, Output> {
    let (programs, work) = (Programs::beside_this_one().unwrap(), WorkDir::new().unwrap());
    Server::init(&programs, &work, domain).map_err(|why| Output {
        code: 2,
        stdout: String::new(),
        stderr: format!("{why:#}"),
    })
}

#[test]
fn spiffe_001_the_scheme_is_spiffe_and_the_trust_domain_is_not_empty() {
    refused(&[
        ("http://td/x", "spiffe_id.scheme"),
        ("SPIFFE://td/x", "spiffe_id.scheme"),
        ("td/x", "spiffe_id.scheme"),
        ("spiffe:///x", "spiffe_id.trust_domain.empty"),
        ("spiffe://", "spiffe_id.trust_domain.empty"),
    ]);
}

#[test]
fn spiffe_002_a_query_or_a_fragment_is_refused() {
    refused(&[
        ("spiffe://td/x?y", "spiffe_id.path.character"),
        ("spiffe://td/x#z", "spiffe_id.path.character"),
        ("spiffe://td?y", "spiffe_id.trust_domain.character"),
        ("spiffe://td#z", "spiffe_id.trust_domain.character"),
    ]);
}

#[test]
fn spiffe_003_user_information_or_a_port_is_refused() {
    let code = "spiffe_id.trust_domain.character";
    refused(&[
        ("spiffe://u@td/x", code),
        ("spiffe://u:p@td/x", code),
        ("spiffe://td:1/x", code),
        ("spiffe://td:/x", code),
    ]);
}

#[test]
fn spiffe_004_trust_domains_are_lower_case_and_of_few_characters() {
    let code = "spiffe_id.trust_domain.character";
    refused(&[("spiffe://t!d/x", code), ("spiffe://TD/x", code), ("spiffe://Td/x", code), ("spiffe://té/x", code)]);
    for domain in ["TD", "t!d", "Example.org", "t d"] {
        let refused = founded(domain).unwrap_err();
        assert!(refused.stderr.contains("trust_domain"), "{domain}: {refused:?}");
    }
    let work = WorkDir::new().unwrap();
    let server = server(&Programs::beside_this_one().unwrap(), &work, "td_1.x-y");
    let entry = create(&server, "spiffe://td_1.x-y/a", "spiffe://td_1.x-y/holdfast/node/tpm/00");
    assert_eq!(entry.code, 0, "{entry:?}");
}

#[test]
fn spiffe_005_percent_encoding_is_refused_everywhere() {
    refused(&[
        ("spiffe://t%64/x", "spiffe_id.trust_domain.character"),
        ("spiffe://td/a%2fb", "spiffe_id.path.character"),
        ("spiffe://td/%61", "spiffe_id.path.character"),
        ("spiffe://td/a%", "spiffe_id.path.character"),
    ]);
}

#[test]
fn spiffe_007_empty_and_dot_segments_are_refused() {
    refused(&[
        ("spiffe://td//a", "spiffe_id.path.empty_segment"),
        ("spiffe://td/a//b", "spiffe_id.path.empty_segment"),
        ("spiffe://td/./a", "spiffe_id.path.dot_segment"),
        ("spiffe://td/a/..", "spiffe_id.path.dot_segment"),
        ("spiffe://td/..", "spiffe_id.path.dot_segment"),
    ]);
}

#[test]
fn spiffe_008_a_slash_at_the_end_is_refused() {
    let code = "spiffe_id.path.empty_segment";
    refused(&[("spiffe://td/", code), ("spiffe://td/a/", code), ("spiffe://td/a/b/", code)]);
}

#[test]
fn spiffe_009_paths_have_few_characters() {
    let code = "spiffe_id.path.character";
    refused(&[
        ("spiffe://td/a~b", code),
        ("spiffe://td/é", code),
        ("spiffe://td/a b", code),
        ("spiffe://td/a\\b", code),
        ("spiffe://td/a:b", code),
        ("spiffe://td/a*", code),
    ]);
}

#[tokio::test(flavor = "multi_thread")]
async fn spiffe_009_paths_that_differ_in_case_are_two_identities() {
    let place = Place::shared().await;
    let _turn = place.turn().await;
    let ids = ["spiffe://example.org/a", "spiffe://example.org/A"];
    for id in ids {
        place.enter(id, &[]);
    }
    let answer = place.fetch(&ids).await;
    assert_ne!(answer.svids[0].x509_svid, answer.svids[1].x509_svid);
}

#[tokio::test(flavor = "multi_thread")]
async fn spiffe_006_a_trust_domain_like_an_ip_address_works_end_to_end() {
    let place = tokio::task::block_in_place(|| Place::new("1.2.3.4"));
    assert!(place.node_id().starts_with("spiffe://1.2.3.4/holdfast/node/"), "{}", place.node_id());
    let id = "spiffe://1.2.3.4/5.6.7.8";
    place.enter(id, &[]);
    let answer = place.fetch(&[id]).await;
    assert_eq!(crate::issued::uris(&crate::workload::certificates(&answer.svids[0].x509_svid)[0]), [id]);
    // Two workloads of it, each the published client, by mutual TLS.
    let port = holdfast_tests::free_port().unwrap();
    let (address, log) = (format!("127.0.0.1:{port}"), place.work.path().join("serve.log"));
    let workload = |words: &[&str]| {
        let mut command = place.programs.command("demo-workload");
        command.args(words).env("SPIFFE_ENDPOINT_SOCKET", place.agent.socket_url());
        command
    };
    let serve = &mut workload(&["serve", "--listen", &address, "--expect", id]);
    let _serving = holdfast_tests::Process::start(serve, &log).unwrap();
    let heard = crate::place::wait("the other one answers", || {
        Output::of(&mut workload(&["call", "--connect", &address, "--expect", id])).ok().filter(|said| said.code == 0)
    });
    assert!(heard.stdout.contains(&format!("{id} heard: welcome, from {id}")), "{heard:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn spiffe_010_an_id_of_2048_bytes_is_issued_and_one_of_2049_is_refused() {
    let place = Place::shared().await;
    let _turn = place.turn().await;
    let longest = format!("spiffe://example.org/{}", "a".repeat(2048 - "spiffe://example.org/".len()));
    let refused = create(&place.server, &format!("{longest}a"), &place.node_id());
    assert_eq!(refused.code, 2, "{refused:?}");
    assert!(refused.stderr.contains("spiffe_id.too_long"), "{refused:?}");
    place.enter(&longest, &[]);
    let answer = place.fetch(&[&longest]).await;
    assert_eq!(crate::issued::uris(&crate::workload::certificates(&answer.svids[0].x509_svid)[0]), [longest]);
}

#[test]
fn spiffe_010_a_trust_domain_of_255_bytes_is_founded_and_one_of_256_is_refused() {
    let refused = founded(&"a".repeat(256)).unwrap_err();
    assert!(refused.stderr.contains("trust_domain"), "{refused:?}");
    let (domain, work) = ("a".repeat(255), WorkDir::new().unwrap());
    let server = server(&Programs::beside_this_one().unwrap(), &work, &domain);
    let entry = create(&server, &format!("spiffe://{domain}/a"), &format!("spiffe://{domain}/holdfast/node/tpm/00"));
    assert_eq!(entry.code, 0, "{entry:?}");
}

//! What a server does not federate by, over the real command line and real endpoints. Each changes one input of what works.

use serde_json::Value;

use crate::domain::Domain;
use crate::stranger::{Endpoint, Issuer, address, bundle, uri};

const OTHER: &str = "other.test";
const ID: &str = "spiffe://other.test/server";

/// What `federation refresh` says: its exit code and words.
fn refreshed(domain: &Domain, code: i32, words: &str) {
    let said = domain.server.cli(&["federation", "refresh", "--trust-domain", OTHER]).unwrap();
    assert_eq!(said.code, code, "{}{}", said.stdout, said.stderr);
    assert!(said.stderr.contains(words), "{words:?} in {}", said.stderr);
}

fn forget(domain: &Domain) {
    domain.server.operator(&["federation", "delete", "--trust-domain", OTHER]).unwrap();
}

#[test]
fn spiffe_076_what_cannot_be_federated_by_is_refused_before_anything_is_fetched() {
    let web = Issuer::new(&[]);
    let domain = Domain::with_svid("here.test", &web);
    let refused = |words: &[&str], what: &str| {
        let start = ["federation", "create", "--trust-domain", OTHER];
        let said = domain.server.cli(&[&start[..], words].concat()).unwrap();
        assert_eq!(said.code, 2, "{words:?}: {}{}", said.stdout, said.stderr);
        assert!(said.stderr.contains(what), "{words:?}: {}", said.stderr);
    };
    let by_host = ["--bundle-endpoint-profile", "https_web", "--bundle-endpoint-url"];
    for (url, what) in [
        ("http://a.test/", "its scheme is not https"),
        ("https://user@a.test/", "it names a user"),
        ("https://user:secret@a.test/", "it names a user"),
        ("a.test", "its scheme is not https"),
    ] {
        refused(&[&by_host[..], &[url]].concat(), what);
    }
    let by_svid = ["--bundle-endpoint-profile", "https_spiffe", "--bundle-endpoint-url", "https://a.test/"];
    refused(&by_svid, "endpoint_spiffe_id: is missing");
    refused(&[&by_svid[..], &["--endpoint-spiffe-id", "https://a.test"]].concat(), "spiffe://");
    refused(&[&by_svid[..], &["--endpoint-spiffe-id", "spiffe://other.test"]].concat(), "has no path");
    refused(&[&by_svid[..], &["--endpoint-spiffe-id", ID]].concat(), "trust_domain_bundle_path: is missing");
    for ours in ["spiffe://here.test/holdfast/server", "spiffe://here.test/holdfast/node/tpm/1"] {
        refused(&[&by_svid[..], &["--endpoint-spiffe-id", ours]].concat(), "is this server's or a node's");
    }
    refused(&["--bundle-endpoint-profile", "https", "--bundle-endpoint-url", "https://a.test/"], "https_web");
    // With nothing but its URL, its profile and its name, one of the profile https_web is complete.
    domain.federate_by_host(OTHER, "https://127.0.0.1:1/").success().unwrap();
    let own = domain.federate_by_host("here.test", "https://127.0.0.1:1/");
    assert!(own.code == 2 && own.stderr.contains("federation.own_domain"), "{}", own.stderr);
    let unknown = domain.server.cli(&["federation", "show", "--trust-domain", "nobody.test"]).unwrap();
    assert!(unknown.code == 1 && unknown.stderr.contains("federation.unknown"), "{}", unknown.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn spiffe_077_an_endpoint_whose_certificate_names_another_host_is_refused() {
    let web = Issuer::new(&[]);
    let domain = Domain::with_svid("here.test", &web);
    let root = Issuer::new(&["spiffe://other.test"]);
    let document = bundle(&[&root], 1).to_string();
    let (right, wrong) = (
        Endpoint::start(&web, vec![address("127.0.0.1")]).await,
        Endpoint::start(&web, vec![address("127.0.0.2")]).await,
    );
    right.shows(&document);
    wrong.shows(&document);
    domain.federate_by_host(OTHER, &right.url()).success().unwrap();
    refreshed(&domain, 0, "");
    forget(&domain);
    domain.federate_by_host(OTHER, &wrong.url()).success().unwrap();
    refreshed(&domain, 1, "federation.fetch.no_answer");
    assert_eq!(domain.federation(OTHER)["bundle"], Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn spiffe_079_an_endpoint_is_the_one_with_the_id_that_was_named_and_so_is_whomever_it_sends_us_to() {
    let (web, root) = (Issuer::new(&[]), Issuer::new(&["spiffe://other.test"]));
    let domain = Domain::with_svid("here.test", &web);
    let file = domain.work.path().join("other.json");
    let document = bundle(&[&root], 1).to_string();
    std::fs::write(&file, &document).unwrap();
    let right = Endpoint::start(&root, vec![uri(ID)]).await;
    let wrong = Endpoint::start(&root, vec![uri("spiffe://other.test/another")]).await;
    right.shows(&document);
    wrong.shows(&document);
    domain.federate_by_svid(OTHER, &right.url(), ID, &file).success().unwrap();
    refreshed(&domain, 0, "");
    right.redirects(&wrong.url());
    refreshed(&domain, 1, "names spiffe://other.test/another, expected spiffe://other.test/server");
    right.redirects(&format!("http://127.0.0.1:{}/", wrong.port));
    refreshed(&domain, 1, "federation.fetch.redirect");
    let second = Endpoint::start(&root, vec![uri(ID)]).await;
    second.shows(&bundle(&[&root], 2).to_string());
    right.redirects(&second.url());
    refreshed(&domain, 0, "");
    assert_eq!(domain.federation(OTHER)["bundle"]["sequence"], 2);
    forget(&domain);
    domain.federate_by_svid(OTHER, &wrong.url(), ID, &file).success().unwrap();
    refreshed(&domain, 1, "names spiffe://other.test/another");
    assert_eq!(domain.federation(OTHER)["bundle"]["sequence"], 1, "what was brought stays");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_that_is_none_is_older_or_comes_too_slowly_changes_nothing() {
    let web = Issuer::new(&[]);
    let domain = Domain::with_svid("here.test", &web);
    let root = Issuer::new(&["spiffe://other.test"]);
    let endpoint = Endpoint::start(&web, vec![address("127.0.0.1")]).await;
    endpoint.shows(&bundle(&[&root], 5).to_string());
    domain.federate_by_host(OTHER, &endpoint.url()).success().unwrap();
    refreshed(&domain, 0, "");
    let stranger = Issuer::new(&["spiffe://third.test"]);
    for (document, words) in [
        ("{\"keys\":[],\"keys\":[]}".to_owned(), "a name stands twice"),
        (bundle(&[&stranger], 6).to_string(), "names spiffe://third.test, expected spiffe://other.test"),
        (bundle(&[&root], 4).to_string(), "federation.fetch.older"),
        (format!("{{\"keys\":[]}}{}", " ".repeat(2 << 20)), "limit 1048576 bytes"),
        ("{\"keys\":[],\"spiffe_refresh_hint\":1.5}".to_owned(), "spiffe_refresh_hint"),
    ] {
        endpoint.shows(&document);
        refreshed(&domain, 1, words);
        assert_eq!(domain.federation(OTHER)["bundle"]["sequence"], 5, "{words}");
    }
    endpoint.answers("HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\n\r\n");
    refreshed(&domain, 1, "federation.fetch.status");
    endpoint.shows(&bundle(&[&root], 6).to_string());
    refreshed(&domain, 0, "");
}

#[test]
fn bundles_brought_by_hand_are_set_together_or_not_at_all_and_lose_nothing_in_another_form() {
    let domain = Domain::with_svid("here.test", &Issuer::new(&[]));
    let file = domain.work.path().join("brought");
    let set = |content: &str, words: &[&str]| {
        std::fs::write(&file, content).unwrap();
        let path = file.display().to_string();
        domain.server.cli(&[&["bundle", "set", "--path", path.as_str()], words].concat()).unwrap()
    };
    let root = bundle(&[&Issuer::new(&["spiffe://a.test"])], 1);
    let own = bundle(&[&Issuer::new(&["spiffe://here.test"])], 1);
    let map = |last: &str, of: &Value| serde_json::json!({ "trust_domains": { "a.test": root, last: of } }).to_string();
    let listed = || domain.server.json(&["federation", "list"]);
    let refused = set(&map("here.test", &own), &["--map"]);
    assert!(refused.code == 2 && refused.stderr.contains("federation.own_domain"), "{}", refused.stderr);
    let wrong = set(&map("z.test", &root), &["--map"]);
    assert!(
        wrong.code == 2 && wrong.stderr.contains("names spiffe://a.test, expected spiffe://z.test"),
        "{}",
        wrong.stderr
    );
    assert_eq!(listed().unwrap()["federations"], serde_json::json!([]), "nothing of either map");
    let empty = serde_json::json!({ "keys": [] });
    set(&map("z.test", &empty), &["--map"]).success().unwrap();

    // The key of this one is of a kind that few have; its trust domain must not be left without.
    let mut params = rcgen::CertificateParams::default();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let pem = params.self_signed(&key).unwrap().pem();
    set(&format!("{pem}{pem}"), &["--id", OTHER, "--format", "pem"]).success().unwrap();
    let held = domain.federation(OTHER);
    assert_eq!((&held["bundle"]["x509_authorities"], &held["bundle"]["revoked"]), (&1.into(), &false.into()));
}

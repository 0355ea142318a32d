//! Lists as relying parties check them: TLS stacks with the whole chain, OpenSSL, and readers over HTTP.

use std::net::{IpAddr, Ipv4Addr};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use axum::http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH, RETRY_AFTER};
use axum::http::{Request, StatusCode};
use holdfast_identity::UnixTime;
use rustls::RootCertStore;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer};
use rustls::server::WebPkiClientVerifier;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpSocket;
use tokio_util::sync::CancellationToken;
use x509_parser::prelude::{FromDer as _, ParsedExtension, X509Certificate};

use super::*;
use crate::authority::testing::{Place, recorded_svid};
use crate::authority::{Authority, IssuedSvid, init, read_list};
use crate::budget::Source;
use crate::clock;
use crate::store::sqlite::{SqliteStore, StoreLimits};
use crate::store::{Actor, IssuerKeyId, RevocationReason, Store};

struct House {
    place: Place,
    store: Arc<dyn Store>,
    authority: Arc<Authority>,
}

async fn open() -> House {
    let place = Place::at(clock::now());
    init(&place.options).unwrap();
    let database = place.options.data_dir.join("test.sqlite");
    let trust_domain = place.options.trust_domain.clone();
    let store: Arc<dyn Store> =
        Arc::new(SqliteStore::open(&database, trust_domain, StoreLimits::default()).await.unwrap());
    let authority = server(&place, &store).await;
    House { place, store, authority }
}

async fn server(place: &Place, store: &Arc<dyn Store>) -> Arc<Authority> {
    let trust_domain = place.options.trust_domain.clone();
    Arc::new(Authority::open(trust_domain, place.files(), store.as_ref(), clock::now()).await.unwrap())
}

impl House {
    async fn keeper(&self) -> ListKeeper {
        let (store, authority) = (self.store.clone(), self.authority.clone());
        ListKeeper::open(store, authority, ListSettings::default()).await.unwrap()
    }

    async fn svid(&self) -> IssuedSvid {
        recorded_svid(self.store.as_ref(), &self.authority.issuer(), 1, clock::now()).await
    }

    async fn revoke(&self, svid: &IssuedSvid) {
        let serial = serial(svid).try_into().unwrap();
        let reason = RevocationReason::PrivilegeWithdrawn;
        let revoked = self.store.revoke_svid(serial, reason, Actor::Server, clock::now()).await.unwrap();
        assert!(revoked.is_some());
    }

    async fn lists(&self) -> Vec<Vec<u8>> {
        self.store.revocation_lists().await.unwrap().iter().map(|list| list.der.to_vec()).collect()
    }

    /// Whether a TLS server that checks the whole chain and takes no unknown status lets it in.
    fn passes(&self, svid: &IssuedSvid, lists: &[Vec<u8>]) -> Result<(), String> {
        let mut roots = RootCertStore::empty();
        for root in self.authority.bundle().get().authorities() {
            roots.add(CertificateDer::from(root.clone())).unwrap();
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
            .with_crls(lists.iter().map(|der| CertificateRevocationListDer::from(der.clone())))
            .build()
            .map_err(|error| error.to_string())?;
        let chain: Vec<_> = svid.chain.iter().map(|der| CertificateDer::from(der.clone())).collect();
        let now = rustls::pki_types::UnixTime::now();
        verifier.verify_client_cert(&chain[0], &chain[1..], now).map(|_| ()).map_err(|error| error.to_string())
    }
}

fn serial(svid: &IssuedSvid) -> Vec<u8> {
    X509Certificate::from_der(&svid.chain[0]).unwrap().1.raw_serial().to_vec()
}

async fn until(mut what: impl AsyncFnMut() -> bool) {
    for _ in 0..1200 {
        if what().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("it did not come");
}

#[tokio::test]
async fn a_withdrawn_svid_is_refused_by_whoever_checks_the_whole_chain() {
    let house = open().await;
    let (good, bad) = (house.svid().await, house.svid().await);
    let keeper = house.keeper().await;
    let stop = CancellationToken::new();
    let keeping = tokio::spawn(keeper.keep(stop.clone()));
    let before = house.lists().await;
    assert_eq!(before.len(), 2, "the root's, and the intermediate's");
    house.passes(&bad, &before).unwrap();
    house.revoke(&bad).await;
    until(async || house.passes(&bad, &house.lists().await).is_err()).await;
    let lists = house.lists().await;
    assert!(house.passes(&bad, &lists).unwrap_err().contains("Revoked"));
    house.passes(&good, &lists).unwrap();
    for list in &lists {
        let unknown = house.passes(&good, std::slice::from_ref(list)).unwrap_err();
        assert!(unknown.contains("UnknownRevocationStatus"), "{unknown}");
    }
    stop.cancel();
    keeping.await.unwrap();
}

#[tokio::test]
async fn openssl_verifies_a_list_and_refuses_what_is_on_it() {
    let house = open().await;
    let (good, bad) = (house.svid().await, house.svid().await);
    house.revoke(&bad).await;
    house.keeper().await;
    let place = tempfile::tempdir().unwrap();
    let file = |name: &str| place.path().join(name).display().to_string();
    let pem = crate::authority::testing::pem_text;
    let lists = house.lists().await;
    let roots: String = house.authority.bundle().get().to_pem();
    let all: String = lists.iter().map(|der| pem("X509 CRL", der)).collect();
    std::fs::write(file("roots.pem"), &roots).unwrap();
    std::fs::write(file("lists.pem"), &all).unwrap();
    std::fs::write(file("intermediate.pem"), pem("CERTIFICATE", &good.chain[1])).unwrap();
    std::fs::write(file("good.pem"), pem("CERTIFICATE", &good.chain[0])).unwrap();
    std::fs::write(file("bad.pem"), pem("CERTIFICATE", &bad.chain[0])).unwrap();
    let openssl = |words: &[&str]| {
        let output = Command::new("openssl").args(words).output().unwrap();
        (output.status.success(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
    };
    let verify = |leaf: &str| {
        openssl(&[
            "verify",
            "-crl_check_all",
            "-CAfile",
            &file("roots.pem"),
            "-CRLfile",
            &file("lists.pem"),
            "-untrusted",
            &file("intermediate.pem"),
            &file(leaf),
        ])
    };
    let (good, said) = verify("good.pem");
    assert!(good, "{said}");
    let (bad_passes, said) = verify("bad.pem");
    assert!(!bad_passes && said.contains("certificate revoked"), "{said}");
    for (number, der) in lists.iter().enumerate() {
        let list = format!("{number}.crl");
        std::fs::write(file(&list), der).unwrap();
        std::fs::write(
            file("signers.pem"),
            format!("{roots}{}", std::fs::read_to_string(file("intermediate.pem")).unwrap()),
        )
        .unwrap();
        let (_, said) = openssl(&[
            "crl",
            "-inform",
            "DER",
            "-in",
            &file(&list),
            "-CAfile",
            &file("signers.pem"),
            "-noout",
            "-text",
        ]);
        assert!(said.contains("verify OK"), "{said}");
        assert!(said.contains("X509v3 CRL Number") && said.contains("X509v3 Authority Key Identifier"), "{said}");
    }
}

#[tokio::test]
async fn numbers_rise_over_restarts_and_two_servers_show_each_others_lists() {
    let mut house = open().await;
    let issuer = house.authority.issuer().key_id();
    house.keeper().await;
    let first = house.keeper().await.lists().of(issuer).unwrap().number;
    house.authority = server(&house.place, &house.store).await;
    let again = house.keeper().await.lists().of(issuer).unwrap();
    assert_eq!((first, again.number), (2, 3));
    assert_eq!(read_list(&again.der).unwrap().number, 3, "what is signed says the same");
    let mut second = Place::at(clock::now());
    second.options = house.place.options.clone();
    second.options.data_dir = house.place.options.data_dir.with_file_name("second");
    init(&second.options).unwrap();
    let other = server(&second, &house.store).await;
    let keeper = ListKeeper::open(house.store.clone(), other.clone(), ListSettings::default()).await.unwrap();
    let issuers: Vec<_> = keeper.lists().get().iter().map(|list| list.issuer).collect();
    assert_eq!(issuers.len(), 3, "one root, two intermediates");
    assert!(issuers.contains(&issuer) && issuers.contains(&other.issuer().key_id()));
    // What one has signed and the other withdraws is on the list of the one.
    let svid = house.svid().await;
    house.revoke(&svid).await;
    until(async || {
        let keeper = house.keeper().await;
        read_list(&keeper.lists().of(issuer).unwrap().der).unwrap().revoked.iter().any(|(one, _)| *one == serial(&svid))
    })
    .await;
    assert!(read_list(&keeper.lists().of(other.issuer().key_id()).unwrap().der).unwrap().revoked.is_empty());
}

#[tokio::test]
async fn an_intermediate_that_was_renewed_signs_lists_as_long_as_it_lives() {
    let house = open().await;
    let svid = house.svid().await;
    let before = house.authority.issuer().key_id();
    init(&house.place.options).unwrap();
    house.authority.renew(house.store.as_ref(), clock::now()).await.unwrap();
    assert_ne!(house.authority.issuer().key_id(), before);
    let signers = |now| house.authority.list_signers(now).len();
    assert_eq!(signers(clock::now()), 2);
    house.revoke(&svid).await;
    house.keeper().await;
    assert!(house.passes(&svid, &house.lists().await).unwrap_err().contains("Revoked"));
    assert_eq!(signers(UnixTime(i64::MAX)), 1);
}

#[tokio::test]
async fn an_intermediate_that_is_revoked_takes_all_that_it_signed_with_it() {
    let mut house = open().await;
    let svid = house.svid().await;
    let intermediate = X509Certificate::from_der(&svid.chain[1]).unwrap().1.raw_serial().to_vec();
    house.place.options.revoke_intermediates = vec![intermediate];
    init(&house.place.options).unwrap();
    house.place.options.revoke_intermediates.clear();
    init(&house.place.options).unwrap();
    house.keeper().await;
    assert!(house.passes(&svid, &house.lists().await).unwrap_err().contains("Revoked"), "it is remembered");
}

#[tokio::test]
async fn leaves_say_where_the_list_is_if_the_operator_does() {
    let house = open().await;
    let points = |svid: &IssuedSvid| -> Vec<String> {
        let (_, leaf) = X509Certificate::from_der(&svid.chain[0]).unwrap();
        leaf.iter_extensions()
            .filter_map(|extension| match extension.parsed_extension() {
                ParsedExtension::CRLDistributionPoints(points) => Some(format!("{points:?}")),
                _ => None,
            })
            .collect()
    };
    assert!(points(&house.svid().await).is_empty());
    let files = house.place.files().with_list_url(Some("http://crl.example.org/crl".to_owned()));
    let trust_domain = house.place.options.trust_domain.clone();
    let authority = Authority::open(trust_domain, files, house.store.as_ref(), clock::now()).await.unwrap();
    let svid = recorded_svid(house.store.as_ref(), &authority.issuer(), 1, clock::now()).await;
    let url = format!("http://crl.example.org/crl/{}.crl", authority.issuer().key_id());
    assert!(points(&svid)[0].contains(&url), "{:?}", points(&svid));
}

#[tokio::test]
async fn a_reader_gets_a_list_once_and_no_more_than_its_share() {
    let house = open().await;
    let keeper = house.keeper().await;
    let listener = ListListener::new(keeper.lists().clone());
    let issuer = house.authority.issuer().key_id();
    let source = Source::of(IpAddr::V4(Ipv4Addr::LOCALHOST));
    let ask = |method: &str, path: &str, known: Option<&str>| {
        let mut request = Request::builder().method(method).uri(path);
        if let Some(known) = known {
            request = request.header(IF_NONE_MATCH, known);
        }
        listener.answer(&request.body(()).unwrap(), source)
    };
    let path = format!("/crl/{issuer}.crl");
    let answer = ask("GET", &path, None);
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(answer.headers()[CONTENT_TYPE], "application/pkix-crl");
    assert_eq!(answer.headers()[CACHE_CONTROL], "public, max-age=30, must-revalidate");
    let tag = answer.headers()[ETAG].to_str().unwrap().to_owned();
    let body = axum::body::to_bytes(answer.into_body(), 1 << 20).await.unwrap();
    assert_eq!(body.to_vec(), keeper.lists().of(issuer).unwrap().der.to_vec());
    assert_eq!(ask("HEAD", &path, None).status(), StatusCode::OK);
    assert_eq!(ask("GET", &path, Some(&format!("\"0\", W/{tag}"))).status(), StatusCode::NOT_MODIFIED);
    assert_eq!(ask("GET", &path, Some("\"0\"")).status(), StatusCode::OK);
    let refused = ask("POST", &path, None);
    assert_eq!(
        (refused.status(), &refused.headers()[ALLOW]),
        (StatusCode::METHOD_NOT_ALLOWED, &"GET, HEAD".parse().unwrap())
    );
    let other = IssuerKeyId([0; 20]);
    let upper = path.to_uppercase();
    for path in ["/", "/crl/", "/crl/.crl", "/crl/../x.crl", &upper, &format!("/crl/{other}.crl"), "/crl/zz.crl"] {
        assert_eq!(ask("GET", path, None).status(), StatusCode::NOT_FOUND, "{path}");
    }
    let refused = (0..200).map(|_| ask("GET", &path, None)).find(|one| one.status() == StatusCode::TOO_MANY_REQUESTS);
    assert!(refused.unwrap().headers().contains_key(RETRY_AFTER));
}

#[tokio::test]
async fn who_holds_connections_open_keeps_nobody_else_from_the_lists() {
    let house = open().await;
    let keeper = house.keeper().await;
    let stop = CancellationToken::new();
    let listener = ListListener::new(keeper.lists().clone());
    let bound = listener.bind("127.0.0.1:0".parse().unwrap(), stop.clone()).await.unwrap();
    // A connection that was answered, and stays open; nothing where it was closed instead.
    let from = async |address: &str| {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(format!("{address}:0").parse().unwrap()).unwrap();
        let mut stream = socket.connect(bound).await.unwrap();
        let mut answer = [0; 12];
        let asked = stream.write_all(b"GET /crl/none.crl HTTP/1.1\r\nhost: crl\r\n\r\n").await;
        (asked.is_ok() && stream.read_exact(&mut answer).await.is_ok()).then_some(stream)
    };
    let mut open = Vec::new();
    while let Some(stream) = from("127.0.0.2").await {
        open.push(stream);
        assert!(open.len() < 200, "there is an end to it");
    }
    assert!(from("127.0.0.3").await.is_some());
    drop(open);
    while from("127.0.0.2").await.is_none() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    stop.cancel();
}

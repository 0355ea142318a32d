//! X.509-SVIDs and the bundle as the real server issues them and the real agent serves them: rows 11, 14 to 17, 19 to 22,
//! 25 and 26 as far as they are about what we make.

use holdfast_protocol::workload::X509svid;
use serde_json::Value;
use tokio::sync::OnceCell;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::peer::shown;
use crate::place::Place;
use crate::workload::certificates;

const PLAIN: &str = "spiffe://example.org/plain";
const NAMED: &str = "spiffe://example.org/named";

/// Everything that one trust domain issued, DER.
pub(crate) struct Issued {
    roots: Vec<Vec<u8>>,
    intermediates: Vec<Vec<u8>>,
    /// Of an entry without a DNS name.
    plain: Vec<u8>,
    /// Of one with two.
    named: Vec<u8>,
    /// The server's own.
    server: Vec<u8>,
    /// The bundle as a document.
    bundle: Value,
}

impl Issued {
    async fn get() -> &'static Self {
        static ISSUED: OnceCell<Issued> = OnceCell::const_new();
        ISSUED.get_or_init(Self::collect).await
    }

    async fn collect() -> Self {
        let place = Place::shared().await;
        let _turn = place.turn().await;
        place.enter(PLAIN, &[]);
        place.enter(NAMED, &["--dns", "web.example.org", "--dns", "*.web.example.org"]);
        let answer = place.fetch(&[PLAIN, NAMED]).await;
        let chain = |svid: &X509svid| certificates(&svid.x509_svid);
        let (plain, named) = (chain(&answer.svids[0]), chain(&answer.svids[1]));
        let server = tokio::task::block_in_place(|| shown(&place.server.address()));
        let bundle = std::fs::read_to_string(place.server.folder().join("state/authority/bundle.json")).unwrap();
        let mut intermediates = plain[1..].to_vec();
        intermediates.extend_from_slice(&server[1..]);
        Self {
            roots: certificates(&answer.svids[0].bundle),
            intermediates,
            plain: plain[0].clone(),
            named: named[0].clone(),
            server: server[0].clone(),
            bundle: serde_json::from_str(&bundle).unwrap(),
        }
    }

    fn leaves(&self) -> [&[u8]; 3] {
        [&self.plain, &self.named, &self.server]
    }

    fn signers(&self) -> impl Iterator<Item = &[u8]> {
        self.roots.iter().chain(&self.intermediates).map(Vec::as_slice)
    }
}

fn parsed(der: &[u8]) -> X509Certificate<'_> {
    let (rest, certificate) = X509Certificate::from_der(der).unwrap();
    assert!(rest.is_empty());
    certificate
}

/// The URIs among a certificate's names.
pub(crate) fn uris(der: &[u8]) -> Vec<String> {
    let certificate = parsed(der);
    let names = certificate.subject_alternative_name().unwrap().unwrap();
    let uris = names.value.general_names.iter().filter_map(|name| match name {
        GeneralName::URI(uri) => Some((*uri).to_owned()),
        _ => None,
    });
    uris.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn spiffe_011_the_bundles_authority_carries_the_trust_domains_id() {
    let issued = Issued::get().await;
    assert!(!issued.roots.is_empty());
    for root in &issued.roots {
        assert_eq!(uris(root), ["spiffe://example.org"]);
        assert!(parsed(root).is_ca());
        parsed(root).verify_signature(None).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn spiffe_014_a_leaf_has_one_uri_whatever_else_its_names_are() {
    let issued = Issued::get().await;
    assert_eq!(uris(&issued.plain), [PLAIN]);
    assert_eq!(uris(&issued.named), [NAMED]);
    assert_eq!(uris(&issued.server), ["spiffe://example.org/holdfast/server"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn spiffe_015_every_leafs_id_has_a_path() {
    let prefix = "spiffe://example.org/";
    for leaf in Issued::get().await.leaves() {
        let ids = uris(leaf);
        assert!(ids[0].starts_with(prefix) && ids[0].len() > prefix.len(), "{ids:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn spiffe_016_the_names_are_critical_where_the_subject_is_empty() {
    let issued = Issued::get().await;
    for leaf in issued.leaves() {
        let certificate = parsed(leaf);
        let names = certificate.subject_alternative_name().unwrap().unwrap();
        assert!(certificate.subject().iter().next().is_some() || names.critical);
    }
    let plain = parsed(&issued.plain);
    assert!(plain.subject().iter().next().is_none(), "no subject, so that the row is about something");
    let named = parsed(&issued.named);
    let name = named.subject().iter_common_name().next().unwrap();
    assert_eq!(name.as_str().unwrap(), "web.example.org", "the first DNS name");
}

#[tokio::test(flavor = "multi_thread")]
async fn spiffe_017_signing_certificates_name_the_trust_domain_alone() {
    let issued = Issued::get().await;
    assert!(!issued.intermediates.is_empty());
    for signer in issued.signers() {
        assert_eq!(uris(signer), ["spiffe://example.org"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn spiffe_019_signers_are_authorities_and_leaves_are_not() {
    let issued = Issued::get().await;
    for signer in issued.signers() {
        let certificate = parsed(signer);
        let constraints = certificate.basic_constraints().unwrap().unwrap();
        assert!(constraints.value.ca && constraints.critical);
    }
    for leaf in issued.leaves() {
        let certificate = parsed(leaf);
        // There, so that clients that want it find it, and false.
        assert!(!certificate.basic_constraints().unwrap().unwrap().value.ca);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn spiffe_020_key_usage_is_critical_in_every_certificate() {
    let issued = Issued::get().await;
    for der in issued.signers().chain(issued.leaves()) {
        assert!(parsed(der).key_usage().unwrap().unwrap().critical);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn spiffe_021_signers_sign_certificates_and_leaves_sign_messages_alone() {
    let issued = Issued::get().await;
    for signer in issued.signers() {
        assert!(parsed(signer).key_usage().unwrap().unwrap().value.key_cert_sign());
    }
    for leaf in issued.leaves() {
        let certificate = parsed(leaf);
        let usage = certificate.key_usage().unwrap().unwrap().value;
        assert!(usage.digital_signature() && !usage.key_cert_sign() && !usage.crl_sign());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn spiffe_022_leaves_are_for_servers_and_clients() {
    for leaf in Issued::get().await.leaves() {
        let certificate = parsed(leaf);
        let usage = certificate.extended_key_usage().unwrap().unwrap().value;
        assert!(usage.server_auth && usage.client_auth);
    }
}

/// The document's keys.
fn keys(issued: &Issued) -> &[Value] {
    let keys = issued.bundle["keys"].as_array().unwrap();
    assert_eq!(keys.len(), issued.roots.len());
    keys
}

#[tokio::test(flavor = "multi_thread")]
async fn spiffe_025_the_bundles_x509_keys_say_what_they_are_for_and_have_no_id() {
    let issued = Issued::get().await;
    for key in keys(issued) {
        assert_eq!(key["use"], "x509-svid");
        assert!(key.get("kid").is_none(), "{key}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn spiffe_026_each_of_them_holds_one_certificate() {
    use base64::Engine as _;
    let issued = Issued::get().await;
    for (key, root) in keys(issued).iter().zip(&issued.roots) {
        let held = key["x5c"].as_array().unwrap();
        assert_eq!(held.len(), 1);
        let der = base64::engine::general_purpose::STANDARD.decode(held[0].as_str().unwrap()).unwrap();
        assert_eq!(der, *root);
        // And the key beside it is the certificate's.
        let text =
            |name: &str| base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(key[name].as_str().unwrap()).unwrap();
        let point = [vec![4], text("x"), text("y")].concat();
        assert_eq!(parsed(root).public_key().subject_public_key.as_ref(), point);
    }
}

//! Certificates that no server of ours signs, under its real keys: what validators must refuse, one fault each.

use holdfast_tests::Server;
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, SanType, SerialNumber,
};
use ring::rand::{SecureRandom, SystemRandom};

/// Who may sign: a certificate with its key.
pub(crate) struct Signer {
    pub(crate) der: Vec<u8>,
    issuer: Issuer<'static, KeyPair>,
    pub(crate) key_pkcs8: Vec<u8>,
}

/// A chain, leaf first, and the leaf's key.
#[derive(Clone)]
pub(crate) struct Shown {
    pub(crate) chain: Vec<Vec<u8>>,
    pub(crate) key_pkcs8: Vec<u8>,
}

/// The keys of a trust domain, as whoever stole them holds them.
pub(crate) struct Forge {
    domain: String,
    pub(crate) root: Signer,
    pub(crate) intermediate: Signer,
}

impl Signer {
    fn read(path: &std::path::Path) -> Self {
        let text = std::fs::read_to_string(path).unwrap();
        let blocks = pem::parse_many(&text).unwrap();
        let block = |tag: &str| blocks.iter().find(|block| block.tag() == tag).unwrap().contents().to_vec();
        Self::of(block("CERTIFICATE"), KeyPair::try_from(block("PRIVATE KEY")).unwrap())
    }

    fn of(der: Vec<u8>, key: KeyPair) -> Self {
        let key_pkcs8 = key.serialize_der();
        Self { issuer: Issuer::from_ca_cert_der(&der.as_slice().into(), key).unwrap(), der, key_pkcs8 }
    }

    /// A signer below this one.
    pub(crate) fn below(&self, domain: &str, change: impl FnOnce(&mut CertificateParams)) -> Self {
        let (key, mut params) = (KeyPair::generate().unwrap(), signing(domain));
        params.use_authority_key_identifier_extension = true;
        change(&mut params);
        Self::of(params.signed_by(&key, &self.issuer).unwrap().der().to_vec(), key)
    }

    /// Somebody else's root of the same name.
    pub(crate) fn another(domain: &str) -> Self {
        let (key, mut params) = (KeyPair::generate().unwrap(), signing(domain));
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self::of(params.self_signed(&key).unwrap().der().to_vec(), key)
    }

    /// A leaf for `id`, below this signer and those above it.
    pub(crate) fn leaf(&self, id: &str, above: &[&Self], change: impl FnOnce(&mut CertificateParams)) -> Shown {
        let (key, mut params) = (KeyPair::generate().unwrap(), params(&[id]));
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        change(&mut params);
        let leaf = params.signed_by(&key, &self.issuer).unwrap().der().to_vec();
        let chain = [leaf, self.der.clone()].into_iter().chain(above.iter().map(|signer| signer.der.clone()));
        Shown { chain: chain.collect(), key_pkcs8: key.serialize_der() }
    }
}

impl Forge {
    /// Takes the keys of `server`: its root's and its own.
    pub(crate) fn of(server: &Server) -> Self {
        Self {
            domain: server.domain().to_owned(),
            root: Signer::read(&server.folder().join("root.key")),
            intermediate: Signer::read(&server.folder().join("state/authority/intermediate.pem")),
        }
    }

    /// Leaves for `id` that are refused, each for one reason: row, what is wrong, and what validators call it.
    pub(crate) fn faults(&self, id: &str) -> Vec<(u16, &'static str, Shown)> {
        let (domain, other) = (self.domain.as_str(), Signer::another(&self.domain));
        let own = |change: &dyn Fn(&mut CertificateParams)| self.intermediate.leaf(id, &[], change);
        let uri = |uri: &str| SanType::URI(uri.try_into().unwrap());
        let as_leaf = |signer: &Signer| Shown { chain: vec![signer.der.clone()], key_pkcs8: signer.key_pkcs8.clone() };
        let deep = self.intermediate.below(domain, |_| ());
        let constrained = |uri: &str| {
            let extension = constraint(uri);
            self.root.below(domain, move |params| params.custom_extensions.push(extension))
        };
        let elsewhere = constrained("other.org");
        let now = std::time::SystemTime::now();
        let at = |seconds: i64| (now + std::time::Duration::from_secs(seconds.unsigned_abs())).into();
        let before = |seconds: u64| (now - std::time::Duration::from_secs(seconds)).into();
        let mut flipped = own(&|_| ());
        flip(&mut flipped.chain[0], id);
        vec![
            (12, "a byte of the ID was changed", flipped),
            (
                13,
                "the ID stands in the common name",
                own(&|params| {
                    params.subject_alt_names = vec![SanType::DnsName("a.example.org".try_into().unwrap())];
                    params.distinguished_name.push(DnType::CommonName, id);
                }),
            ),
            (
                13,
                "the ID stands among the mail addresses",
                own(&|params| {
                    params.subject_alt_names = vec![SanType::Rfc822Name(id.try_into().unwrap())];
                }),
            ),
            (14, "two IDs", own(&|params| params.subject_alt_names.push(uri(&format!("{id}/b"))))),
            (14, "an ID and another URI", own(&|params| params.subject_alt_names.push(uri("https://example.org/")))),
            (
                15,
                "the ID of the trust domain",
                own(&|params| params.subject_alt_names = vec![uri(&format!("spiffe://{domain}"))]),
            ),
            (18, "the intermediate itself", as_leaf(&self.intermediate)),
            (18, "the root itself", as_leaf(&self.root)),
            (19, "an authority's constraints", own(&|params| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained))),
            (20, "no key usage", own(&|params| params.key_usages = Vec::new())),
            (
                20,
                "a key usage that is not critical",
                own(&|params| {
                    params.key_usages = Vec::new();
                    // BIT STRING: digitalSignature.
                    params
                        .custom_extensions
                        .push(CustomExtension::from_oid_content(&[2, 5, 29, 15], vec![3, 2, 7, 0x80]));
                }),
            ),
            (21, "keyCertSign", own(&|params| params.key_usages.push(KeyUsagePurpose::KeyCertSign))),
            (21, "cRLSign", own(&|params| params.key_usages.push(KeyUsagePurpose::CrlSign))),
            (21, "no digitalSignature", own(&|params| params.key_usages = vec![KeyUsagePurpose::KeyAgreement])),
            (
                22,
                "an extended key usage for neither side",
                own(&|params| {
                    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::CodeSigning];
                }),
            ),
            (
                23,
                "its end is over",
                own(&|params| {
                    (params.not_before, params.not_after) = (before(7200), before(3600));
                }),
            ),
            (23, "an authority of another key", other.leaf(id, &[], |_| ())),
            (23, "a path that is too long", deep.leaf(id, &[&self.intermediate], |_| ())),
            (
                23,
                "a critical extension that nobody knows",
                own(&|params| {
                    let mut unknown = CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 99999, 1], vec![5, 0]);
                    unknown.set_criticality(true);
                    params.custom_extensions.push(unknown);
                }),
            ),
            (
                23,
                "a key that its own certificate does not have",
                Shown { key_pkcs8: KeyPair::generate().unwrap().serialize_der(), ..own(&|_| ()) },
            ),
            (
                23,
                "its authority's end is over",
                self.root
                    .below(domain, |params| {
                        (params.not_before, params.not_after) = (before(7200), before(3600));
                    })
                    .leaf(id, &[], |params| params.not_after = at(60)),
            ),
            (24, "its authority is for another trust domain", elsewhere.leaf(id, &[], |_| ())),
        ]
    }
}

fn signing(domain: &str) -> CertificateParams {
    let mut params = params(&[&format!("spiffe://{domain}")]);
    params.distinguished_name.push(DnType::CommonName, "another authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn params(uris: &[&str]) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.subject_alt_names = uris.iter().map(|uri| SanType::URI((*uri).try_into().unwrap())).collect();
    let mut serial = [0; 16];
    SystemRandom::new().fill(&mut serial).unwrap();
    serial[0] &= 0x7f;
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    let now = std::time::SystemTime::now();
    params.not_before = (now - std::time::Duration::from_secs(60)).into();
    params.not_after = (now + std::time::Duration::from_secs(3600)).into();
    params
}

/// Name constraints that permit URIs of one host: RFC 5280, 4.2.1.10.
fn constraint(host: &str) -> CustomExtension {
    let wrapped = |tag: u8, content: &[u8]| [&[tag, u8::try_from(content.len()).unwrap()], content].concat();
    let subtree = wrapped(0x30, &wrapped(0x86, host.as_bytes()));
    let mut extension = CustomExtension::from_oid_content(&[2, 5, 29, 30], wrapped(0x30, &wrapped(0xa0, &subtree)));
    extension.set_criticality(true);
    extension
}

/// Changes the last character of `id` where it stands in `der`.
fn flip(der: &mut [u8], id: &str) {
    let at = der.windows(id.len()).position(|window| window == id.as_bytes()).unwrap() + id.len() - 1;
    der[at] ^= 1;
}

//! Whatever is wrong with an answer, it is refused, and by its own name.

use rcgen::{CustomExtension, GeneralSubtree, NameConstraints};

use super::*;

/// Answers with what it was given.
struct Says(Answer);

impl Upstream for Says {
    fn kind(&self) -> &'static str {
        "says"
    }

    fn sign(&self, _: Request) -> BoxFuture<'_, Result<Answer, UpstreamFault>> {
        Box::pin(async { Ok(self.0.clone()) })
    }
}

async fn minted(answer: Answer, key: &NewKey, request: Request, known: &[Vec<u8>]) -> Result<Minted, &'static str> {
    mint(&Says(answer), request, &key.spki(), known).await.map_err(|fault| fault.code())
}

/// What becomes of an intermediate of these parameters under a root of those.
async fn outcome(root: CertificateParams, intermediate: CertificateParams) -> Result<Minted, &'static str> {
    let (root, (key, request)) = (Root::new(root), request());
    let chain = vec![root.sign(&intermediate, &key.spki())];
    minted(Answer { chain, roots: vec![root.der] }, &key, request, &[]).await
}

fn spoilt(spoil: impl FnOnce(&mut CertificateParams)) -> CertificateParams {
    let mut params = ca("intermediate");
    spoil(&mut params);
    params
}

fn root(spoil: impl FnOnce(&mut CertificateParams)) -> CertificateParams {
    let mut params = ca("root");
    spoil(&mut params);
    params
}

#[tokio::test]
async fn a_sound_answer_is_taken_with_its_end_and_its_root() {
    let found = outcome(root(|root| root.not_after = date(900)), ca("intermediate")).await.unwrap();
    assert_eq!(found.path.not_after, NOW.plus(900), "the earliest end of the path");
    assert_eq!(found.path.root, found.roots[0]);
}

#[tokio::test]
async fn each_thing_that_is_wrong_with_an_intermediate_is_refused() {
    let uri = |text: &str| SanType::URI(ia5(text).unwrap());
    let cases: Vec<(&str, CertificateParams)> = vec![
        ("names", spoilt(|p| p.subject_alt_names.clear())),
        ("names", spoilt(|p| p.subject_alt_names = vec![uri("spiffe://other.org")])),
        ("names", spoilt(|p| p.subject_alt_names = vec![uri("spiffe://example.org/server")])),
        ("names", spoilt(|p| p.subject_alt_names.push(uri("spiffe://example.org")))),
        ("names", spoilt(|p| p.distinguished_name = DistinguishedName::new())),
        ("basic_constraints", spoilt(|p| p.is_ca = IsCa::ExplicitNoCa)),
        ("basic_constraints", spoilt(|p| p.is_ca = IsCa::NoCa)),
        ("key_usage", spoilt(|p| p.key_usages = vec![KeyUsagePurpose::CrlSign])),
        ("key_usage", spoilt(|p| p.key_usages = vec![KeyUsagePurpose::KeyCertSign])),
        ("key_usage", spoilt(|p| p.key_usages.clear())),
        ("extended_key_usage", spoilt(|p| extended(p, &[ExtendedKeyUsagePurpose::ServerAuth]))),
        ("validity", spoilt(|p| p.not_after = date(0))),
        ("validity", spoilt(|p| p.not_before = date(1))),
        ("key_id", spoilt(|p| p.use_authority_key_identifier_extension = false)),
        ("name_constraints", spoilt(|p| p.name_constraints = uris_alone())),
        ("critical_extension", spoilt(|p| p.custom_extensions = vec![unknown()])),
    ];
    for (number, (check, params)) in cases.into_iter().enumerate() {
        let found = outcome(ca("root"), params).await.map(|_| ());
        assert_eq!(found.unwrap_err(), format!("authority.chain.{check}"), "case {number}");
    }
    let both = [ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    outcome(ca("root"), spoilt(|p| extended(p, &both))).await.unwrap();
}

#[tokio::test]
async fn each_thing_that_is_wrong_with_a_root_is_refused() {
    let uri = |text: &str| SanType::URI(ia5(text).unwrap());
    let cases: Vec<(&str, CertificateParams)> = vec![
        ("names", root(|p| p.subject_alt_names = vec![uri("spiffe://other.org")])),
        ("names", root(|p| p.subject_alt_names = vec![uri("https://example.org")])),
        ("basic_constraints", root(|p| p.is_ca = IsCa::ExplicitNoCa)),
        ("path_length", root(|p| p.is_ca = IsCa::Ca(BasicConstraints::Constrained(0)))),
        ("key_usage", root(|p| p.key_usages = vec![KeyUsagePurpose::CrlSign])),
        ("validity", root(|p| p.not_after = date(0))),
        ("name_constraints", root(|p| p.name_constraints = uris_alone())),
    ];
    for (number, (check, params)) in cases.into_iter().enumerate() {
        let found = outcome(params, ca("intermediate")).await.map(|_| ());
        assert_eq!(found.unwrap_err(), format!("authority.chain.{check}"), "case {number}");
    }
    // What an organisation's root, or one that SPIRE is under as well, may be.
    for params in [
        root(|p| p.subject_alt_names.clear()),
        root(|p| p.is_ca = IsCa::Ca(BasicConstraints::Constrained(1))),
        root(|p| p.key_usages.push(KeyUsagePurpose::DigitalSignature)),
        root(|p| p.name_constraints = dns_alone()),
    ] {
        outcome(params, ca("intermediate")).await.unwrap();
    }
}

#[tokio::test]
async fn a_certificate_for_another_key_is_refused() {
    let (root, (key, request)) = (Root::new(ca("root")), request());
    let other = NewKey::generate(&td()).unwrap();
    let chain = vec![root.sign(&ca("intermediate"), &other.spki())];
    let found = minted(Answer { chain, roots: vec![root.der] }, &key, request, &[]).await;
    assert_eq!(found.unwrap_err(), "authority.chain.key");
}

#[tokio::test]
async fn a_chain_must_lead_to_a_root_of_the_answer_or_of_the_bundle() {
    let (root, other, (key, request)) = (Root::new(ca("root")), Root::new(ca("other")), request());
    let chain = vec![root.sign(&ca("intermediate"), &key.spki())];
    let answer = |roots: &[&Vec<u8>]| Answer { chain: chain.clone(), roots: roots.iter().copied().cloned().collect() };
    let ask = async |answer, known: &[Vec<u8>]| minted(answer, &key, request.clone(), known).await.map(|_| ());
    assert_eq!(ask(answer(&[]), &[]).await.unwrap_err(), "authority.chain.root");
    assert_eq!(ask(answer(&[&other.der]), std::slice::from_ref(&root.der)).await.unwrap_err(), "authority.chain.root");
    ask(answer(&[]), std::slice::from_ref(&root.der)).await.unwrap();
    ask(answer(&[&other.der, &root.der]), &[]).await.unwrap();
    // Another key under the same name.
    let impostor = Root::new(ca("root"));
    let found = ask(answer(&[&impostor.der]), &[]).await.unwrap_err();
    assert_eq!(found, "authority.chain.key_id");
}

#[tokio::test]
async fn those_between_are_checked_as_strictly() {
    let (root, middle_key, (key, request)) = (Root::new(ca("root")), key(), request());
    let spki = rcgen::PublicKeyData::subject_public_key_info(&middle_key);
    let own = ca("intermediate");
    for (params, expected) in [
        (ca("middle"), None),
        (spoilt(|p| p.subject_alt_names.clear()), None),
        (spoilt(|p| p.is_ca = IsCa::Ca(BasicConstraints::Constrained(0))), Some("authority.chain.path_length")),
        (spoilt(|p| p.is_ca = IsCa::ExplicitNoCa), Some("authority.chain.basic_constraints")),
        (spoilt(|p| p.not_after = date(-1)), Some("authority.chain.validity")),
        (
            spoilt(|p| p.subject_alt_names = vec![SanType::URI(ia5("spiffe://other.org").unwrap())]),
            Some("authority.chain.names"),
        ),
    ] {
        let middle = root.sign(&params, &spki);
        let issuer = Issuer::from_params(&params, &middle_key);
        let public = rcgen::SubjectPublicKeyInfo::from_der(&key.spki()).unwrap();
        let first = own.signed_by(&public, &issuer).unwrap().der().to_vec();
        let answer = Answer { chain: vec![first.clone(), middle.clone()], roots: vec![root.der.clone()] };
        let found = minted(answer, &key, request.clone(), &[]).await;
        assert_eq!(found.err(), expected);
        let turned = Answer { chain: vec![middle, first], roots: vec![root.der.clone()] };
        assert!(minted(turned, &key, request.clone(), &[]).await.is_err());
    }
}

#[tokio::test]
async fn an_answer_of_another_size_or_form_is_refused() {
    let (root, (key, request)) = (Root::new(ca("root")), request());
    let good = root.sign(&ca("intermediate"), &key.spki());
    let roots = || vec![root.der.clone()];
    let mut longer = good.clone();
    longer.push(0);
    let mut flipped = good.clone();
    *flipped.last_mut().unwrap() ^= 1;
    for (chain, roots, expected) in [
        (vec![], roots(), "authority.chain.count"),
        (vec![good.clone(); 5], roots(), "authority.upstream.answer"),
        (vec![good.clone()], vec![root.der.clone(); 9], "authority.upstream.answer"),
        (vec![longer], roots(), "authority.chain.form"),
        (vec![b"nonsense".to_vec()], roots(), "authority.chain.form"),
        (vec![vec![0x30; 20_000]], roots(), "authority.chain.form"),
        (vec![flipped], roots(), "authority.chain.signature"),
    ] {
        let found = minted(Answer { chain, roots }, &key, request.clone(), &[]).await;
        assert_eq!(found.unwrap_err(), expected);
    }
}

/// rustls refuses every SVID below such a root, so we do before there is one.
#[test]
fn constraints_that_are_refused_are_those_that_rustls_refuses() {
    let usable = |constraints: Option<NameConstraints>| {
        let authority = Root::new(root(|p| p.name_constraints = constraints));
        let mut leaf = ca("");
        leaf.is_ca = IsCa::ExplicitNoCa;
        leaf.distinguished_name = DistinguishedName::new();
        leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        leaf.subject_alt_names = vec![SanType::URI(ia5("spiffe://example.org/a").unwrap())];
        let spki = rcgen::PublicKeyData::subject_public_key_info(&key());
        let leaf = authority.sign(&leaf, &spki).into();
        let leaf = webpki::EndEntityCert::try_from(&leaf).unwrap();
        let root = authority.der.as_slice().into();
        let anchor = webpki::anchor_from_trusted_cert(&root).unwrap();
        let time = rustls_pki_types::UnixTime::since_unix_epoch(Duration::from_secs(NOW.seconds().unsigned_abs()));
        let algorithms = webpki::ALL_VERIFICATION_ALGS;
        let usage = webpki::KeyUsage::client_auth();
        leaf.verify_for_usage(algorithms, &[anchor], &[], time, usage, None, None).is_ok()
    };
    assert!(usable(None) && usable(dns_alone()));
    assert!(!usable(uris_alone()));
}

fn uris_alone() -> Option<NameConstraints> {
    // rcgen knows no URIs among constraints: a directory name is refused for the same reason.
    let mut name = DistinguishedName::new();
    name.push(DnType::OrganizationName, "example.org");
    Some(NameConstraints { permitted_subtrees: vec![GeneralSubtree::DirectoryName(name)], excluded_subtrees: vec![] })
}

fn dns_alone() -> Option<NameConstraints> {
    let dns = GeneralSubtree::DnsName("example.org".to_owned());
    Some(NameConstraints { permitted_subtrees: vec![dns], excluded_subtrees: vec![] })
}

fn unknown() -> CustomExtension {
    let mut extension = CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 32473, 1], vec![5, 0]);
    extension.set_criticality(true);
    extension
}

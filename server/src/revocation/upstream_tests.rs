//! Lists above our intermediates: from the operator's files, and made with an upstream authority's key.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use holdfast_identity::{TrustDomain, UnixTime};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DistinguishedName, DnType,
    IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SerialNumber,
};
use rustls::server::WebPkiClientVerifier;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer};
use time::OffsetDateTime;
use tokio_util::sync::CancellationToken;

use super::completeness::missing;
use super::*;
use crate::authority::testing::{Place, pem_text, recorded_svid};
use crate::authority::{Authority, IssuedSvid, Rotation, UpstreamInit, UpstreamSettings, init_upstream};
use crate::clock;
use crate::dispatch::counting;
use crate::listen::Counting;
use crate::store::sqlite::{SqliteStore, StoreLimits};
use crate::store::{Actor, IssuerKeyId, ListValidity, RevocationList, RevocationReason, Signer, Store};

type Root = CertifiedIssuer<'static, KeyPair>;

/// A trust domain below a root whose key is in files, or with a program that signs.
struct House {
    place: Place,
    store: Arc<dyn Store>,
    authority: Arc<Authority>,
    root: Root,
    folder: PathBuf,
}

fn date(after_now: i64) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(clock::now().seconds() + after_now).unwrap()
}

fn root(usages: &[KeyUsagePurpose]) -> Root {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "root");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = usages.to_vec();
    (params.not_before, params.not_after) = (date(-3600), date(86_400));
    CertifiedIssuer::self_signed(params, KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap()).unwrap()
}

const USAGES: [KeyUsagePurpose; 2] = [KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];

impl House {
    async fn founded(usages: &[KeyUsagePurpose]) -> Self {
        let place = Place::at(clock::now());
        let folder = place.options.root_key.with_file_name("upstream");
        std::fs::create_dir_all(&folder).unwrap();
        let root = root(usages);
        std::fs::write(folder.join("cert.pem"), root.pem()).unwrap();
        std::fs::write(folder.join("key.pem"), root.key().serialize_pem()).unwrap();
        std::fs::set_permissions(folder.join("key.pem"), std::fs::Permissions::from_mode(0o600)).unwrap();
        let init = UpstreamInit {
            trust_domain: place.options.trust_domain.clone(),
            data_dir: place.options.data_dir.clone(),
            upstream: in_files(&folder).authority(),
            ttl: 3600,
            now: clock::now(),
        };
        init_upstream(&init).await.unwrap();
        let database = place.options.data_dir.join("test.sqlite");
        let trust_domain = place.options.trust_domain.clone();
        let store: Arc<dyn Store> =
            Arc::new(SqliteStore::open(&database, trust_domain, StoreLimits::default()).await.unwrap());
        let authority = server(&place, &store, in_files(&folder)).await;
        Self { place, store, authority, root, folder }
    }

    async fn keeper(&self, files: Vec<PathBuf>) -> ListKeeper {
        let settings = ListSettings { files, ..ListSettings::default() };
        ListKeeper::open(self.store.clone(), self.authority.clone(), settings).await.unwrap()
    }

    /// Whose lists are missing, by the names in their certificates.
    async fn missing(&self) -> Vec<(String, bool)> {
        let lists = self.store.revocation_lists().await.unwrap();
        missing(&self.authority, &lists, clock::now()).into_values().map(|one| (one.subject, one.has_expired)).collect()
    }

    /// A list of the root in a file.
    fn list(&self, name: &str, spoil: impl FnOnce(&mut CertificateRevocationListParams)) -> PathBuf {
        signed_list(&self.root, &self.folder.join(name), spoil)
    }

    async fn svid(&self) -> IssuedSvid {
        recorded_svid(self.store.as_ref(), &self.authority.issuer(), 1, clock::now()).await
    }

    /// Whether a TLS server that checks the whole chain and takes no unknown status lets it in.
    async fn passes(&self, svid: &IssuedSvid) -> Result<(), String> {
        let lists = self.store.revocation_lists().await.unwrap();
        let mut roots = rustls::RootCertStore::empty();
        roots.add(self.root.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
            .with_crls(lists.iter().map(|list| CertificateRevocationListDer::from(list.der.to_vec())))
            .build()
            .map_err(|error| error.to_string())?;
        let chain: Vec<_> = svid.chain.iter().map(|der| CertificateDer::from(der.clone())).collect();
        let now = rustls::pki_types::UnixTime::now();
        verifier.verify_client_cert(&chain[0], &chain[1..], now).map(|_| ()).map_err(|error| error.to_string())
    }
}

fn in_files(folder: &Path) -> UpstreamSettings {
    let (cert_file, key_file) = (folder.join("cert.pem"), folder.join("key.pem"));
    UpstreamSettings::Files { cert_file, key_file, bundle_file: None }
}

/// An upstream authority that signs no lists.
fn program() -> UpstreamSettings {
    UpstreamSettings::Command { command: vec!["/bin/false".to_owned()], timeout: Duration::from_secs(5) }
}

async fn server(place: &Place, store: &Arc<dyn Store>, upstream: UpstreamSettings) -> Arc<Authority> {
    let trust_domain: TrustDomain = place.options.trust_domain.clone();
    let authority = Authority::open(trust_domain, place.files(), store.as_ref(), clock::now()).await.unwrap();
    let rotation = Rotation { upstream: Some(upstream.authority()), lifetime: 3600, lead: 1 };
    Arc::new(authority.rotating(rotation))
}

fn signed_list(issuer: &Root, file: &Path, spoil: impl FnOnce(&mut CertificateRevocationListParams)) -> PathBuf {
    let mut params = CertificateRevocationListParams {
        this_update: date(-60),
        next_update: date(3600),
        crl_number: SerialNumber::from(7),
        issuing_distribution_point: None,
        revoked_certs: Vec::new(),
        key_identifier_method: KeyIdMethod::Sha256,
    };
    spoil(&mut params);
    // Whatever its certificate says that it may sign.
    let mut able = CertificateParams::default();
    able.distinguished_name = DistinguishedName::new();
    able.distinguished_name.push(DnType::CommonName, "root");
    able.key_usages = USAGES.to_vec();
    let issuer = rcgen::Issuer::from_params(&able, issuer.key());
    std::fs::write(file, params.signed_by(&issuer).unwrap().der()).unwrap();
    file.to_owned()
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
async fn a_root_whose_key_is_at_hand_signs_its_list_by_itself() {
    let house = House::founded(&USAGES).await;
    assert_eq!(house.missing().await, [("CN=root".to_owned(), false)]);
    house.keeper(Vec::new()).await;
    assert_eq!(house.missing().await, []);
    assert_eq!(house.store.revocation_lists().await.unwrap().len(), 2, "the root's, and the intermediate's");
    house.passes(&house.svid().await).await.unwrap();
}

#[tokio::test]
async fn an_intermediate_that_is_revoked_stands_on_its_roots_list() {
    let house = House::founded(&USAGES).await;
    let (store, authority) = (house.store.as_ref(), &house.authority);
    let stop = CancellationToken::new();
    let keeping = tokio::spawn(house.keeper(Vec::new()).await.keep(stop.clone()));
    let (old, svid) = (authority.issuer().path().key_id.to_string(), house.svid().await);
    let next = authority.prepare(store, Actor::Server, clock::now()).await.unwrap();
    authority.activate(store, (&next.id, true), Actor::Server, clock::now()).await.unwrap();
    let fresh = house.svid().await;
    authority.taint(store, &old, Actor::Server, clock::now()).await.unwrap();
    house.passes(&svid).await.unwrap();
    authority.revoke(store, &old, Actor::Server, clock::now()).await.unwrap();
    until(async || house.passes(&svid).await.is_err_and(|why| why.contains("Revoked"))).await;
    house.passes(&fresh).await.unwrap();
    stop.cancel();
    keeping.await.unwrap();
}

#[tokio::test]
async fn a_root_without_the_right_to_sign_lists_signs_none_and_the_operator_is_told() {
    let house = House::founded(&[KeyUsagePurpose::KeyCertSign]).await;
    let own = house.list("own.crl", |_| {});
    house.keeper(vec![own]).await;
    // rustls takes nothing by such a list, and would refuse everybody.
    assert_eq!(house.missing().await, [("CN=root".to_owned(), false)]);
}

#[tokio::test]
async fn a_list_in_a_file_is_taken_where_its_signer_stands_above_us_and_relying_parties_can_use_it() {
    let mut house = House::founded(&USAGES).await;
    house.authority = server(&house.place, &house.store, program()).await;
    house.keeper(Vec::new()).await;
    assert_eq!(house.missing().await, [("CN=root".to_owned(), false)], "nobody has its key");
    let other = root(&USAGES);
    let text = house.folder.join("text");
    std::fs::write(&text, "no list").unwrap();
    let flipped = house.list("flipped.crl", |_| {});
    let mut bytes = std::fs::read(&flipped).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&flipped, bytes).unwrap();
    let huge = house.list("huge.crl", |list| list.crl_number = SerialNumber::from_slice(&[0x7f; 19]));
    for refused in [
        signed_list(&other, &house.folder.join("other.crl"), |_| {}),
        house.list("expired.crl", |list| (list.this_update, list.next_update) = (date(-7200), date(-1))),
        house.list("future.crl", |list| list.this_update = date(600)),
        house.folder.join("absent.crl"),
        text,
        flipped,
        huge,
    ] {
        house.keeper(vec![refused.clone()]).await;
        assert_eq!(house.missing().await.len(), 1, "{refused:?}");
    }
    let good = house.list("good.crl", |_| {});
    house.keeper(vec![good.clone()]).await;
    assert_eq!(house.missing().await, []);
    house.passes(&house.svid().await).await.unwrap();
    // As PEM it is the same one; and one of a lower number never takes its place.
    std::fs::write(&good, pem_text("X509 CRL", &std::fs::read(&good).unwrap())).unwrap();
    let older = house.list("older.crl", |list| list.crl_number = SerialNumber::from(6));
    house.keeper(vec![good, older]).await;
    let lists = house.store.revocation_lists().await.unwrap();
    let of_root = IssuerKeyId::of_certificate(house.root.der()).unwrap();
    assert_eq!(lists.iter().find(|list| list.issuer == of_root).unwrap().number, 7);
    let then = UnixTime(i64::MAX);
    assert!(missing(&house.authority, &lists, then).into_values().all(|one| one.has_expired), "it may expire");
}

#[tokio::test]
async fn an_intermediate_on_its_roots_list_signs_nothing_more_and_is_replaced() {
    let house = House::founded(&USAGES).await;
    let (store, authority) = (house.store.as_ref(), &house.authority);
    let issuer = authority.issuer();
    let (_, own) = x509_parser::parse_x509_certificate(issuer.intermediate()).unwrap();
    let serial = own.raw_serial().to_vec();
    let file = house.list("root.crl", |list| {
        let (serial_number, revocation_time) = (SerialNumber::from_slice(&serial), date(-30));
        list.revoked_certs =
            vec![RevokedCertParams { serial_number, revocation_time, reason_code: None, invalidity_date: None }];
    });
    let before = house.svid().await;
    let keeper = house.keeper(vec![file]).await;
    let counting = counting(authority, keeper.lists());
    assert!(authority.heed(|intermediate| counting.revokes(intermediate)));
    assert!(house.passes(&before).await.unwrap_err().contains("Revoked"));
    let spki = KeyPair::generate().unwrap();
    let spki = rcgen::PublicKeyData::subject_public_key_info(&spki);
    let refused = issuer.draft_server(&spki, 60, clock::now()).unwrap_err();
    assert_eq!(refused.code(), "authority.revoked");
    // The upstream authority gives another at once, whatever the schedule.
    authority.tend(store, clock::now()).await.unwrap();
    assert_ne!(authority.issuer().path().key_id, issuer.path().key_id);
    assert!(!authority.heed(|intermediate| counting.revokes(intermediate)));
    house.passes(&house.svid().await).await.unwrap();
}

#[tokio::test]
async fn what_a_former_authority_above_us_has_listed_counts_no_more_though_nobody_signs_below_it_now() {
    let house = House::founded(&USAGES).await;
    let former = root(&USAGES);
    let file = signed_list(&former, &house.folder.join("former.crl"), |list| {
        let (serial_number, revocation_time) = (SerialNumber::from_slice(&[5; 16]), date(-30));
        list.revoked_certs =
            vec![RevokedCertParams { serial_number, revocation_time, reason_code: None, invalidity_date: None }];
    });
    let (now, lists) = (clock::now(), CurrentLists::default());
    let validity =
        ListValidity { this_update: now.plus(-60), next_update: now.plus(3600), issuer_ends: now.plus(3600) };
    let list = RevocationList {
        issuer: IssuerKeyId::of_certificate(former.der()).unwrap(),
        signer: Signer::Above,
        number: 7,
        validity,
        der: std::fs::read(file).unwrap().into(),
    };
    assert!(house.store.import_revocation_list(list, now).await.unwrap());
    lists.read(house.store.as_ref()).await.unwrap();
    let nobody = Counting::new(&house.authority.bundle().get(), std::iter::empty());
    assert_ne!(counting(&house.authority, &lists), nobody);
}

#[tokio::test]
async fn a_list_that_could_not_be_made_is_made_as_soon_as_it_can_be() {
    let house = House::founded(&USAGES).await;
    let svid = house.svid().await;
    let stop = CancellationToken::new();
    let keeping = tokio::spawn(house.keeper(Vec::new()).await.keep(stop.clone()));
    house.passes(&svid).await.unwrap();
    // The store is in trouble while something is withdrawn, and the list of before is far from old.
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(house.place.options.data_dir.join("test.sqlite"));
    let mut beside = <sqlx::SqliteConnection as sqlx::Connection>::connect_with(&options).await.unwrap();
    let mut rename = async |text: &'static str| sqlx::raw_sql(text).execute(&mut beside).await.map(|_| ()).unwrap();
    rename("ALTER TABLE revocation_lists RENAME TO away").await;
    let serial = x509_parser::parse_x509_certificate(&svid.chain[0]).unwrap().1.raw_serial().try_into().unwrap();
    let reason = RevocationReason::KeyCompromise;
    assert!(house.store.revoke_svid(serial, reason, Actor::Server, clock::now()).await.unwrap().is_some());
    tokio::time::sleep(Duration::from_millis(600)).await;
    rename("ALTER TABLE away RENAME TO revocation_lists").await;
    until(async || house.passes(&svid).await.is_err_and(|why| why.contains("Revoked"))).await;
    stop.cancel();
    keeping.await.unwrap();
}

#[tokio::test]
async fn lists_of_whoever_has_ended_are_shown_to_nobody() {
    let house = House::founded(&USAGES).await;
    let keeper = house.keeper(Vec::new()).await;
    let (now, ended) = (clock::now(), IssuerKeyId([9; 20]));
    let validity = ListValidity { this_update: now.plus(-60), next_update: now.plus(-1), issuer_ends: now.plus(-1) };
    let draft = house.store.draft_revocation_list(ended, validity, now).await.unwrap();
    let signer = Signer::Intermediate;
    let list = RevocationList { issuer: ended, signer, number: draft.number, validity, der: vec![1].into() };
    assert!(house.store.keep_revocation_list(list, now).await.unwrap());
    assert_eq!(house.store.revocation_lists().await.unwrap().len(), 3);
    keeper.lists().read(house.store.as_ref()).await.unwrap();
    assert_eq!((keeper.lists().get().len(), keeper.lists().of(ended)), (2, None));
}

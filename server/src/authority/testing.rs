//! A founded trust domain in a temporary directory, for tests.

use holdfast_identity::{SpiffeId, UnixTime};
use rcgen::{CertificateParams, KeyPair};

use super::bundle::pem;
use super::init::KeyAndCertificate;
use super::profile::{draw_serial, leaf};
use super::*;
use crate::store::{EntryNumber, NodeNumber, Origin, Recorded, Store};

pub(crate) const NOW: UnixTime = UnixTime(1_800_000_000);

/// A place for one server's files and the root key.
pub(crate) struct Place {
    _directory: tempfile::TempDir,
    pub(crate) options: InitOptions,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self::at(NOW)
    }

    pub(crate) fn at(now: UnixTime) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let options = InitOptions::new(
            "example.org".parse().unwrap(),
            directory.path().join("data"),
            directory.path().join("root.pem"),
            now,
        );
        Self { _directory: directory, options }
    }

    pub(crate) fn files(&self) -> AuthorityFiles {
        AuthorityFiles::below(&self.options.data_dir)
    }

    pub(crate) fn issuer(&self) -> Issuer {
        Issuer::load(&self.options.trust_domain, &self.files(), self.options.now).unwrap()
    }

    /// Signs whatever `params` say with the intermediate: the certificates that the issuer would never make.
    pub(crate) fn sign_anything(&self, params: &CertificateParams, key: &KeyPair) -> Vec<Vec<u8>> {
        let pair = KeyAndCertificate::read(&self.files().intermediate()).unwrap();
        let chain = pair.certificate.to_vec();
        let issuer = rcgen::Issuer::from_ca_cert_der(&pair.certificate, pair.key).unwrap();
        vec![params.signed_by(key, &issuer).unwrap().der().to_vec(), chain]
    }
}

pub(crate) fn founded() -> (Place, Issuer) {
    let place = Place::new();
    init(&place.options).unwrap();
    let issuer = place.issuer();
    (place, issuer)
}

pub(crate) fn sign(issuer: &Issuer, draft: Draft) -> IssuedSvid {
    issuer.sign(&draft, Recorded::pretended(draft.issuance())).unwrap()
}

/// An SVID for `id` and the key in `spki`, from `now`.
pub(crate) fn svid_for(issuer: &Issuer, id: &SpiffeId, spki: &[u8], (now, ttl): (UnixTime, i64)) -> IssuedSvid {
    sign(issuer, issuer.draft(Origin::Server, id.clone(), spki, Vec::new(), (now, ttl, &[])).unwrap())
}

/// A plain leaf's parameters, to be spoilt.
pub(crate) fn leaf_params(id: &SpiffeId, now: UnixTime) -> CertificateParams {
    let serial = draw_serial(&ring::rand::SystemRandom::new()).unwrap();
    leaf(id, &[], serial, (now.plus(-60), now.plus(3600))).unwrap()
}

/// A workload's SVID as it is in the store: of an entry of that number on node 1.
pub(crate) async fn recorded_svid(store: &dyn Store, issuer: &Issuer, entry: u64, now: UnixTime) -> IssuedSvid {
    let origin = Origin::Workload { node: NodeNumber(1), entry: EntryNumber(entry), revision: 0 };
    let id = issuer.trust_domain().with_path("/web").unwrap();
    let draft = issuer.draft(origin, id, &OwnKey::generate().unwrap().spki(), Vec::new(), (now, 3600, &[])).unwrap();
    let answers = store.record_issuances(vec![draft.issuance()], store.revision().n, now).await.unwrap();
    issuer.sign(&draft, answers.into_iter().next().unwrap().unwrap()).unwrap()
}

/// PEM of one object.
pub(crate) fn pem_text(label: &str, der: &[u8]) -> String {
    pem(label, der)
}

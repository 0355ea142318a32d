//! A small certificate authority of real certificates: root, intermediate, leaves, shaped as the standard wants them.

use std::sync::Arc;

use holdfast_agent::svids::X509Svid;
use holdfast_identity::{SpiffeId, TrustDomain, UnixTime};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType, SerialNumber,
};
use ring::rand::{SecureRandom, SystemRandom};

/// The signing side of one trust domain.
pub(crate) struct Authority {
    domain: TrustDomain,
    root: Vec<u8>,
    intermediate: Vec<u8>,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// A new root and an intermediate under it.
    pub(crate) fn new(domain: &str) -> Self {
        let domain: TrustDomain = domain.parse().unwrap();
        let signer = |name: &str, level: u8| {
            let mut params = params(&domain.id(), name);
            params.is_ca = IsCa::Ca(BasicConstraints::Constrained(level));
            params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
            params
        };
        let root_key = KeyPair::generate().unwrap();
        let root_params = signer("root", 1);
        let root = root_params.self_signed(&root_key).unwrap().der().to_vec();
        let root_issuer = Issuer::new(root_params, root_key);
        let key = KeyPair::generate().unwrap();
        let params = signer("intermediate", 0);
        let intermediate = params.signed_by(&key, &root_issuer).unwrap().der().to_vec();
        Self { domain, root, intermediate, issuer: Issuer::new(params, key) }
    }

    /// Its name.
    pub(crate) fn name(&self) -> &str {
        self.domain.as_str()
    }

    /// The root, DER.
    pub(crate) fn bundle(&self) -> Vec<Vec<u8>> {
        vec![self.root.clone()]
    }

    /// A new SVID for `path`, under a new key.
    pub(crate) fn issue(&self, path: &str, hint: &str, entry: &str) -> Arc<X509Svid> {
        let spiffe_id = self.domain.with_path(path).unwrap();
        let key = KeyPair::generate().unwrap();
        let mut params = params(&spiffe_id, "");
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        let not_after = params.not_after.unix_timestamp();
        let leaf = params.signed_by(&key, &self.issuer).unwrap().der().to_vec();
        Arc::new(X509Svid {
            spiffe_id,
            chain: vec![leaf, self.intermediate.clone()],
            key_pkcs8: key.serialize_der().into(),
            hint: hint.to_owned(),
            entry_id: entry.to_owned(),
            not_after: UnixTime(not_after),
        })
    }
}

fn params(id: &SpiffeId, name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    if !name.is_empty() {
        params.distinguished_name.push(DnType::CommonName, name);
    }
    params.subject_alt_names = vec![SanType::URI(id.as_str().try_into().unwrap())];
    let mut serial = [0; 16];
    SystemRandom::new().fill(&mut serial).unwrap();
    serial[0] &= 0x7f;
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    let now = std::time::SystemTime::now();
    params.not_before = (now - std::time::Duration::from_secs(60)).into();
    params.not_after = (now + std::time::Duration::from_secs(3600)).into();
    params
}

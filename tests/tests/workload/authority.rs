//! A small certificate authority of real certificates: root, intermediate, leaves, shaped as the standard wants them.

use std::sync::Arc;

use holdfast_agent::svids::X509Svid;
use holdfast_identity::{SpiffeId, TrustDomain, UnixTime};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SanType,
    SerialNumber,
};
use ring::rand::{SecureRandom, SystemRandom};

/// The signing side of one trust domain.
pub(crate) struct Authority {
    domain: TrustDomain,
    root: Vec<u8>,
    root_issuer: Arc<Issuer<'static, KeyPair>>,
    intermediate: Vec<u8>,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// A new root and an intermediate under it.
    pub(crate) fn new(domain: &str) -> Self {
        let domain: TrustDomain = domain.parse().unwrap();
        let root_key = KeyPair::generate().unwrap();
        let root_params = signer(&domain, "root", 1);
        let root = root_params.self_signed(&root_key).unwrap().der().to_vec();
        Self::below(domain, root, Arc::new(Issuer::new(root_params, root_key)))
    }

    /// A domain whose intermediate the root of another one has signed: what no domain should.
    pub(crate) fn under(other: &Self, domain: &str) -> Self {
        Self::below(domain.parse().unwrap(), other.root.clone(), Arc::clone(&other.root_issuer))
    }

    fn below(domain: TrustDomain, root: Vec<u8>, root_issuer: Arc<Issuer<'static, KeyPair>>) -> Self {
        let key = KeyPair::generate().unwrap();
        let params = signer(&domain, "intermediate", 0);
        let intermediate = params.signed_by(&key, &*root_issuer).unwrap().der().to_vec();
        Self { domain, root, root_issuer, intermediate, issuer: Issuer::new(params, key) }
    }

    /// Revocation lists of the root and of the intermediate, which has revoked `leaves`.
    pub(crate) fn lists(&self, leaves: &[&[u8]]) -> Vec<Vec<u8>> {
        use x509_parser::prelude::{FromDer, X509Certificate};
        let now = std::time::SystemTime::now();
        let list = |revoked_certs| CertificateRevocationListParams {
            this_update: (now - std::time::Duration::from_secs(60)).into(),
            next_update: (now + std::time::Duration::from_secs(3600)).into(),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs,
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let revoked = leaves.iter().map(|der| RevokedCertParams {
            serial_number: SerialNumber::from_slice(X509Certificate::from_der(der).unwrap().1.raw_serial()),
            revocation_time: (now - std::time::Duration::from_secs(1)).into(),
            reason_code: None,
            invalidity_date: None,
        });
        let own = list(revoked.collect()).signed_by(&self.issuer).unwrap().der().to_vec();
        vec![list(Vec::new()).signed_by(&*self.root_issuer).unwrap().der().to_vec(), own]
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
        self.issue_named(path, hint, entry, &[])
    }

    /// As [`Self::issue`], with DNS names; the first one is the CN.
    pub(crate) fn issue_named(&self, path: &str, hint: &str, entry: &str, dns: &[&str]) -> Arc<X509Svid> {
        let spiffe_id = self.domain.with_path(path).unwrap();
        let key = KeyPair::generate().unwrap();
        let mut params = params(&spiffe_id, dns.first().unwrap_or(&""));
        params.subject_alt_names.extend(dns.iter().map(|name| SanType::DnsName((*name).try_into().unwrap())));
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

fn signer(domain: &TrustDomain, name: &str, level: u8) -> CertificateParams {
    let mut params = params(&domain.id(), name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(level));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
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

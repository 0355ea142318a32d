//! Upstream authorities as an operator sets them up, and what they must not answer.

mod answers;
mod command;
mod files;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType, SerialNumber,
};
use time::OffsetDateTime;

use super::*;
use crate::authority::profile::ia5;
use crate::authority::request::NewKey;
use crate::authority::testing::NOW;

pub(super) fn td() -> TrustDomain {
    "example.org".parse().unwrap()
}

pub(super) fn date(after_now: i64) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(NOW.seconds() + after_now).unwrap()
}

/// A signing certificate as it should be, to be spoilt.
pub(super) fn ca(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.subject_alt_names = vec![SanType::URI(ia5("spiffe://example.org").unwrap())];
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.use_authority_key_identifier_extension = true;
    (params.not_before, params.not_after) = (date(-60), date(3600));
    params.serial_number = Some(SerialNumber::from_slice(&[1, 2, 3]));
    params
}

pub(super) fn key() -> KeyPair {
    KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap()
}

/// A root and its key.
pub(super) struct Root {
    pub(super) key: KeyPair,
    pub(super) params: CertificateParams,
    pub(super) der: Vec<u8>,
}

impl Root {
    pub(super) fn new(params: CertificateParams) -> Self {
        let key = key();
        let der = params.self_signed(&key).unwrap().der().to_vec();
        Self { key, params, der }
    }

    /// A certificate of these parameters for `spki`.
    pub(super) fn sign(&self, params: &CertificateParams, spki: &[u8]) -> Vec<u8> {
        let issuer = Issuer::from_params(&self.params, &self.key);
        let key = rcgen::SubjectPublicKeyInfo::from_der(spki).unwrap();
        params.signed_by(&key, &issuer).unwrap().der().to_vec()
    }
}

pub(super) fn request() -> (NewKey, Request) {
    let key = NewKey::generate(&td()).unwrap();
    let request = Request { csr: key.request.clone(), trust_domain: td(), ttl: 600, now: NOW };
    (key, request)
}

pub(super) fn extended(params: &mut CertificateParams, purposes: &[ExtendedKeyUsagePurpose]) {
    params.extended_key_usages = purposes.to_vec();
}

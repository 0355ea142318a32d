//! The test PKI, declared in one place: roots, issuers and EK certificates, good by default, spoiled by one closure.
#![allow(dead_code, reason = "each test binary uses its part")]

use holdfast_evidence::TrustClass;
use holdfast_evidence::crypto::PublicKey;
use holdfast_evidence::tpm::endorsement::{
    Anchor, EkCertificate, ExpiredIssuers, Roots, UnverifiedEk, verify_ek_certificate,
};
use holdfast_identity::UnixTime;
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    PublicKeyData, SerialNumber, date_time_ymd,
};

/// 2026-01-01; everything is valid from 2020 to 2030.
pub(crate) const NOW: UnixTime = UnixTime(1_767_225_600);

/// A CA with its key.
pub(crate) struct Ca {
    pub(crate) der: Vec<u8>,
    pub(crate) issuer: Issuer<'static, KeyPair>,
}

fn params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2030, 1, 1);
    params
}

fn ca_params(name: &str) -> CertificateParams {
    let mut params = params(name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

impl Ca {
    pub(crate) fn root(name: &str) -> Self {
        let (params, key) = (ca_params(name), KeyPair::generate().unwrap());
        let der = params.self_signed(&key).unwrap().der().to_vec();
        Self { der, issuer: Issuer::new(params, key) }
    }

    /// An issuer below this one, spoiled by `change`.
    pub(crate) fn issuer(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> Self {
        let (mut params, key) = (ca_params(name), KeyPair::generate().unwrap());
        change(&mut params);
        let der = params.signed_by(&key, &self.issuer).unwrap().der().to_vec();
        Self { der, issuer: Issuer::new(params, key) }
    }

    /// An EK certificate for a P-256 key, spoiled by `change`.
    pub(crate) fn ek(&self, change: impl FnOnce(&mut CertificateParams)) -> Ek {
        let key = KeyPair::generate().unwrap();
        let public = PublicKey::from_spki(&key.subject_public_key_info()).unwrap();
        Ek { der: self.ek_for(&key, change), public }
    }

    /// An EK certificate for that key.
    pub(crate) fn ek_for(&self, key: &impl PublicKeyData, change: impl FnOnce(&mut CertificateParams)) -> Vec<u8> {
        let mut params = params("");
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.is_ca = IsCa::ExplicitNoCa;
        params.serial_number = Some(SerialNumber::from(vec![0x42]));
        params.key_usages = vec![KeyUsagePurpose::KeyAgreement];
        params.custom_extensions = vec![tpm_attributes("id:48460000"), ek_purpose(&[0x06, 5, 0x67, 0x81, 0x05, 8, 1])];
        change(&mut params);
        params.signed_by(key, &self.issuer).unwrap().der().to_vec()
    }
}

/// An EK certificate and its key.
pub(crate) struct Ek {
    pub(crate) der: Vec<u8>,
    pub(crate) public: PublicKey,
}

impl Ek {
    pub(crate) fn check(&self, chain: &[&Ca], roots: &Roots) -> Result<EkCertificate, UnverifiedEk> {
        self.check_at(chain, roots, ExpiredIssuers::Refused, NOW)
    }

    pub(crate) fn check_at(
        &self,
        chain: &[&Ca],
        roots: &Roots,
        expired: ExpiredIssuers,
        now: UnixTime,
    ) -> Result<EkCertificate, UnverifiedEk> {
        let chain: Vec<&[u8]> = chain.iter().map(|ca| ca.der.as_slice()).collect();
        verify_ek_certificate(&self.der, &chain, &self.public, roots, expired, now)
    }
}

/// Roots with one anchor of class `discrete`.
pub(crate) fn trusting(ca: &Ca) -> Roots {
    let mut roots = Roots::new();
    roots.add(Anchor::new(&ca.der, TrustClass::Discrete).unwrap());
    roots
}

pub(crate) fn code(result: Result<EkCertificate, UnverifiedEk>) -> &'static str {
    result.map_or_else(|refusal| refusal.code(), |_| "accepted")
}

fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    [&[tag, u8::try_from(content.len()).unwrap()], content].concat()
}

/// A critical SAN with all attributes in one multi-valued RDN, as most vendors have it.
pub(crate) fn tpm_attributes(manufacturer: &str) -> CustomExtension {
    let attribute =
        |last: u8, text: &str| der(0x30, &[der(6, &[0x67, 0x81, 0x05, 2, last]), der(0x0c, text.as_bytes())].concat());
    let set = [attribute(1, manufacturer), attribute(2, "Falcon 9"), attribute(3, "id:00010002")].concat();
    let names = der(0x30, &der(0xa4, &der(0x30, &der(0x31, &set))));
    extension(&[2, 5, 29, 17], names, true)
}

/// Extended key usage with one purpose, given as a DER object identifier.
pub(crate) fn ek_purpose(oid: &[u8]) -> CustomExtension {
    extension(&[2, 5, 29, 37], der(0x30, oid), false)
}

pub(crate) fn extension(oid: &[u64], content: Vec<u8>, critical: bool) -> CustomExtension {
    let mut extension = CustomExtension::from_oid_content(oid, content);
    extension.set_criticality(critical);
    extension
}

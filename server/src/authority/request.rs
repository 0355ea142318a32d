//! A new key for an intermediate, and the request for its certificate.

use holdfast_identity::TrustDomain;
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, KeyUsagePurpose, PublicKeyData as _, SanType};
use rustls_pki_types::CertificateDer;
use zeroize::Zeroizing;

use super::AuthorityFault;
use super::bundle::pem;
use super::profile::{NAME_CHARACTERS_MAX, ia5};

/// A key that waits for its certificate.
pub(super) struct NewKey {
    key: KeyPair,
    /// PKCS#10, DER.
    pub(super) request: Vec<u8>,
}

impl NewKey {
    /// A new P-256 key with a request for `spiffe://td`. Its subject is unique: two signers of one name and different
    /// keys confuse path builders.
    pub(super) fn generate(trust_domain: &TrustDomain) -> Result<Self, AuthorityFault> {
        let crypto = |_| AuthorityFault::Crypto { action: "generate an intermediate key" };
        let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).map_err(crypto)?;
        let mut params = CertificateParams::default();
        let mut name = DistinguishedName::new();
        if trust_domain.as_str().len() <= NAME_CHARACTERS_MAX {
            name.push(DnType::OrganizationName, trust_domain.as_str());
        }
        let digest = ring::digest::digest(&ring::digest::SHA256, &key.subject_public_key_info());
        let unique = digest.as_ref().first_chunk::<8>().map(hex::encode).unwrap_or_default();
        name.push(DnType::CommonName, format!("Holdfast server {unique}"));
        params.distinguished_name = name;
        params.subject_alt_names = vec![SanType::URI(ia5(trust_domain.id().as_str())?)];
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let request = params.serialize_request(&key).map_err(crypto)?.der().to_vec();
        Ok(Self { key, request })
    }

    /// DER `SubjectPublicKeyInfo`.
    pub(super) fn spki(&self) -> Vec<u8> {
        self.key.subject_public_key_info()
    }

    /// PEM of the key and of its chain, as the server keeps them: in one file, so that no crash parts them.
    pub(super) fn with_chain(&self, chain: &[CertificateDer<'_>]) -> Zeroizing<String> {
        let mut text = Zeroizing::new(pem("PRIVATE KEY", self.key.serialized_der()));
        chain.iter().for_each(|der| text.push_str(&pem("CERTIFICATE", der)));
        text
    }
}

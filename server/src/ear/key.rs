//! The key that signs attestation results: P-256, drawn once, kept 0600. It is no key of the authority: no certificate
//! names it, and nothing that it signs is an identity.

use std::path::Path;

use holdfast_appraisal::ear::key_id;
use holdfast_evidence::crypto::{Curve, PublicKey};
use rcgen::KeyPair;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use rustls_pki_types::PrivatePkcs8KeyDer;
use rustls_pki_types::pem::PemObject as _;
use zeroize::Zeroizing;

use super::EarRefused;
use crate::authority::{AuthorityFault, read_secret, write_new_secret};

/// The key that signs attestation results.
pub struct EarKey {
    pair: EcdsaKeyPair,
    spki: Vec<u8>,
    id: Vec<u8>,
}

impl EarKey {
    /// Reads it from `path`, PKCS#8 in PEM. Where there is no such file it is made, with a new key.
    ///
    /// # Errors
    /// [`AuthorityFault`] where the file cannot be read or made, or holds no P-256 key.
    pub fn open(path: &Path) -> Result<Self, AuthorityFault> {
        if !path.exists() {
            let new = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)
                .map_err(|_| AuthorityFault::Crypto { action: "make the key of attestation results" })?;
            match write_new_secret(path, &Zeroizing::new(new.serialize_pem())) {
                // Another server that shares the directory was first.
                Err(AuthorityFault::File { source, .. }) if source.kind() == std::io::ErrorKind::AlreadyExists => {}
                written => written?,
            }
        }
        let text = read_secret(path)?;
        let content = || AuthorityFault::Content {
            path: path.to_owned(),
            expected: "a P-256 key, PKCS#8 in PEM",
            found: "something else".to_owned(),
        };
        let der = PrivatePkcs8KeyDer::from_pem_slice(text.as_bytes()).map_err(|_| content())?;
        let random = SystemRandom::new();
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der.secret_pkcs8_der(), &random)
            .map_err(|_| content())?;
        let (x, y) = match pair.public_key().as_ref() {
            [4, point @ ..] if point.len() == 64 => point.split_at(32),
            _ => return Err(content()),
        };
        let spki = PublicKey::ec(Curve::P256, x, y).ok_or_else(content)?.spki();
        Ok(Self { pair, id: key_id(&spki), spki })
    }

    /// Its id in tokens.
    #[must_use]
    pub fn id(&self) -> &[u8] {
        &self.id
    }

    /// DER of its SubjectPublicKeyInfo.
    #[must_use]
    pub fn spki(&self) -> &[u8] {
        &self.spki
    }

    /// ECDSA with SHA-256 over `bytes`, 64 bytes.
    pub(super) fn sign(&self, bytes: &[u8]) -> Result<Vec<u8>, EarRefused> {
        let signature = self.pair.sign(&SystemRandom::new(), bytes).map_err(|_| EarRefused::Signing)?;
        Ok(signature.as_ref().to_vec())
    }
}

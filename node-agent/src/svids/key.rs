//! A workload's key: made here with its certificate request, handed to the workload, written nowhere.

use std::str::FromStr;

use holdfast_evidence::crypto::rsa_key;
use rcgen::{CertificateParams, DistinguishedName, PublicKeyData, SignatureAlgorithm, SigningKey};
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm, KeyPair,
    RSA_PKCS1_SHA256, RsaKeyPair,
};
use zeroize::Zeroizing;

/// What kind of keys workloads get, in SPIRE's words.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum KeyType {
    /// `ec-p256`
    #[default]
    EcP256,
    /// `ec-p384`
    EcP384,
    /// `rsa-2048`
    Rsa2048,
}

impl FromStr for KeyType {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "ec-p256" => Ok(Self::EcP256),
            "ec-p384" => Ok(Self::EcP384),
            "rsa-2048" => Ok(Self::Rsa2048),
            other => Err(format!("expected ec-p256, ec-p384 or rsa-2048, found {other:?}")),
        }
    }
}

/// A new key that no certificate names yet.
pub(super) struct WorkloadKey {
    pkcs8: Zeroizing<Vec<u8>>,
    spki: Vec<u8>,
    request: Vec<u8>,
}

/// The system gave no random numbers, or ring refused its own key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("cannot make a workload key")]
pub(super) struct NoKey;

impl WorkloadKey {
    /// A key and the proof that we hold it. An RSA key takes a good part of a second.
    pub(super) fn generate(kind: KeyType) -> Result<Self, NoKey> {
        let rng = SystemRandom::new();
        let (pkcs8, pair) = match kind {
            KeyType::EcP256 => ecdsa(&ECDSA_P256_SHA256_ASN1_SIGNING, &rng)?,
            KeyType::EcP384 => ecdsa(&ECDSA_P384_SHA384_ASN1_SIGNING, &rng)?,
            KeyType::Rsa2048 => {
                let pkcs8 = rsa_key(&rng).map_err(|_| NoKey)?;
                let pair = RsaKeyPair::from_pkcs8(&pkcs8).map_err(|_| NoKey)?;
                (pkcs8, Pair::Rsa(pair))
            }
        };
        let signer = Signer { pair, kind, rng };
        // A request without names: the server ignores them.
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        let request = params.serialize_request(&signer).map_err(|_| NoKey)?.der().to_vec();
        Ok(Self { pkcs8, spki: signer.subject_public_key_info(), request })
    }

    /// PKCS#10, DER.
    pub(super) fn request(&self) -> &[u8] {
        &self.request
    }

    /// The public key: `SubjectPublicKeyInfo`, DER.
    pub(super) fn spki(&self) -> &[u8] {
        &self.spki
    }

    /// PKCS#8 DER.
    pub(super) fn into_pkcs8(self) -> Zeroizing<Vec<u8>> {
        self.pkcs8
    }
}

fn ecdsa(algorithm: &'static EcdsaSigningAlgorithm, rng: &SystemRandom) -> Result<(Zeroizing<Vec<u8>>, Pair), NoKey> {
    let document = EcdsaKeyPair::generate_pkcs8(algorithm, rng).map_err(|_| NoKey)?;
    // The document's own copy lives on the stack until the end of this function.
    let pkcs8 = Zeroizing::new(document.as_ref().to_vec());
    let pair = EcdsaKeyPair::from_pkcs8(algorithm, &pkcs8, rng).map_err(|_| NoKey)?;
    Ok((pkcs8, Pair::Ecdsa(pair)))
}

/// Signs the request, once: ring does it, in time that does not depend on the key.
struct Signer {
    pair: Pair,
    kind: KeyType,
    rng: SystemRandom,
}

enum Pair {
    Ecdsa(EcdsaKeyPair),
    Rsa(RsaKeyPair),
}

impl PublicKeyData for Signer {
    fn der_bytes(&self) -> &[u8] {
        match &self.pair {
            Pair::Ecdsa(pair) => pair.public_key().as_ref(),
            Pair::Rsa(pair) => pair.public_key().as_ref(),
        }
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        match self.kind {
            KeyType::EcP256 => &rcgen::PKCS_ECDSA_P256_SHA256,
            KeyType::EcP384 => &rcgen::PKCS_ECDSA_P384_SHA384,
            KeyType::Rsa2048 => &rcgen::PKCS_RSA_SHA256,
        }
    }
}

impl SigningKey for Signer {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        let failed = |_| rcgen::Error::RingUnspecified;
        match &self.pair {
            Pair::Ecdsa(pair) => Ok(pair.sign(&self.rng, message).map_err(failed)?.as_ref().to_vec()),
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public().modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &self.rng, message, &mut signature).map_err(failed)?;
                Ok(signature)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use x509_parser::prelude::{FromDer, X509CertificationRequest};

    #[test]
    fn a_request_proves_possession_and_names_nobody() {
        for (kind, bytes) in [(KeyType::EcP256, 65), (KeyType::EcP384, 97), (KeyType::Rsa2048, 270)] {
            let key = WorkloadKey::generate(kind).unwrap();
            let (rest, request) = X509CertificationRequest::from_der(key.request()).unwrap();
            request.verify_signature().unwrap();
            assert!(rest.is_empty());
            let requested = &request.certification_request_info;
            assert_eq!(requested.subject.iter().count(), 0);
            assert_eq!(requested.subject_pki.raw, key.spki());
            assert_eq!(requested.subject_pki.subject_public_key.data.len(), bytes);
            // The server's own check.
            assert_eq!(holdfast_evidence::key::ProvenKey::from_csr(key.request()).unwrap().spki(), key.spki());
            let spki = key.spki().to_vec();
            let pair = rcgen::KeyPair::try_from(key.into_pkcs8().as_slice()).unwrap();
            assert_eq!(pair.subject_public_key_info(), spki, "{kind:?}");
        }
    }

    #[test]
    fn kinds_are_spelled_as_spire_spells_them() {
        for (text, kind) in [("ec-p256", KeyType::EcP256), ("ec-p384", KeyType::EcP384), ("rsa-2048", KeyType::Rsa2048)]
        {
            assert_eq!(text.parse(), Ok(kind));
        }
        for wrong in ["", "rsa-1024", "rsa-4096", "EC-P256", "ec_p256"] {
            assert!(wrong.parse::<KeyType>().is_err(), "{wrong}");
        }
    }
}

//! Signatures of policy versions: detached, over the version's digest under a name of its own, by Ed25519 or ECDSA P-256
//! keys of the configuration. Signs nothing.

use holdfast_appraisal::policy::signed_policy_version;
use ring::signature::{ECDSA_P256_SHA256_ASN1, ED25519, UnparsedPublicKey, VerificationAlgorithm};
use x509_parser::oid_registry::{OID_EC_P256, OID_KEY_TYPE_EC_PUBLIC_KEY, OID_SIG_ED25519};
use x509_parser::prelude::FromDer as _;
use x509_parser::x509::SubjectPublicKeyInfo;

use crate::store::{PolicyDigest, Sha256};

/// What is signed for the version with this digest: the domain, then 64 hexadecimal digits and a line feed.
#[must_use]
pub fn signed_message(digest: &PolicyDigest) -> Vec<u8> {
    signed_policy_version(&digest.to_string())
}

/// A public key that may sign policies.
#[derive(Clone)]
pub struct PolicyKey {
    id: String,
    algorithm: &'static dyn VerificationAlgorithm,
    public: Vec<u8>,
}

/// Why a file is no such key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadKey {
    /// Not PEM with one `PUBLIC KEY`.
    #[error("expected one PEM block \"PUBLIC KEY\"")]
    Form,
    /// A key of another kind.
    #[error("expected an Ed25519 or a P-256 key")]
    Kind,
}

/// Why a version is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotSigned {
    /// There is no signature.
    #[error("this server takes signed policies alone: apply the version with --signature")]
    Missing,
    /// None of the keys made it.
    #[error("none of the keys in policy.signing_keys made this signature over this version")]
    Signature,
    /// Nobody can verify it.
    #[error("this server has no policy.signing_keys to verify a signature with: leave it out")]
    NoKeys,
}

impl NotSigned {
    /// Stable code for operators and programs.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Missing => "policy.signature.missing",
            Self::Signature => "policy.signature.invalid",
            Self::NoKeys => "policy.signature.no_keys",
        }
    }
}

impl PolicyKey {
    /// Reads a SubjectPublicKeyInfo in PEM.
    ///
    /// # Errors
    /// [`BadKey`].
    pub fn from_pem(pem: &str) -> Result<Self, BadKey> {
        let (rest, block) = x509_parser::pem::parse_x509_pem(pem.as_bytes()).map_err(|_| BadKey::Form)?;
        if block.label != "PUBLIC KEY" || rest.iter().any(|byte| !byte.is_ascii_whitespace()) {
            return Err(BadKey::Form);
        }
        let (rest, spki) = SubjectPublicKeyInfo::from_der(&block.contents).map_err(|_| BadKey::Form)?;
        let curve = spki.algorithm.parameters.as_ref().and_then(|parameters| parameters.as_oid().ok());
        let algorithm: &'static dyn VerificationAlgorithm = match (&spki.algorithm.algorithm, curve) {
            (kind, None) if *kind == OID_SIG_ED25519 => &ED25519,
            (kind, Some(curve)) if *kind == OID_KEY_TYPE_EC_PUBLIC_KEY && curve == OID_EC_P256 => {
                &ECDSA_P256_SHA256_ASN1
            }
            _ => return Err(BadKey::Kind),
        };
        if !rest.is_empty() {
            return Err(BadKey::Form);
        }
        let id = Sha256::of(&block.contents).to_string().chars().take(16).collect();
        Ok(Self { id, algorithm, public: spki.subject_public_key.data.to_vec() })
    }

    /// First 16 hexadecimal digits of SHA-256 over its SubjectPublicKeyInfo.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    pub(super) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(self.algorithm, &self.public).verify(message, signature).is_ok()
    }
}

impl std::fmt::Debug for PolicyKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PolicyKey({})", self.id)
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, SigningKey as _};

    use super::super::RolloutSettings;
    use super::*;
    use crate::store::{Mode, PolicyDraft};

    fn draft(name: &str) -> PolicyDraft {
        PolicyDraft { name: name.to_owned(), documents: Vec::new(), mode: Mode::Observe, message: String::new() }
    }

    #[test]
    fn a_signature_is_one_of_a_listed_key_over_this_version_and_no_other() {
        for algorithm in [&PKCS_ED25519, &PKCS_ECDSA_P256_SHA256] {
            let (key, other) = (KeyPair::generate_for(algorithm).unwrap(), KeyPair::generate_for(algorithm).unwrap());
            let listed = PolicyKey::from_pem(&key.public_key_pem()).unwrap();
            let id = listed.id().to_owned();
            let settings = RolloutSettings { signing_keys: vec![listed], ..RolloutSettings::default() };
            let message = signed_message(&draft("a").digest());
            let good = key.sign(&message).unwrap();
            let version = settings.check_signature(draft("a"), &good).unwrap();
            assert_eq!(version.signature.unwrap().key, id);
            let refused = |draft: PolicyDraft, bytes: &[u8]| settings.check_signature(draft, bytes).unwrap_err();
            assert_eq!(refused(draft("b"), &good), NotSigned::Signature);
            assert_eq!(refused(draft("a"), &other.sign(&message).unwrap()), NotSigned::Signature);
            assert_eq!(refused(draft("a"), &key.sign(&draft("a").digest().0).unwrap()), NotSigned::Signature);
            assert_eq!(refused(draft("a"), &[]), NotSigned::Missing);
            let none = RolloutSettings::default();
            assert_eq!(none.check_signature(draft("a"), &good).unwrap_err(), NotSigned::NoKeys);
            assert_eq!(none.check_signature(draft("a"), &[]).unwrap().signature, None);
        }
    }

    #[test]
    fn other_keys_sign_no_policies() {
        let p384 = KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap();
        assert_eq!(PolicyKey::from_pem(&p384.public_key_pem()).unwrap_err(), BadKey::Kind);
        assert_eq!(PolicyKey::from_pem(&p384.serialize_pem()).unwrap_err(), BadKey::Form);
        assert_eq!(PolicyKey::from_pem("").unwrap_err(), BadKey::Form);
    }
}

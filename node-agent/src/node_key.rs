//! The key that the node's certificate is for: in the TPM, where the machine attests with one that holds our keys; else
//! in memory, new at each start, so that a restarted agent enrols again as what it is.

use std::sync::Arc;

use rcgen::{CertificateParams, DistinguishedName, PublicKeyData, SignatureAlgorithm, SigningKey};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};
use zeroize::Zeroizing;

use crate::collect::CollectFault;
use crate::tpm::Tpm;

/// Bytes of an uncompressed P-256 point, the end of its SubjectPublicKeyInfo.
const POINT: usize = 65;

/// The node key. Clones are the same key.
#[derive(Clone)]
pub enum NodeKey {
    /// In the TPM.
    Tpm(Tpm),
    /// In memory.
    Memory(Arc<MemoryKey>),
}

impl std::fmt::Debug for NodeKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Tpm(_) => "NodeKey(in the TPM)",
            Self::Memory(_) => "NodeKey(in memory)",
        })
    }
}

/// A P-256 key whose private half is held as PKCS#8 that is wiped when the last holder lets go. ring has no wiping keys:
/// what it makes of these bytes lives on the stack for one signature.
pub struct MemoryKey {
    pkcs8: Zeroizing<Vec<u8>>,
    point: Vec<u8>,
}

impl MemoryKey {
    /// A new key.
    ///
    /// # Errors
    /// [`CollectFault::NodeKey`] where the system has no random numbers.
    pub fn generate() -> Result<Self, CollectFault> {
        let failed = |_| CollectFault::NodeKey("cannot be made: the system has no random numbers");
        let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &SystemRandom::new());
        let pkcs8 = Zeroizing::new(document.map_err(failed)?.as_ref().to_vec());
        let refused = |_| CollectFault::NodeKey("cannot be made: the library refuses its own key");
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &pkcs8, &SystemRandom::new());
        let point = pair.map_err(refused)?.public_key().as_ref().to_vec();
        Ok(Self { pkcs8, point })
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, CollectFault> {
        let failed = || CollectFault::NodeKey("cannot sign");
        let rng = SystemRandom::new();
        let pair =
            EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &self.pkcs8, &rng).map_err(|_| failed())?;
        pair.sign(&rng, message).map(|signature| signature.as_ref().to_vec()).map_err(|_| failed())
    }
}

impl NodeKey {
    /// A new key in memory.
    ///
    /// # Errors
    /// [`CollectFault::NodeKey`].
    pub fn in_memory() -> Result<Self, CollectFault> {
        MemoryKey::generate().map(|key| Self::Memory(Arc::new(key)))
    }

    /// Its DER SubjectPublicKeyInfo.
    ///
    /// # Errors
    /// [`CollectFault::Tpm`] where the chip does not answer.
    pub async fn spki(&self) -> Result<Vec<u8>, CollectFault> {
        match self {
            Self::Tpm(tpm) => Ok(tpm.identity().await?.node_key_spki),
            Self::Memory(key) => Ok(Public(&key.point).subject_public_key_info()),
        }
    }

    /// Signs a message: ECDSA with SHA-256, as DER. Blocks the calling thread.
    ///
    /// # Errors
    /// [`CollectFault`] where the chip or the library refuses.
    pub fn sign_blocking(&self, message: &[u8]) -> Result<Vec<u8>, CollectFault> {
        match self {
            Self::Tpm(tpm) => {
                let digest = ring::digest::digest(&ring::digest::SHA256, message);
                let digest = digest.as_ref().first_chunk().copied().unwrap_or_default();
                Ok(tpm.sign_blocking(digest)?)
            }
            Self::Memory(key) => key.sign(message),
        }
    }

    /// A certificate request without names, which proves that we hold the key. One signature.
    ///
    /// # Errors
    /// [`CollectFault`] where the key does not sign.
    pub async fn request(&self) -> Result<Vec<u8>, CollectFault> {
        let spki = self.spki().await?;
        let key = self.clone();
        let signed = tokio::task::spawn_blocking(move || {
            let point = spki.last_chunk::<POINT>().ok_or(CollectFault::NodeKey("is no point on P-256"))?;
            let mut params = CertificateParams::default();
            params.distinguished_name = DistinguishedName::new();
            let request = params.serialize_request(&Requesting { key: &key, point });
            request.map(|request| request.der().to_vec()).map_err(|_| CollectFault::NodeKey("cannot sign its request"))
        });
        signed.await.unwrap_or(Err(CollectFault::Ended))
    }
}

/// A P-256 point.
struct Public<'a>(&'a [u8]);

impl PublicKeyData for Public<'_> {
    fn der_bytes(&self) -> &[u8] {
        self.0
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &rcgen::PKCS_ECDSA_P256_SHA256
    }
}

/// The key while it signs its request.
struct Requesting<'a> {
    key: &'a NodeKey,
    point: &'a [u8; POINT],
}

impl PublicKeyData for Requesting<'_> {
    fn der_bytes(&self) -> &[u8] {
        self.point
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &rcgen::PKCS_ECDSA_P256_SHA256
    }
}

impl SigningKey for Requesting<'_> {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        self.key.sign_blocking(message).map_err(|fault| {
            tracing::warn!(code = fault.code(), error = %fault, "node key does not sign its request");
            rcgen::Error::RemoteKeyError
        })
    }
}

#[cfg(test)]
mod tests {
    use holdfast_evidence::ClaimedKey;

    use super::*;

    #[tokio::test]
    async fn a_key_in_memory_proves_itself_by_its_request() {
        let key = NodeKey::in_memory().unwrap();
        let spki = key.spki().await.unwrap();
        let proven = ClaimedKey::from_csr(&key.request().await.unwrap()).unwrap();
        assert_eq!(proven.spki(), spki);
        assert_ne!(NodeKey::in_memory().unwrap().spki().await.unwrap(), spki);
    }

    #[test]
    fn nothing_of_it_is_shown() {
        assert_eq!(format!("{:?}", NodeKey::in_memory().unwrap()), "NodeKey(in memory)");
    }
}

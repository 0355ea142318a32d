//! MakeCredential: a secret that only the TPM with a given endorsement key opens, and only for an object with a given
//! Name. TPM 2.0 Library Part 1, "Credential Protection".

use crate::crypto::credential::{aes_cfb_encrypt, agree, hmac, kdfa, kdfe, oaep_encrypt, random};
use crate::crypto::{CryptoFault, HashAlg, PublicKey, Secret, SecureRandom, Zeroizing};
use crate::reader::Writer;

use super::name::Name;
use super::public::Public;

/// Bytes of a `TPM2B_ID_OBJECT`: three sizes, an HMAC of SHA-512 and a secret of that size.
pub const ID_OBJECT_BYTES_MAX: usize = 6 + 64 + 64;
/// Bytes of a `TPM2B_ENCRYPTED_SECRET` under RSA-4096.
pub const ENCRYPTED_SECRET_BYTES_MAX: usize = 2 + 512;
/// Bytes of an activation secret.
pub const ACTIVATION_SECRET_BYTES: usize = 32;

/// What `TPM2_ActivateCredential` takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credential {
    /// `TPM2B_ID_OBJECT`, size included.
    pub id_object: Vec<u8>,
    /// `TPM2B_ENCRYPTED_SECRET`, size included.
    pub encrypted_secret: Vec<u8>,
}

/// Encrypts `secret`, at most 32 bytes, for the object called `name` beside the endorsement key `ek`.
///
/// # Errors
/// [`CryptoFault`] if the key is not valid, is no storage key, or the random source fails.
pub fn make_credential(
    ek: &Public,
    name: &Name,
    secret: &[u8],
    rng: &dyn SecureRandom,
) -> Result<Credential, CryptoFault> {
    let hash = ek.name_alg();
    let symmetric_bits = ek.symmetric_bits().ok_or(CryptoFault::Key)?;
    let (seed, encrypted_seed) = share_seed(ek.key(), hash, rng)?;
    let name = name.to_vec();

    let storage = kdfa(hash, &seed, "STORAGE", &name, &[], symmetric_bits.into());
    let mut identity = Zeroizing::new(Writer::new().sized16(secret).finish());
    aes_cfb_encrypt(&storage, &mut identity)?;

    let hash_bits = u32::try_from(hash.size() * 8).map_err(|_| CryptoFault::Key)?;
    let integrity = kdfa(hash, &seed, "INTEGRITY", &[], &[], hash_bits);
    let mac = hmac(hash, &integrity, &[&identity, &name]);

    let object = Writer::new().sized16(mac.as_bytes()).bytes(&identity).finish();
    Ok(Credential {
        id_object: Writer::new().sized16(&object).finish(),
        encrypted_secret: Writer::new().sized16(&encrypted_seed).finish(),
    })
}

/// A seed as long as the hash, and what carries it to the TPM.
fn share_seed(key: &PublicKey, hash: HashAlg, rng: &dyn SecureRandom) -> Result<(Secret, Vec<u8>), CryptoFault> {
    match key {
        PublicKey::Rsa { modulus } => {
            let drawn = Zeroizing::new(random::<64>(rng)?);
            let seed = Zeroizing::new(drawn.get(..hash.size()).unwrap_or_default().to_vec());
            let encrypted = oaep_encrypt(modulus, hash, "IDENTITY", &seed, rng)?;
            Ok((seed, encrypted))
        }
        PublicKey::Ec { curve, point } => {
            let agreed = agree(*curve, point, rng)?;
            let (ephemeral_x, ephemeral_y) = agreed.ephemeral.coordinates();
            let seed = ecc_seed(hash, &agreed.shared_x, ephemeral_x, key.coordinates().0);
            Ok((seed, Writer::new().sized16(ephemeral_x).sized16(ephemeral_y).finish()))
        }
    }
}

/// `KDFe(hash, Z.x, "IDENTITY", ephemeral.x, ek.x, bits)`.
fn ecc_seed(hash: HashAlg, shared_x: &[u8], ephemeral_x: &[u8], ek_x: &[u8]) -> Secret {
    let bits = u32::try_from(hash.size() * 8).unwrap_or_default();
    kdfe(hash, shared_x, "IDENTITY", ephemeral_x, ek_x, bits)
}

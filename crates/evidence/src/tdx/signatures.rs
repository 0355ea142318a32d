//! Signatures that hold, remembered. A signature that verified once over these very bytes under this key does so for
//! ever: so that neither our own checks nor `dcap-qvl` behind them verify one twice, and those of checked collateral are
//! kept with it. *Until when* a certificate or document counts, and whether it is revoked, is asked elsewhere, every time.
//! Nothing is remembered beyond the scope that asked for it.

use std::cell::RefCell;
use std::collections::BTreeSet;

use dcap_qvl::config::{Config, CryptoProvider};
use dcap_qvl::crypto::RingCrypto;
use rustls_pki_types::{AlgorithmIdentifier, InvalidSignature, SignatureVerificationAlgorithm};

use crate::crypto::{self, BadSignature, Curve, HashAlg, PublicKey, SignatureAlg, SignatureValue};
use crate::key::ecdsa_value;

/// Names of signatures that hold; each stands for key, message and signature.
pub(super) type Proven = BTreeSet<[u8; 32]>;

thread_local! {
    /// What the scope that is running now has proven; `None` outside of any. (`dcap-qvl` takes its cryptography as a
    /// type: nothing else can be handed through.)
    static PROVEN: RefCell<Option<Proven>> = const { RefCell::new(None) };
}

/// Runs `run`, in which no signature is verified that is among `known` or was verified since the beginning; what holds
/// after it. An outer scope learns of it as well.
pub(super) fn scope<R>(known: Proven, run: impl FnOnce() -> R) -> (R, Proven) {
    let outer = PROVEN.replace(Some(known));
    let result = run();
    let proven = PROVEN.replace(outer).unwrap_or_default();
    remember(proven.iter().copied());
    (result, proven)
}

/// Adds to the scope that is running, if one is.
pub(super) fn remember(proven: impl Iterator<Item = [u8; 32]>) {
    PROVEN.with_borrow_mut(|scope| {
        if let Some(scope) = scope {
            scope.extend(proven);
        }
    });
}

/// Verifies ECDSA on P-256 with SHA-256, unless the scope knows that it holds.
///
/// # Errors
/// [`BadSignature`]; also for other keys, and for numbers that are longer than the curve's.
pub(super) fn verify(key: &PublicKey, message: &[u8], r: &[u8], s: &[u8]) -> Result<(), BadSignature> {
    let name = name(key, message, r, s).ok_or(BadSignature)?;
    if PROVEN.with_borrow(|scope| scope.as_ref().is_some_and(|scope| scope.contains(&name))) {
        return Ok(());
    }
    crypto::verify(key, SignatureAlg::Ecdsa, HashAlg::Sha256, message, SignatureValue::Ecdsa { r, s })?;
    remember(std::iter::once(name));
    Ok(())
}

/// SHA-256 over point, r, s and the message's own SHA-256, each at its full width: no two triples have one name.
fn name(key: &PublicKey, message: &[u8], r: &[u8], s: &[u8]) -> Option<[u8; 32]> {
    let PublicKey::Ec { curve: Curve::P256, point } = key else { return None };
    let point: &[u8; 65] = point.as_slice().try_into().ok()?;
    Some(crypto::sha256(&[point, &padded(r)?, &padded(s)?, &crypto::sha256(&[message])]))
}

fn padded(number: &[u8]) -> Option<[u8; 32]> {
    let mut padded = [0; 32];
    padded.get_mut(32_usize.checked_sub(number.len())?..)?.copy_from_slice(number);
    Some(padded)
}

/// What `dcap-qvl` verifies with: its own parser and encoder, our signatures.
pub(super) struct Remembering;

impl Config for Remembering {
    type X509 = dcap_qvl::x509::X509CertBackend;
    type SigEncoder = dcap_qvl::signature::DerSigEncoder;
    type Crypto = Self;
}

impl CryptoProvider for Remembering {
    fn sig_algo() -> &'static dyn SignatureVerificationAlgorithm {
        &EcdsaP256Sha256
    }

    fn sha256(data: &[u8]) -> [u8; 32] {
        RingCrypto::sha256(data)
    }

    fn sha384(data: &[u8]) -> [u8; 48] {
        RingCrypto::sha384(data)
    }
}

/// ECDSA on P-256 with SHA-256, by [`verify`].
#[derive(Debug)]
struct EcdsaP256Sha256;

impl SignatureVerificationAlgorithm for EcdsaP256Sha256 {
    fn verify_signature(&self, public_key: &[u8], message: &[u8], signature: &[u8]) -> Result<(), InvalidSignature> {
        let (form, point) = public_key.split_first().ok_or(InvalidSignature)?;
        let (x, y) = point.split_at_checked(32).filter(|(_, y)| *form == 4 && y.len() == 32).ok_or(InvalidSignature)?;
        let key = PublicKey::ec(Curve::P256, x, y).ok_or(InvalidSignature)?;
        let Some(SignatureValue::Ecdsa { r, s }) = ecdsa_value(signature) else { return Err(InvalidSignature) };
        verify(&key, message, r, s).map_err(|_| InvalidSignature)
    }

    fn public_key_alg_id(&self) -> AlgorithmIdentifier {
        RingCrypto::sig_algo().public_key_alg_id()
    }

    fn signature_alg_id(&self) -> AlgorithmIdentifier {
        RingCrypto::sig_algo().signature_alg_id()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signed() -> (PublicKey, Vec<u8>) {
        use rcgen::SigningKey as _;
        let pair = rcgen::KeyPair::generate().unwrap();
        let key = PublicKey::from_spki(&rcgen::PublicKeyData::subject_public_key_info(&pair)).unwrap();
        (key, pair.sign(b"message").unwrap())
    }

    fn holds(key: &PublicKey, message: &[u8], signature: &[u8]) -> bool {
        let Some(SignatureValue::Ecdsa { r, s }) = ecdsa_value(signature) else { return false };
        verify(key, message, r, s).is_ok()
    }

    #[test]
    fn what_is_remembered_is_this_signature_over_this_message_under_this_key() {
        let ((key, signature), (other_key, other_signature)) = (signed(), signed());
        let ((), proven) = scope(Proven::new(), || {
            assert!(holds(&key, b"message", &signature));
            assert!(holds(&key, b"message", &signature));
        });
        assert_eq!(proven.len(), 1);
        scope(proven, || {
            assert!(holds(&key, b"message", &signature));
            assert!(!holds(&key, b"Message", &signature));
            assert!(!holds(&other_key, b"message", &signature));
            assert!(!holds(&key, b"message", &other_signature));
            let last = signature.len() - 1;
            let mut changed = signature.clone();
            changed[last] ^= 1;
            assert!(!holds(&key, b"message", &changed));
        });
    }

    #[test]
    fn a_signature_that_does_not_hold_is_not_remembered() {
        let ((key, _), (_, signature)) = (signed(), signed());
        let ((), proven) = scope(Proven::new(), || assert!(!holds(&key, b"message", &signature)));
        assert!(proven.is_empty());
    }

    #[test]
    fn nothing_is_remembered_outside_of_a_scope_and_an_inner_one_tells_the_outer_one() {
        let (key, signature) = signed();
        assert!(holds(&key, b"message", &signature));
        let ((), outer) = scope(Proven::new(), || {
            let ((), inner) = scope(Proven::new(), || assert!(holds(&key, b"message", &signature)));
            assert_eq!(inner.len(), 1);
        });
        assert_eq!(outer.len(), 1);
        assert!(PROVEN.with_borrow(Option::is_none));
    }
}

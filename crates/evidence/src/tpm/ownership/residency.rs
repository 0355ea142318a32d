//! A device key speaks: `TPM2_Certify` of the attestation key by the device key, over the binding. One command.
//!
//! What an IAK states, its TPM found so: the attestation key, which lives in the activated TPM alone, is in the IAK's. An
//! IDevID could state anything; it shows only that it takes part in this attestation, and its certificate says where it is.

use super::error::Unowned;
use super::offered::{DeviceRole, Factor};
use crate::EvidenceKind;
use crate::binding::Binding;
use crate::crypto::{self, HashAlg, PublicKey, SignatureAlg};
use crate::tpm::ak::{AkParent, AttestationKey};
use crate::tpm::attest::Attest;
use crate::tpm::checks;
use crate::tpm::error::{Statement, Unverified};
use crate::tpm::item::Signed;
use crate::tpm::name::Hierarchy;
use crate::tpm::public::{Public, Scheme};
use crate::tpm::signature::Signature;

/// Every device key that must speak did, and nothing else came along. An IAK that is the attestation key itself has spoken
/// by its quote.
pub(in crate::tpm) fn check_residency(
    due: &[(DeviceRole, Public)],
    found: &[(DeviceRole, Signed<'_>)],
    ak: &AttestationKey<'_>,
    binding: &Binding,
) -> Result<(), Unverified> {
    for (role, public) in due {
        let factor = Factor::from(*role);
        match found.iter().find(|(speaker, _)| speaker == role) {
            Some((_, statement)) => check_statement(public, statement, ak, binding)?,
            None if *role == DeviceRole::Iak && public.name() == *ak.name() => {}
            None => return Err(Unowned::Residency { factor, what: "it certified nothing" }.into()),
        }
    }
    match found.iter().find(|(role, _)| !due.iter().any(|(asked, _)| asked == role)) {
        Some((role, _)) => {
            Err(Unowned::Residency { factor: (*role).into(), what: "its statement was not asked for" }.into())
        }
        None => Ok(()),
    }
}

fn check_statement(
    key: &Public,
    signed: &Signed<'_>,
    ak: &AttestationKey<'_>,
    binding: &Binding,
) -> Result<(), Unverified> {
    let statement = Statement::Residency;
    let attest = Attest::parse(signed.attest)?;
    let signature = Signature::parse(signed.signature)?;
    checks::magic(statement, &attest)?;
    checks::kind(statement, &attest)?;
    let hash = HashAlg::from_id(signature.hash_id()).filter(|_| names_scheme(key, &signature));
    let hash = hash.ok_or(Unverified::Scheme { statement })?;
    let digest = binding.digest_of(EvidenceKind::Tpm).ok_or(Unverified::OtherBinding)?;
    checks::nonce(statement, &attest, digest)?;
    if !key.name().qualified_in(Hierarchy::Endorsement).matches(attest.qualified_signer) {
        return Err(Unverified::Signer { statement });
    }
    crypto::verify(key.key(), signature.algorithm(), hash, attest.bytes, signature.value())
        .map_err(|_| Unverified::Signature { statement })?;
    let info = checks::certify_info(&attest)?;
    let is_ours = ak.name().matches(info.name) && ak.qualified_name(AkParent::Endorsement).matches(info.qualified_name);
    if is_ours { Ok(()) } else { Err(Unverified::ResidencyName) }
}

/// Whether the signature is by the scheme that the key is bound to, or one that a key without scheme can have.
fn names_scheme(key: &Public, signature: &Signature<'_>) -> bool {
    match key.scheme() {
        Scheme::Signing { algorithm, hash } => (algorithm, hash) == (signature.algorithm(), signature.hash_id()),
        Scheme::Null => match key.key() {
            PublicKey::Rsa { .. } => signature.algorithm() != SignatureAlg::Ecdsa,
            PublicKey::Ec { .. } => signature.algorithm() == SignatureAlg::Ecdsa,
        },
        Scheme::Other(_) => false,
    }
}

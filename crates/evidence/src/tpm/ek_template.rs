//! The TCG's endorsement key templates: what the public area of an endorsement key must be, whole. TCG EK Credential
//! Profile for TPM Family 2.0.
//!
//! A certificate covers an endorsement key, not its public area. Since everything in the public area but the key is
//! fixed by the templates, nothing in it is left open for the machine to choose.

use super::attributes::Attributes;
use super::error::Unverified;
use super::name::{Hierarchy, Name};
use super::public::{Public, Scheme};
use crate::crypto::{Digest, HashAlg};

/// `TPM_CC_PolicySecret`.
const POLICY_SECRET: [u8; 4] = 0x0151_u32.to_be_bytes();
/// `TPM_CC_PolicyOR`.
const POLICY_OR: [u8; 4] = 0x0171_u32.to_be_bytes();
/// `TPM_CC_PolicyAuthorizeNV`.
const POLICY_AUTHORIZE_NV: [u8; 4] = 0x0192_u32.to_be_bytes();
/// `TPMA_NV` of the index that holds the authorised policy.
const POLICY_NV_ATTRIBUTES: [u8; 4] = 0x220f_1008_u32.to_be_bytes();

/// Checks that a public area is that of an endorsement key by one of the TCG's templates: the attributes and policy of
/// the low range (PolicyA) or the high range (PolicyB), AES in CFB mode for its children, no scheme.
///
/// # Errors
/// [`Unverified::EkAttributes`], [`Unverified::EkPolicy`], [`Unverified::EkStorage`].
pub fn check_endorsement_key(ek: &Public) -> Result<(), Unverified> {
    let policy = match ek.attributes() {
        Attributes::EK_LOW_RANGE => policy_a(ek.name_alg()),
        Attributes::EK_HIGH_RANGE => policy_b(ek.name_alg()),
        found => return Err(Unverified::EkAttributes { found }),
    };
    if ek.policy() != policy.as_bytes() {
        return Err(Unverified::EkPolicy);
    }
    if ek.symmetric_bits().is_none() || ek.scheme() != Scheme::Null {
        return Err(Unverified::EkStorage);
    }
    Ok(())
}

/// PolicyA: `PolicySecret(TPM_RH_ENDORSEMENT)`.
pub(crate) fn policy_a(hash: HashAlg) -> Digest {
    let start = Digest::zero(hash);
    let secret = hash.digest(&[start.as_bytes(), &POLICY_SECRET, &Hierarchy::Endorsement.handle()]);
    hash.digest(&[secret.as_bytes()])
}

/// PolicyB: PolicyA or PolicyC, the policy that an NV index of the owner's authorises.
fn policy_b(hash: HashAlg) -> Digest {
    let start = Digest::zero(hash);
    let (a, c) = (policy_a(hash), policy_c(hash));
    hash.digest(&[start.as_bytes(), &POLICY_OR, a.as_bytes(), c.as_bytes()])
}

fn policy_c(hash: HashAlg) -> Digest {
    let index: u32 = match hash {
        HashAlg::Sha256 => 0x01c0_7f01,
        HashAlg::Sha384 => 0x01c0_7f02,
        HashAlg::Sha512 => 0x01c0_7f03,
    };
    let a = policy_a(hash);
    let [size, with_alg] = [hash.size(), hash.size() + 2].map(|size| u16::try_from(size).unwrap_or_default());
    let public = [
        &index.to_be_bytes()[..],
        &hash.id().to_be_bytes(),
        &POLICY_NV_ATTRIBUTES,
        &size.to_be_bytes(),
        a.as_bytes(),
        &with_alg.to_be_bytes(),
    ];
    let name = Name::of(hash, &public).to_vec();
    hash.digest(&[Digest::zero(hash).as_bytes(), &POLICY_AUTHORIZE_NV, &name])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policies_are_the_published_ones() {
        let sha256 = [policy_a, policy_b, policy_c].map(|policy| policy(HashAlg::Sha256).to_string());
        assert_eq!(
            sha256,
            [
                "837197674484b3f81a90cc8d46a5d724fd52d76e06520b64f2a1da1b331469aa",
                "ca3d0a99a2b93906f7a3342414efcfb3a385d44cd1fd459089d19b5071c0b7a0",
                "3767e2edd43ff45a3a7e1eaefcef78643dca964632e7aad82c673a30d8633fde",
            ]
        );
        let ends = |digest: Digest| {
            let hex = digest.to_string();
            (hex[..8].to_owned(), hex[hex.len() - 8..].to_owned())
        };
        assert_eq!(ends(policy_a(HashAlg::Sha384)), ("8bbf2266".into(), "71c6db53".into()));
        assert_eq!(ends(policy_c(HashAlg::Sha384)), ("d6032ce6".into(), "3593d165".into()));
        assert_eq!(ends(policy_b(HashAlg::Sha384)), ("b26e7d28".into(), "f3f80e12".into()));
        assert_eq!(ends(policy_b(HashAlg::Sha512)), ("b8221ca6".into(), "1af99bea".into()));
    }
}

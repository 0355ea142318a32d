//! What in the facts can make a machine ours, as the operator's lists name it. Looks nothing up.

use holdfast_evidence::crypto::sha256;

use super::{FactId, Facts, Ownable};
use crate::decision::{InventoryAnswer, Listing};
use crate::value::Value;

/// One proven value that the operator may have listed beforehand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OwnerMark {
    /// The fact.
    pub fact: FactId,
    /// As what it may be listed; never [`Ownable::No`].
    pub ownable: Ownable,
    /// Its digest, by which the lists name it.
    pub digest: [u8; 32],
    /// The digest itself, where lists of before had it without its name: see [`Listing::ListedBare`].
    ///
    /// [`Listing::ListedBare`]: crate::decision::Listing::ListedBare
    pub bare: Option<[u8; 32]>,
}

impl OwnerMark {
    /// Whether this is what the operator listed.
    #[must_use]
    pub fn is_listed(&self, answer: &InventoryAnswer) -> bool {
        match answer.listing {
            Listing::Listed => answer.digest == self.digest,
            Listing::ListedBare => answer.digest == self.digest || Some(answer.digest) == self.bare,
            Listing::NotListed => false,
        }
    }
}

/// Everything in `facts` that may be listed beforehand.
pub fn owner_marks(facts: &Facts) -> impl Iterator<Item = OwnerMark> {
    facts.iter().flat_map(|(fact, found)| {
        let ownable = fact.definition().ownable;
        let values = if ownable == Ownable::No { &[] } else { found.values.as_slice() };
        values.iter().map(move |value| OwnerMark {
            fact,
            ownable,
            digest: owner_digest(fact, value),
            bare: bare_digest(fact, value),
        })
    })
}

/// The digest under which a value is listed: 32 bytes that are a digest already (of an endorsement key or its certificate, of
/// a launch) are themselves; of everything else, SHA-256 of `fact=value` as policies write them. So the digest of an
/// endorsement key lists no key of another role.
#[must_use]
pub fn owner_digest(fact: FactId, value: &Value) -> [u8; 32] {
    let is_digest =
        matches!(fact, FactId::EkSpki | FactId::EkCertificate) || fact.definition().ownable == Ownable::Launch;
    match value {
        Value::Digest(digest) if is_digest => {
            digest.as_bytes().first_chunk().copied().unwrap_or_else(|| sha256(&[digest.as_bytes()]))
        }
        other => sha256(&[fact.to_string().as_bytes(), b"=", other.to_string().as_bytes()]),
    }
}

fn bare_digest(fact: FactId, value: &Value) -> Option<[u8; 32]> {
    match (fact, value) {
        (FactId::Owned(owned), Value::Digest(digest)) if owned.was_listed_bare() => {
            digest.as_bytes().first_chunk().copied()
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::digest_of;

    #[test]
    fn an_endorsement_key_is_listed_by_its_own_digest_and_others_under_their_name() {
        let digest = Value::Digest(digest_of(&[7; 32]).unwrap());
        assert_eq!(owner_digest(FactId::EkSpki, &digest), [7; 32]);
        let other = owner_digest(FactId::Machine, &digest);
        assert_eq!(other, sha256(&[b"tpm.machine=", hex::encode([7; 32]).as_bytes()]));
        let iak = owner_digest(FactId::parse("tpm.iak.spki_sha256").unwrap(), &digest);
        assert_eq!(iak, sha256(&[b"tpm.iak.spki_sha256=", hex::encode([7; 32]).as_bytes()]));
    }
}

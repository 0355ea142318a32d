//! The binding: one digest over everything that an attestation is about, signed by the hardware. Both sides compute
//! it with [`binding_digest`].

use holdfast_identity::{SpiffeId, TrustDomain, UnixTime};

use crate::EvidenceKind;
use crate::challenge::{ItemState, Purpose};
use crate::crypto::{self, HashAlg, Hasher};
use crate::key::{ClaimedKey, ProvenKey};

/// First field of every binding.
pub const BINDING_LABEL: &str = "holdfast/attest/1";

/// The fields of a binding, in order. Each is hashed behind its length as four bytes, big-endian.
#[derive(Clone, Copy, Debug)]
pub struct BindingFields<'a> {
    /// Name of the trust domain.
    pub trust_domain: &'a TrustDomain,
    /// Kinds of the evidence items, in order; joined by commas.
    pub kinds: &'a [EvidenceKind],
    /// The challenge's nonce.
    pub nonce: &'a [u8; 32],
    /// Name of the attestation key (`TPM2B_NAME` without its size); of a virtual TPM that a provider vouches for,
    /// SHA-256 of the key's `SubjectPublicKeyInfo`; empty without a TPM.
    pub ak_name: &'a [u8],
    /// DER `SubjectPublicKeyInfo` of the node key.
    pub node_key_spki: &'a [u8],
    /// SHA-256 of each EK certificate's DER, in the order of the [`Ask`](crate::tpm::Ask); concatenated.
    pub ek_certificates: &'a [[u8; 32]],
    /// `TPML_PCR_SELECTION` that was asked; empty without a TPM.
    pub selection: &'a [u8],
    /// SHA-256 of the firmware log as read before the quote; `None` where there is none.
    pub firmware_log: Option<&'a [u8; 32]>,
    /// SHA-256 of the items of a composite that stand before this one, in order; concatenated.
    pub others: &'a [[u8; 32]],
}

/// SHA-256 over the fields: the 32 bytes of a quote's extraData, or the first 32 of a report's user data.
#[must_use]
pub fn binding_digest(fields: &BindingFields<'_>) -> [u8; 32] {
    let mut hasher = Hasher::new(HashAlg::Sha256);
    let mut field = |bytes: &[u8]| {
        // A field beyond 4 GiB cannot exist: every input is bounded far below.
        hasher.update(&u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes());
        hasher.update(bytes);
    };
    field(BINDING_LABEL.as_bytes());
    field(fields.trust_domain.as_str().as_bytes());
    field(fields.kinds.iter().map(|kind| kind.as_str()).collect::<Vec<_>>().join(",").as_bytes());
    field(fields.nonce);
    field(fields.ak_name);
    field(fields.node_key_spki);
    field(fields.ek_certificates.as_flattened());
    field(fields.selection);
    field(fields.firmware_log.map_or(&[], |digest| digest.as_slice()));
    field(fields.others.as_flattened());
    hasher.finish().as_bytes().first_chunk().copied().unwrap_or_default()
}

/// An answered challenge: what the hardware must have signed, for which key, and what was expected of each item.
/// Made by [`Challenge::answer`](crate::challenge::Challenge::answer) alone.
#[derive(Debug)]
pub struct Binding {
    pub(crate) challenge_id: [u8; 16],
    pub(crate) nonce: [u8; 32],
    /// One for each item, in order.
    pub(crate) signed: Vec<SignedItem>,
    pub(crate) expires_at: UnixTime,
    pub(crate) trust_domain: TrustDomain,
    pub(crate) purpose: Purpose,
    pub(crate) key: ClaimedKey,
    pub(crate) proven: Option<ProvenKey>,
    pub(crate) items: Vec<ItemState>,
}

/// What one item must have signed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SignedItem {
    pub(crate) kind: EvidenceKind,
    pub(crate) digest: [u8; 32],
    pub(crate) firmware_log: Option<[u8; 32]>,
}

impl Binding {
    /// Id of the challenge that was answered; goes into the taken-set with the verdict.
    #[must_use]
    pub const fn challenge_id(&self) -> [u8; 16] {
        self.challenge_id
    }

    /// The challenge's nonce, for evidence that has a field of its own for it.
    #[must_use]
    pub const fn nonce(&self) -> &[u8; 32] {
        &self.nonce
    }

    /// The digest that the hardware must have signed in the item of this kind; `None` if none was asked.
    #[must_use]
    pub fn digest_of(&self, kind: EvidenceKind) -> Option<&[u8; 32]> {
        self.signed.iter().find(|item| item.kind == kind).map(|item| &item.digest)
    }

    /// SHA-256 of the log that the item of this kind committed to; `None` if none was asked.
    #[must_use]
    pub fn firmware_log_of(&self, kind: EvidenceKind) -> Option<Option<[u8; 32]>> {
        self.signed.iter().find(|item| item.kind == kind).map(|item| item.firmware_log)
    }

    /// What was expected of the item of this kind; `None` if none was asked.
    #[must_use]
    pub fn item(&self, kind: EvidenceKind) -> Option<&ItemState> {
        self.items.iter().find(|item| item.kind() == kind)
    }

    /// The node key, if the peer has proven it beside the evidence: by a certificate request that it signed, or by
    /// the handshake of the node's own connection. Evidence that cannot certify a key itself needs this.
    #[must_use]
    pub fn proven_key(&self) -> Option<ProvenKey> {
        self.proven.clone()
    }

    /// When the challenge became void.
    #[must_use]
    pub const fn expires_at(&self) -> UnixTime {
        self.expires_at
    }

    /// The trust domain it was drawn for.
    #[must_use]
    pub const fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    /// What it was drawn for.
    #[must_use]
    pub const fn purpose(&self) -> &Purpose {
        &self.purpose
    }

    /// The node that renews; `None` for the other purposes.
    #[must_use]
    pub const fn renewing(&self) -> Option<&SpiffeId> {
        match &self.purpose {
            Purpose::Renew { node, .. } => Some(node),
            Purpose::Enrol | Purpose::Return => None,
        }
    }

    /// The node key as claimed; proven only inside `Verified`.
    #[must_use]
    pub const fn claimed_key(&self) -> &ClaimedKey {
        &self.key
    }

    /// What was expected of each item, in order.
    #[must_use]
    pub fn items(&self) -> &[ItemState] {
        &self.items
    }

    /// Whether `caller_data` is what the item of this kind must have signed, in constant time; false if none was asked.
    #[must_use]
    pub fn is_signed_in(&self, kind: EvidenceKind, caller_data: &[u8]) -> bool {
        self.digest_of(kind).is_some_and(|digest| crypto::equal(digest, caller_data))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_changes_the_digest() {
        let (td, other_td): (TrustDomain, TrustDomain) = ("a.example".parse().unwrap(), "b.example".parse().unwrap());
        let base = BindingFields {
            trust_domain: &td,
            kinds: &[EvidenceKind::Tpm],
            nonce: &[1; 32],
            ak_name: b"name",
            node_key_spki: b"spki",
            ek_certificates: &[[2; 32]],
            selection: b"selection",
            firmware_log: Some(&[3; 32]),
            others: &[],
        };
        let variants = [
            base,
            BindingFields { trust_domain: &other_td, ..base },
            BindingFields { kinds: &[], ..base },
            BindingFields { nonce: &[9; 32], ..base },
            BindingFields { ak_name: b"nam", ..base },
            BindingFields { node_key_spki: b"espki", ..base },
            BindingFields { ak_name: b"names", node_key_spki: b"pki", ..base },
            BindingFields { ek_certificates: &[[2; 32], [2; 32]], ..base },
            BindingFields { selection: b"", ..base },
            BindingFields { firmware_log: None, ..base },
            BindingFields { firmware_log: None, others: &[[3; 32]], ..base },
            BindingFields { others: &[[3; 32]], ..base },
        ];
        let digests: std::collections::BTreeSet<_> = variants.iter().map(binding_digest).collect();
        assert_eq!(digests.len(), variants.len());
    }

    #[test]
    fn the_digest_is_sha256_over_length_prefixed_fields() {
        let td: TrustDomain = "td".parse().unwrap();
        let fields = BindingFields {
            trust_domain: &td,
            kinds: &[EvidenceKind::Tpm],
            nonce: &[7; 32],
            ak_name: b"ak",
            node_key_spki: b"key",
            ek_certificates: &[],
            selection: b"",
            firmware_log: None,
            others: &[],
        };
        let written = [
            b"\0\0\0\x11holdfast/attest/1\0\0\0\x02td\0\0\0\x03tpm\0\0\0\x20".as_slice(),
            &[7; 32],
            b"\0\0\0\x02ak\0\0\0\x03key\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
        ];
        assert_eq!(binding_digest(&fields), crypto::sha256(&written));
    }
}

//! The attestation key and the node key: checks on the very bytes whose Names are used.

use super::attributes::Attributes;
use super::error::Unverified;
use super::name::{Hierarchy, Name};
use super::public::{Public, Scheme};
use crate::crypto::{Curve, HashAlg, PublicKey, SignatureAlg};

/// An attestation key whose public area passed [`AttestationKey::check`]: a restricted key that signs nothing from
/// outside that looks like the TPM's own. Where it lives is proven by an activation, or not at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttestationKey<'a> {
    public: &'a Public,
    name: Name,
    algorithm: SignatureAlg,
    hash: HashAlg,
}

/// Under what an attestation key stands; decides its Qualified Name.
#[derive(Clone, Copy, Debug)]
pub enum AkParent<'a> {
    /// It is a primary of the endorsement hierarchy.
    Endorsement,
    /// It is a child of this endorsement key, itself a primary of the endorsement hierarchy.
    Ek(&'a Public),
}

impl<'a> AttestationKey<'a> {
    /// Checks kind, scheme and attributes: RSA-2048, RSA-3072, P-256 or P-384; RSASSA, RSAPSS or ECDSA with at least
    /// SHA-256; fixedTPM, fixedParent, sensitiveDataOrigin, restricted, sign, and beside them at most what tells how
    /// use is authorised.
    ///
    /// # Errors
    /// [`Unverified::AkAttributes`], [`Unverified::AkKind`], [`Unverified::AkScheme`].
    pub fn check(public: &'a Public) -> Result<Self, Unverified> {
        let found = public.attributes();
        if !found.are_within(Attributes::AK_REQUIRED, Attributes::AK_ALLOWED) {
            return Err(Unverified::AkAttributes { found });
        }
        let is_rsa = match public.key() {
            PublicKey::Rsa { modulus } if modulus.len() > 384 => return Err(Unverified::AkKind { found: "RSA-4096" }),
            PublicKey::Rsa { .. } => true,
            PublicKey::Ec { curve: Curve::P256 | Curve::P384, .. } => false,
        };
        let Scheme::Signing { algorithm, hash } = public.scheme() else { return Err(Unverified::AkScheme) };
        let hash = HashAlg::from_id(hash).ok_or(Unverified::AkScheme)?;
        match (is_rsa, algorithm, hash) {
            (true, SignatureAlg::Rsassa | SignatureAlg::RsaPss, _)
            | (false, SignatureAlg::Ecdsa, HashAlg::Sha256 | HashAlg::Sha384) => {}
            _ => return Err(Unverified::AkScheme),
        }
        if public.symmetric_bits().is_some() {
            return Err(Unverified::AkScheme);
        }
        Ok(Self { public, name: public.name(), algorithm, hash })
    }

    /// Its public area.
    #[must_use]
    pub const fn public(&self) -> &'a Public {
        self.public
    }

    /// Its Name.
    #[must_use]
    pub const fn name(&self) -> &Name {
        &self.name
    }

    /// The algorithm that it signs with.
    #[must_use]
    pub const fn algorithm(&self) -> SignatureAlg {
        self.algorithm
    }

    /// The hash that it signs with; a quote's pcrDigest is by this one too.
    #[must_use]
    pub const fn hash(&self) -> HashAlg {
        self.hash
    }

    /// Its Qualified Name under `parent`.
    #[must_use]
    pub fn qualified_name(&self, parent: AkParent<'_>) -> Name {
        match parent {
            AkParent::Endorsement => self.name.qualified_in(Hierarchy::Endorsement),
            AkParent::Ek(ek) => self.name.qualified_under(&ek.name().qualified_in(Hierarchy::Endorsement)),
        }
    }
}

/// Checks that a public area is that of a node key: P-256, ECDSA with SHA-256 or no scheme, and exactly the
/// attributes [`Attributes::NODE_KEY`].
///
/// # Errors
/// [`Unverified::NodeKeyAttributes`], [`Unverified::NodeKeyKind`].
pub fn check_node_key(public: &Public) -> Result<(), Unverified> {
    let found = public.attributes();
    if found != Attributes::NODE_KEY {
        return Err(Unverified::NodeKeyAttributes { found });
    }
    let p256 = matches!(public.key(), PublicKey::Ec { curve: Curve::P256, .. });
    let scheme = match public.scheme() {
        Scheme::Null => true,
        Scheme::Signing { algorithm: SignatureAlg::Ecdsa, hash } => hash == HashAlg::Sha256.id(),
        Scheme::Signing { .. } | Scheme::Other(_) => false,
    };
    if p256 && scheme && public.symmetric_bits().is_none() { Ok(()) } else { Err(Unverified::NodeKeyKind) }
}
